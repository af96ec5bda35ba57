# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The trigger of a deferred bulk run: any task's end, or the run's turn at a slot, and never too soon."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from airflow_provider_jimeng.triggers.bulk import JimengBulkTrigger
from airflow_provider_jimeng.triggers.holders import watched_here
from airflow_provider_jimeng.triggers.settling import hold_seconds

from tests.legs import Bench, DagRun, first_event

TASK = {"task_id": "7710993105735127851", "req_key": "m", "submitted_at": "2026-11-22T10:00:00+00:00"}


def submitted(bench: Bench, count: int) -> list[dict[str, Any]]:
    bench.emu.configure(concurrency=None)
    bench.connect(max_concurrency=100)
    return [bench.submit(DagRun(f"run-{number}"), variant=number) for number in range(count)]


def turn_of(bench: Bench, ticket: int | None) -> dict[str, Any]:
    scope = bench.rows()[0].scope
    return {
        "account": scope.account,
        "endpoint": scope.endpoint,
        "req_key": scope.req_key,
        "content_key": "of nobody",
        "ticket_id": ticket,
        "not_before": None,
    }


@pytest.mark.parametrize(
    "options",
    [{}, {"tasks": [], "turn": {"account": "a", "ticket_id": 7}}, {"hold": 5.2, "poll_interval": 9}],
)
def test_it_is_the_same_after_its_way_through_the_database(options: dict[str, Any]) -> None:
    first = JimengBulkTrigger(**{"tasks": [TASK], "volcengine_conn_id": "c", **options}).serialize()
    again = JimengBulkTrigger(**json.loads(json.dumps(first[1]))).serialize()
    assert again == first
    assert first[0] == "airflow_provider_jimeng.triggers.bulk.JimengBulkTrigger"


@pytest.mark.parametrize(("configured", "hold"), [(None, 5.2), ("1", 1.2)])
def test_the_hold_follows_the_workers_heartbeat(
    monkeypatch: pytest.MonkeyPatch, configured: str | None, hold: float
) -> None:
    if configured is not None:
        monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", configured)
    assert hold_seconds() == pytest.approx(hold)


async def test_the_end_of_any_task_is_told(bench: Bench) -> None:
    (over,) = await asyncio.to_thread(submitted, bench, 1)
    bench.emu.configure(duration=60.0)
    still = await asyncio.to_thread(bench.submit, DagRun("late"), variant=9)
    event = await first_event(JimengBulkTrigger(tasks=[still, over]))
    assert [each["task_id"] for each in event["tasks"]] == [over["task_id"]]
    assert not +watched_here


async def test_nothing_is_asked_nor_told_before_the_hold_is_over(bench: Bench) -> None:
    tasks = await asyncio.to_thread(submitted, bench, 1)
    await asyncio.sleep(0.5)
    before, began = bench.queries, time.monotonic()
    running = asyncio.create_task(first_event(JimengBulkTrigger(tasks=tasks, hold=1.0)))
    await asyncio.sleep(0.8)
    assert bench.queries == before
    assert (await running)["status"] == "finished"
    assert time.monotonic() - began >= 1.0


async def test_a_task_that_was_over_long_before_is_asked_about_at_once(bench: Bench) -> None:
    (task,) = await asyncio.to_thread(submitted, bench, 1)
    old = {**task, "submitted_at": "2026-11-22T10:00:00+00:00", "expected_seconds": 20.0}
    began = time.monotonic()
    await first_event(JimengBulkTrigger(tasks=[old]))
    assert time.monotonic() - began < 1.5


async def test_a_turn_is_told_while_the_runs_own_tasks_go_on(bench: Bench) -> None:
    """A throttled run must not sleep until one of its own tasks ends."""
    bench.emu.configure(duration=60.0)
    bench.connect(max_concurrency=2)
    mine = await asyncio.to_thread(bench.submit, DagRun("mine"), variant=1)
    # A ticket that nobody knows sends the worker to look, as one whose turn has come does.
    trigger = JimengBulkTrigger(tasks=[mine], turn=turn_of(bench, 4711), hold=0.3)
    began = time.monotonic()
    event = await first_event(trigger, 5.0)
    assert event["status"] == "turn"
    assert time.monotonic() - began >= 0.3
    assert not +watched_here


async def test_a_run_without_open_tasks_waits_for_its_turn_alone(bench: Bench) -> None:
    await asyncio.to_thread(bench.submit)
    event = await first_event(JimengBulkTrigger(tasks=[], turn=turn_of(bench, 4711)), 5.0)
    assert event["status"] == "turn"


async def test_the_turn_of_another_product_is_told_with_its_name(bench: Bench) -> None:
    await asyncio.to_thread(bench.submit)
    later = {**turn_of(bench, 1), "not_before": "2999-01-01T00:00:00+00:00"}
    other = {**turn_of(bench, 4711), "req_key": "jimeng_dreamactor_m20_gen_video"}
    trigger = JimengBulkTrigger(tasks=[], turn=later, more_turns=[other])
    _, arguments = trigger.serialize()
    event = await first_event(JimengBulkTrigger(**arguments), 5.0)
    assert (event["status"], event["req_key"]) == ("turn", other["req_key"])
