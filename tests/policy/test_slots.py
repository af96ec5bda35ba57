# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import pytest

from airflow_provider_jimeng.policy.slots import (
    CONFIGURED_PROBE_SECONDS,
    COOL_DOWN_SECONDS_MAX,
    PROBE_SECONDS,
    PROBE_SECONDS_MAX,
    RETRY_AFTER_SECONDS_MAX,
    CoolDown,
    LearnedLimit,
    Ticket,
    after_acceptance,
    after_refusal,
    break_circuit,
    cool_down,
    effective_limit,
    entitled,
    half_open,
)

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("configured", "learned", "limit"),
    [
        (None, LearnedLimit(), 1),
        (None, LearnedLimit(proven=1), 2),
        (None, LearnedLimit(2, 2, NOW + 1, 1), 2),
        (None, LearnedLimit(2, 2, NOW, 1), 3),
        (None, LearnedLimit(2, 2, None, 1), 3),
        (5, LearnedLimit(), 5),
        (5, LearnedLimit(proven=9), 5),
        (5, LearnedLimit(2, 2, NOW + 1, 1), 2),
        (5, LearnedLimit(2, 2, NOW - 1, 1), 5),
        (1, LearnedLimit(4, 4, NOW + 1, 1), 1),
        (0, LearnedLimit(), 0),
    ],
    ids=str,
)
def test_the_limit_is_the_configured_or_one_more_than_proven_under_a_fresh_ceiling(
    configured, learned, limit
):
    assert effective_limit(configured, learned, NOW) == limit


def test_an_unconfigured_account_finds_its_two_slots_with_one_refusal():
    learned = LearnedLimit()
    for running in (1, 2):
        assert effective_limit(None, learned, NOW) == running
        learned = after_acceptance(learned, running)
    assert effective_limit(None, learned, NOW) == 3
    learned = after_refusal(learned, 2, NOW)
    assert effective_limit(None, learned, NOW) == 2
    assert effective_limit(None, learned, NOW + PROBE_SECONDS - 1) == 2
    assert effective_limit(None, learned, NOW + PROBE_SECONDS) == 3


def test_a_ceiling_that_holds_is_probed_ever_more_rarely():
    learned, now, waits = LearnedLimit(), NOW, []
    for _ in range(9):
        learned = after_refusal(learned, 2, now)
        assert learned.probe_after is not None
        waits.append(learned.probe_after - now)
        now = learned.probe_after
    assert waits[:3] == [PROBE_SECONDS, 2 * PROBE_SECONDS, 4 * PROBE_SECONDS]
    assert waits[-1] == PROBE_SECONDS_MAX
    assert (PROBE_SECONDS, PROBE_SECONDS_MAX) == (600, 4 * 3600)


def test_a_configured_number_is_believed_again_soon_and_ever_later_where_its_probes_are_refused():
    learned, now, waits = LearnedLimit(), NOW, []
    for _ in range(12):
        learned = after_refusal(learned, 1, now, configured=2, cool_until=now)
        assert learned.probe_after is not None
        assert effective_limit(2, learned, learned.probe_after - 1) == 1
        assert effective_limit(2, learned, learned.probe_after) == 2
        waits.append(learned.probe_after - now)
        now = learned.probe_after
    assert waits[:4] == [30, 60, 120, 240]
    assert waits[-1] == PROBE_SECONDS_MAX
    # The probe is accepted: the next refusal is a first one again.
    learned = after_refusal(after_acceptance(learned, 2), 1, now, configured=2)
    assert learned == LearnedLimit(1, 1, now + CONFIGURED_PROBE_SECONDS, 1)


@pytest.mark.parametrize(("until", "begin"), [(None, 0), (NOW - 5, 0), (NOW, 0), (NOW + 45, 45)])
def test_a_configured_number_is_not_believed_again_during_a_cool_down(until, begin):
    learned = after_refusal(LearnedLimit(), 1, NOW, configured=2, cool_until=until)
    assert learned.probe_after == NOW + begin + CONFIGURED_PROBE_SECONDS


def test_in_a_storm_of_refusals_one_at_a_time_is_tried_whatever_was_configured():
    learned, cool, now, tried = LearnedLimit(), CoolDown(), NOW, []
    for _ in range(40):
        tried.append(effective_limit(8, learned, now))
        cool = cool_down(cool, now, jitter=0.99)
        assert cool.until is not None
        learned = after_refusal(learned, 0, now, configured=8, cool_until=cool.until)
        now = cool.until
    assert tried == [8, *[1] * 39]
    # And not for long after it: what ended was a storm, and not the plan.
    assert effective_limit(8, learned, now + CONFIGURED_PROBE_SECONDS) == 8


def test_a_learned_number_minds_no_cool_down():
    assert after_refusal(LearnedLimit(), 2, NOW, cool_until=NOW + 45).probe_after == NOW + PROBE_SECONDS


def test_a_refusal_with_nothing_of_ours_running_still_leaves_one_to_try():
    assert after_refusal(LearnedLimit(3), 0, NOW) == LearnedLimit(1, 1, NOW + PROBE_SECONDS, 1)


def test_refusals_of_sends_under_way_can_only_lower_a_fresh_ceiling():
    first = after_refusal(LearnedLimit(5), 3, NOW)
    assert after_refusal(first, 4, NOW + 1).ceiling == 3
    assert after_refusal(first, 2, NOW + 1) == LearnedLimit(2, 2, NOW + 1 + PROBE_SECONDS, 1)


def test_an_acceptance_above_the_ceiling_forgets_it_and_below_keeps_it():
    taught = LearnedLimit(2, 2, NOW, 3)
    assert after_acceptance(taught, 3) == LearnedLimit(3)
    assert after_acceptance(taught, 2) == taught
    assert after_acceptance(LearnedLimit(4), 2) == LearnedLimit(4)


def test_cool_downs_double_from_two_seconds_to_a_minute():
    current, now, lengths = CoolDown(), NOW, []
    for _ in range(8):
        current = cool_down(current, now)
        assert current.until is not None
        lengths.append(current.until - now)
        now = current.until
    assert lengths == [2, 4, 8, 16, 32, 60, 60, COOL_DOWN_SECONDS_MAX]


def test_refusals_during_a_cool_down_neither_double_it_nor_shorten_it():
    running = CoolDown(NOW + 10, 3)
    assert cool_down(running, NOW) == running
    assert cool_down(running, NOW + 9.5) == running
    assert cool_down(running, NOW, retry_after=5) == running
    assert cool_down(running, NOW, retry_after=25) == CoolDown(NOW + 25, 3)


@pytest.mark.parametrize(
    ("retry_after", "jitter", "seconds"),
    [
        (None, 0.0, 2.0),
        (7.0, 0.0, 7.0),
        (1.0, 0.0, 2.0),
        (None, 0.5, 2.25),
        (86400.0, 0.0, RETRY_AFTER_SECONDS_MAX),
    ],
)
def test_a_cool_down_heeds_the_vendor_within_reason_and_is_spread(retry_after, jitter, seconds):
    assert cool_down(CoolDown(), NOW, retry_after=retry_after, jitter=jitter).until == NOW + seconds


def tickets(*called: float | None) -> list[Ticket]:
    return [Ticket(number, at) for number, at in enumerate(called, start=1)]


@pytest.mark.parametrize(
    ("waiting", "free", "turn"),
    [
        (tickets(), 2, set()),
        (tickets(None), 0, set()),
        (tickets(None), -1, set()),
        (tickets(None, None, None), 1, {1}),
        (tickets(None, None, None), 2, {1, 2}),
        (tickets(None), 5, {1}),
        # Called and still expected: the slot is kept.
        (tickets(NOW - 30, None), 1, {1}),
        # Called and not come: it may still come, but the next is called too.
        (tickets(NOW - 31, None, None), 1, {1, 2}),
        (tickets(NOW - 31, None, None), 2, {1, 2, 3}),
        (tickets(NOW - 99, NOW - 31, None, None, None), 2, {1, 2, 3, 4}),
        # More are missing than slots are free: each passes two offers on.
        (tickets(NOW - 99, NOW - 31, None, None, None), 1, {1, 2, 3, 4}),
        (tickets(NOW - 99, NOW - 31, NOW - 31, None, None, None, None), 1, {1, 2, 3, 4, 5, 6}),
        # Called for the end of a cool-down.
        (tickets(NOW + 20, None), 1, {1}),
    ],
)
def test_first_come_first_served_and_the_dead_block_nobody(waiting, free, turn):
    assert entitled(waiting, free, NOW) == turn
    assert entitled(list(reversed(waiting)), free, NOW) == turn


@pytest.mark.parametrize(
    ("since", "turn"),
    [
        (None, {1}),
        (NOW + 5, {1}),
        (NOW - 30, {1}),
        (NOW - 31, {1, 2}),
        (NOW - 61, {1, 2, 3, 4}),
        (NOW - 91, {1, 2, 3, 4, 5, 6, 7, 8}),
        (NOW - 3600, set(range(1, 10))),
    ],
)
def test_a_slot_that_came_free_by_time_alone_is_offered_on_every_grace(since, turn):
    assert entitled(tickets(*[None] * 9), 1, NOW, free_since=since) == turn


def test_two_hundred_dead_waiters_hold_a_slot_up_for_minutes_and_not_for_hours():
    waiting, now = tickets(*[None] * 201), NOW
    while 201 not in entitled(waiting, 1, now):
        turn = entitled(waiting, 1, now)
        waiting = [Ticket(t.id, now) if t.id in turn and t.called_at is None else t for t in waiting]
        now += 31.0
    assert now - NOW < 300.0


def test_two_slots_free_by_time_are_offered_side_by_side():
    waiting = tickets(*[None] * 6)
    assert entitled(waiting, 2, NOW, free_since=NOW - 31) == {1, 2, 3, 4}
    assert entitled(waiting, 2, NOW, call_grace=60.0, free_since=NOW - 31) == {1, 2}


def test_a_breaker_opens_at_the_third_refusal_in_a_row_and_stays_open_ever_longer():
    opens, cool = False, CoolDown()
    for _ in range(2):
        opens, cool = break_circuit(cool, NOW)
        assert (opens, cool.until) == (False, None)
    opens, cool = break_circuit(cool, NOW)
    assert (opens, cool) == (True, CoolDown(NOW + 10, 3))
    # Answers to sends that were under way change nothing.
    assert break_circuit(cool, NOW + 1) == (True, cool)

    waits = []
    now = NOW + 10
    for _ in range(10):
        trial = half_open(cool, now)
        assert trial is not None
        assert trial.until is not None
        # The one that tried is refused too.
        assert break_circuit(trial, now + 0.5) == (True, trial)
        waits.append(trial.until - now)
        cool, now = trial, trial.until
    assert waits == [20, 40, 80, 160, 320, 640, 900, 900, 900, 900]


def test_one_claim_tries_once_the_time_of_a_breaker_is_over():
    assert half_open(CoolDown(), NOW) is None
    assert half_open(CoolDown(NOW + 1, 3), NOW) is None
    trial = half_open(CoolDown(NOW, 3), NOW)
    assert trial == CoolDown(NOW + 20, 4)
    assert half_open(trial, NOW + 19) is None


def test_the_end_of_a_breaker_is_spread():
    assert break_circuit(CoolDown(None, 2), NOW, jitter=0.5)[1].until == NOW + 10 * 1.125


def test_a_refusal_at_the_very_end_of_a_pause_begins_the_next_one():
    current = CoolDown()
    for _ in range(3):
        opens, current = break_circuit(current, NOW)
    assert opens
    assert current.until is not None
    again, later = break_circuit(current, current.until)
    assert again
    assert later.until is not None
    assert later.until - current.until > current.until - NOW
