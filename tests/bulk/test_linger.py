# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A leg stays for what ends before a deferral would be over, and not for long."""

from __future__ import annotations

import pytest

from airflow_provider_jimeng.bulk.linger import LATE_SECONDS, MOST_FACTOR, Linger

BLIND = 2.0


@pytest.mark.parametrize(
    ("due_in", "stays"),
    [
        (BLIND + 0.1, False),
        (BLIND, True),
        (0.0, True),
        (-LATE_SECONDS, True),
        (-LATE_SECONDS - 0.1, False),
        (None, False),
    ],
)
def test_it_stays_for_what_is_about_to_end(due_in, stays):
    linger = Linger(BLIND)
    linger.watching("a", None if due_in is None else 100.0 + due_in)
    assert linger.stays(100.0) is stays


def test_what_is_over_is_not_waited_for():
    linger = Linger(BLIND)
    linger.watching("a", 101.0)
    assert linger.stays(100.0)
    linger.ended("a")
    assert not linger.stays(100.1)
    linger.ended("never seen")


def test_all_of_its_stays_together_are_bounded():
    linger = Linger(BLIND)
    now = 100.0
    for number in range(1000):
        linger.watching(str(number), now + 0.5)
        if not linger.stays(now):
            break
        now += 0.25
    assert now - 100.0 == pytest.approx(MOST_FACTOR * BLIND)


def test_time_in_which_there_was_something_to_do_does_not_count():
    linger = Linger(BLIND)
    linger.watching("a", 100.5)
    assert linger.stays(100.0)
    linger.busy()
    linger.watching("b", 190.5)
    assert linger.stays(190.0)
    assert linger.stays(190.25)
    assert linger._spent == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("due_in", "stays"), [(BLIND + 6.1, False), (BLIND + 6.0, True), (-6.0, True), (-6.1, False)]
)
def test_what_often_ends_sooner_or_later_is_waited_for_as_long(due_in, stays):
    linger = Linger(BLIND)
    linger.watching("a", 100.0 + due_in, give=6.0)
    assert linger.stays(100.0) is stays
