# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A line in the log says how far a run is, how fast it goes, and when it ends."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_jimeng.bulk.items import Outcome
from airflow_provider_jimeng.bulk.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def progress(total: int, gauges: dict[str, float] | None = None, **options: Any) -> tuple[Progress, Clock]:
    clock = Clock()
    told: dict[str, float] = {} if gauges is None else gauges
    return Progress(total, told.__setitem__, clock=clock, wall=clock, **options), clock


def test_the_rate_is_that_of_what_was_landed_now(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gauges: dict[str, float] = {}
    made, clock = progress(100, gauges)
    for _ in range(40):
        made.settled(Outcome.REUSED)
        made.settled(Outcome.LANDED, just_now=False)
    assert made.rate() is None
    for _ in range(11):
        clock.now += 6.0
        made.settled(Outcome.LANDED)
    made.settled(Outcome.FAILED)
    assert made.rate() == pytest.approx(1 / 6)
    made.tell(open_tasks=2, limit=2)
    assert caplog.messages == [
        "92 of 100 done, 2 of 2 slots in use, 10.0 a minute, about 48 s left, 0 refused, 1 failed."
    ]
    assert gauges == {"done": 92.0, "total": 100.0, "slots_in_use": 2.0, "refused": 0.0, "failed": 1.0}


def test_a_leg_counts_from_the_runs_beginning_and_tells_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made, clock = progress(100, before=10)
    made.of_a_leg(clock.now - 300.0)
    made.tell(open_tasks=1, limit=2)
    assert caplog.messages == []
    made.settled(Outcome.LANDED)
    made.tell(open_tasks=1, limit=2, final=True)
    (line,) = caplog.messages
    assert line.startswith("11 of 100 done, 1 of 2 slots in use, 2.2 a minute, about 40 min left")


def test_nothing_is_told_twice_and_not_more_often_than_every_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    made, clock = progress(10)
    for _ in range(100):
        made.tell(open_tasks=1, limit=None)
        clock.now += 1.0
    assert len(caplog.messages) == 1
    for _ in range(10):
        made.settled(Outcome.REUSED)
        made.tell(open_tasks=1, limit=None)
        clock.now += 5.0
    assert len(caplog.messages) == 6
