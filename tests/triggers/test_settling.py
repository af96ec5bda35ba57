# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A trigger stays quiet while Airflow may not have noticed that the leg before it has ended."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_jimeng.triggers import jimeng, slots
from airflow_provider_jimeng.triggers.bulk import JimengBulkTrigger

from tests.legs import Bench, first_event

HOLD = 1.2


def in_a_triggerer(trigger: Any) -> Any:
    """Make it look as it does where there is a scheduler; ``dag.test()`` sets no task instance."""
    names = dict.fromkeys(("id", "dag_id", "task_id", "run_id"), "x")
    trigger.task_instance = SimpleNamespace(**names, map_index=-1, try_number=1)
    return trigger


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (jimeng, slots):
        monkeypatch.setattr(module, "hold_seconds", lambda: HOLD)


def timed(trigger: Any) -> tuple[Any, float]:
    began = time.monotonic()
    event = asyncio.run(first_event(trigger))
    return event, time.monotonic() - began


@pytest.mark.usefixtures("held")
def test_an_end_that_comes_early_is_told_later_with_all_that_ended_meanwhile(bench: Bench) -> None:
    references = [bench.submit(variant=number) for number in range(2)]
    options: dict[str, Any] = {"poll_interval": 0.05, "wait_for": "any"}
    event, took = timed(in_a_triggerer(jimeng.JimengTaskTrigger(references, **options)))
    assert took >= HOLD
    assert len(event["tasks"]) == 2


@pytest.mark.usefixtures("held")
def test_where_there_is_no_scheduler_nothing_is_held_back(bench: Bench) -> None:
    _, took = timed(jimeng.JimengTaskTrigger([bench.submit()], poll_interval=0.05))
    assert took < HOLD


@pytest.mark.usefixtures("held")
def test_a_turn_that_comes_early_is_told_later(bench: Bench) -> None:
    event, took = timed(in_a_triggerer(slots.JimengSlotTrigger("tests", "nowhere", "key", "0" * 64)))
    assert event["status"] == jimeng.TURN
    assert took >= HOLD


@pytest.mark.usefixtures("held")
def test_a_bulk_runs_trigger_holds_once_and_not_twice(bench: Bench) -> None:
    trigger = in_a_triggerer(JimengBulkTrigger([bench.submit()], poll_interval=0.05, hold=0.6))
    _, took = timed(trigger)
    assert 0.6 <= took < HOLD
