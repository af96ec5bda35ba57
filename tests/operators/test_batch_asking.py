# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A question about what was given up takes half a minute, and no slot: what can be submitted meanwhile is."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.exceptions import JimengRunIncompleteError, JimengToleranceExceededError
from airflow_provider_jimeng.lifecycle import submit as submitting
from airflow_provider_jimeng.lifecycle.revive import revive
from airflow_provider_jimeng.policy import giving_up

from tests import legs
from tests.legs import Bench, DagRun, Deferred
from tests.operators.test_batch_corrected import batch
from tests.operators.test_batch_given_up import ON_BOTH, report, submitted

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord

#: A denial is believed after this long.
LASTING = 1.5


@pytest.fixture
def given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have three tasks that were given up a good while ago, and one slot; return their ids."""
    bench.emu.configure(concurrency=3)
    bench.connect(max_concurrency=3)
    submitted(bench, "abc")
    for row in bench.rows():
        bench.ledger.record_expired(row, message="the vendor says not_found, and kept saying so")
    bench.alter(
        "UPDATE jimeng_tasks SET finished_at = finished_at - 3600, submitted_at = submitted_at - 4000"
    )
    bench.emu.advance(7200.0)
    bench.emu.configure(concurrency=1, duration=0.2)
    bench.connect(max_concurrency=1)
    legs.quick(monkeypatch, lasting_seconds=LASTING)
    return [str(row.task_id) for row in bench.rows()]


def deny(bench: Bench, tasks: list[str]) -> None:
    for task_id in tasks:
        bench.emu.add_fault(f"query:status,status=not_found,times=0,match={task_id}")


def of(bench: Bench, name: str) -> list[TaskRecord]:
    return [row for row in bench.rows() if f"n-{name}.png" in json.dumps(row.inputs)]


@ON_BOTH
@pytest.mark.parametrize("missing", ["fail", "resubmit"])
def test_a_slot_is_filled_while_given_up_lines_in_front_are_asked_about(
    bench: Bench, given_up: list[str], monkeypatch: pytest.MonkeyPatch, missing: str, deferrable: bool
) -> None:
    deny(bench, given_up)
    asked_at_the_slot: list[Any] = []

    def asks(ledger: Any, client: Any, record: Any, **named: Any) -> Any:
        asked_at_the_slot.append(record.task_id)
        return revive(ledger, client, record, **named)

    monkeypatch.setattr(submitting, "revive", asks)
    began = time.time()
    instance = batch(
        bench, "abcd", run_id="run-2", on_missing_output=missing, deferrable=deferrable, tolerance=3
    )
    summary = instance.finish()

    # Long before one question has its answer.
    assert of(bench, "d")[0].created_at - began < LASTING
    assert asked_at_the_slot == []
    again = 3 if missing == "resubmit" else 0
    assert bench.accepted == 3 + 1 + again
    assert (summary["landed"], summary["expired"]) == (1 + again, 3 - again)
    assert max(len(of(bench, name)) for name in "abcd") == (2 if again else 1)
    assert bench.refused == {}


@pytest.mark.parametrize("missing", ["fail", "resubmit"])
def test_what_is_there_after_all_is_brought_home_while_the_only_slot_is_taken(
    bench: Bench, given_up: list[str], missing: str
) -> None:
    # Which of them was submitted first is chance.
    deny(bench, [str(of(bench, "a")[0].task_id)])
    bench.emu.configure(duration=3600.0)
    instance = batch(bench, "dabc", run_id="run-2", on_missing_output=missing, tolerance=1)
    left = instance.leg()

    assert isinstance(left, Deferred)
    assert bench.accepted == 3 + 1
    states = [str(row.state) for name in "abcd" for row in of(bench, name)]
    assert states == ["expired", "landed", "landed", "submitted"]
    assert all(Path(bench.folder, "out", f"{name}.mp4").exists() for name in "bc")


@pytest.mark.parametrize("missing", ["fail", "resubmit"])
def test_a_leg_waits_as_long_as_the_answer_says_and_keeps_to_its_tasks_at_the_vendor(
    bench: Bench, given_up: list[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 7200.0)
    monkeypatch.setattr(giving_up, "DOUBT_SECONDS", 40.0)
    deny(bench, given_up)
    bench.connect(max_concurrency=4)
    bench.emu.configure(concurrency=4, duration=3600.0)
    asked = bench.queries
    instance = batch(bench, "abcdef", run_id="run-2", on_missing_output=missing, max_in_flight=2)
    left = instance.leg()

    assert isinstance(left, Deferred)
    assert bench.accepted == 3 + 2
    assert len(json.loads(left.kwargs)["tasks"]) == 2
    assert bench.queries - asked <= 3 + 2 * 3

    alone = batch(bench, "abc", run_id="run-3", on_missing_output=missing)
    left = alone.leg()
    assert isinstance(left, Deferred)
    wakes_at = dt.datetime.fromisoformat(json.loads(left.kwargs)["turn"]["not_before"])
    assert 20.0 < wakes_at.timestamp() - time.time() <= 41.0
    assert bench.accepted == 3 + 2


@ON_BOTH
def test_what_is_lost_when_nothing_is_submitted_any_more_is_not_paid_again(
    bench: Bench, given_up: list[str], deferrable: bool
) -> None:
    deny(bench, given_up)
    instance = batch(
        bench, "abc", run_id="run-2", on_missing_output="resubmit", deferrable=deferrable, budget=1
    )
    with contextlib.suppress(Exception):
        instance.finish()

    told = [report(bench)[name]["outcome"] for name in "abc"]
    assert sorted(told) == ["expired", "expired", "landed"]
    assert bench.accepted == 3 + 1


def test_all_of_them_may_be_lost_for_good(bench: Bench, given_up: list[str]) -> None:
    deny(bench, given_up)
    with pytest.raises(JimengToleranceExceededError):
        batch(bench, "abc", run_id="run-2", deferrable=False, retries=0).finish()
    assert bench.accepted == 3


def ends_at(left: Any, *, where: str) -> float | None:
    """Return in how many seconds a deferral ends whatever comes."""
    assert isinstance(left, Deferred)
    told = json.loads(left.kwargs)
    at = (told if where == "tasks" else told["turn"])["deadline"]
    return None if at is None else dt.datetime.fromisoformat(at).timestamp() - time.time()


@pytest.mark.parametrize("beside", ["nothing", "a task"])
def test_a_place_in_the_queue_does_not_hide_when_a_given_up_task_is_to_be_asked_about(
    bench: Bench, given_up: list[str], monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 7200.0)
    monkeypatch.setattr(giving_up, "DOUBT_SECONDS", 40.0)
    deny(bench, given_up)
    slots = 1 if beside == "nothing" else 2
    bench.connect(max_concurrency=slots)
    bench.emu.configure(concurrency=slots, duration=3600.0)
    bench.submit(DagRun("other"), image_url=f"{bench.emu.url}/media/n-x.png")
    left = batch(bench, "abcde", run_id="run-2").leg()

    told = json.loads(left.kwargs)
    assert told["turn"]["ticket_id"] is not None
    assert len(told["tasks"]) == slots - 1
    seconds = ends_at(left, where="tasks" if told["tasks"] else "turn")
    assert seconds is not None
    assert 20.0 < seconds <= 41.0


def test_a_place_in_the_queue_is_given_up_when_the_runs_time_is(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(concurrency=1, duration=3600.0)
    bench.submit(DagRun("other"), image_url=f"{bench.emu.url}/media/n-x.png")
    instance = batch(bench, "ab", run_id="run-2", timeout=5.0)
    left = instance.leg()

    seconds = ends_at(left, where="turn")
    assert seconds is not None
    assert 3.0 < seconds <= 5.0
    with pytest.raises(JimengRunIncompleteError, match="timeout passed"):
        instance.leg(left, instance.watch(left))
    assert bench.accepted == 3 - 2


def test_a_place_in_the_queue_is_looked_after_before_airflow_takes_a_try_for_it(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(concurrency=1, duration=3600.0)
    bench.submit(DagRun("other"), image_url=f"{bench.emu.url}/media/n-x.png")
    left = batch(bench, "ab", run_id="run-2").leg()

    assert isinstance(left, Deferred)
    seconds = ends_at(left, where="turn")
    assert seconds is not None
    assert left.timeout is not None
    assert 3600.0 < seconds < left.timeout.total_seconds()
