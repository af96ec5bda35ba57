# Licensed under the Apache License, Version 2.0. See LICENSE.
"""When a run asks about a task: soon after its end, and not often."""

from __future__ import annotations

import random

import pytest

from airflow_provider_jimeng.bulk.pace import Pace


def lived(pace: Pace, seconds: float, dice: random.Random) -> tuple[int, float]:
    """Let a task live; return how often it was asked about, and how late its end was noticed."""
    age, asked = 0.0, 0
    while True:
        age += pace.delay(age, open_tasks=10, jitter=dice.random(), asked=asked > 0)
        asked += 1
        if age >= seconds:
            return asked, age - seconds


@pytest.mark.parametrize("usual", [5.0, 20.0, 180.0])
def test_ends_are_noticed_soon_with_few_questions(usual: float) -> None:
    dice = random.Random(7)
    pace = Pace(None, query_qps=20.0)
    lives = []
    for _ in range(300):
        seconds = usual * dice.uniform(0.9, 1.1)
        lives.append(lived(pace, seconds, dice))
        pace.learn(seconds)
    settled = lives[20:]

    late = sorted(late for _, late in settled)
    assert sum(asked for asked, _ in settled) / len(settled) <= 8
    assert late[len(late) // 2] <= max(0.5, 0.02 * usual)


def watched(pace: Pace, seconds: float, dice: random.Random) -> float:
    """Let a task live that is watched as a run does; learn from it, return how late its end was noticed."""
    age, before, asked = 0.0, 0.0, False
    while True:
        # An answer takes a moment, and the next question is counted from it.
        age += pace.delay(age, open_tasks=5, jitter=dice.random(), asked=asked) + 0.2
        if age >= seconds:
            break
        before, asked = age, True
    if asked:
        pace.learn((age + before) / 2)
    else:
        pace.learn_of_early(age)
    return age - seconds


def test_a_long_run_does_not_begin_to_ask_ever_later() -> None:
    """A run learns from what it sees only, and it sees no end before its first question."""
    dice, pace = random.Random(7), Pace(None, query_qps=5.0)
    late = [watched(pace, 180.0 * dice.uniform(0.9, 1.1), dice) for _ in range(60_000)]
    # Where such ends were passed over, it was 17 s in the end.
    assert sum(late[-5000:]) / 5000 <= 3.0
    assert sum(late[500:5500]) / 5000 <= 3.0


def test_a_watcher_that_was_late_itself_teaches_nothing() -> None:
    pace = Pace(None)
    for _ in range(20):
        pace.learn(180.0)
    before = pace.typical
    for _ in range(40):
        pace.learn_of_early(4000.0)
    assert pace.typical == before
    Pace(None).learn_of_early(5.0)


def test_a_chosen_interval_rules() -> None:
    pace = Pace(20.0, interval=3.0)

    assert pace.delay(0.0, open_tasks=1, jitter=0.5, asked=False) == 3.0


def test_a_straggler_is_asked_about_ever_less_often() -> None:
    pace = Pace(None, query_qps=20.0)
    for _ in range(10):
        pace.learn(20.0)
    delays = [pace.delay(age, open_tasks=1, jitter=0.5, asked=True) for age in (20.0, 60.0, 600.0, 6000.0)]

    assert delays == sorted(delays)
    assert delays[-1] == 30.0


def test_the_typical_time_is_what_was_seen_or_else_what_was_expected() -> None:
    pace = Pace(100.0)
    assert pace.typical == 100.0
    for each in (9.0, 10.0, 11.0, 10.0, 10.0):
        pace.learn(each)
    assert pace.typical == 10.0


def test_a_run_that_has_seen_no_end_asks_as_closely_as_one_that_has() -> None:
    """Each leg of a deferred run begins without having seen any."""
    pace = Pace(60.0, query_qps=20.0)

    assert 52.0 < pace.delay(0.0, open_tasks=10, jitter=0.5, asked=False) < 54.0
    assert pace.delay(58.0, open_tasks=10, jitter=0.5, asked=True) == pytest.approx(12.0 / 7)
