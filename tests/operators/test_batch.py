# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A manifest as one task, on the worker and deferred."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengInputError,
    JimengRunIncompleteError,
    JimengToleranceExceededError,
)
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger

from tests.legs import Bench, DagRun, Deferred, Instance, first_event, walk


def manifest(bench: Bench, names: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": str(name),
            "image": f"{bench.emu.url}/media/n-{name}.png",
            "video": bench.video,
            "colour": "red",
        }
        for name in names
    ]


def batch(bench: Bench, names: Any = range(6), run: DagRun | None = None, **arguments: Any) -> Instance:
    given = {
        "manifest": manifest(bench, names),
        "output": str(bench.folder / "out"),
        "on_input_changed": "reuse",
        **arguments,
    }
    return (run or DagRun()).instance(JimengBatchOperator, "batch", **given)


def report(bench: Bench) -> list[dict[str, Any]]:
    text = (bench.folder / "out" / "report.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_manifest_lands_with_a_report_and_the_second_run_pays_nothing(
    bench: Bench, deferrable: bool
) -> None:
    instance = batch(bench, deferrable=deferrable)
    summary = instance.finish()
    again = batch(bench, run=DagRun("run-2"), deferrable=deferrable).finish()

    assert (summary["total"], summary["landed"], summary["submits"], summary["complete"]) == (6, 6, 6, True)
    assert (again["reused"], again["submits"]) == (6, 0)
    assert bool(instance.deferrals) is deferrable
    assert bench.accepted == 6
    assert [line["id"] for line in report(bench)] == [str(each) for each in range(6)]
    assert {line["colour"] for line in report(bench)} == {"red"}
    assert json.loads((bench.folder / "out" / "summary.json").read_text()) == again
    assert (bench.folder / "out" / "report.html").exists()


def test_a_trigger_is_told_of_no_more_tasks_than_there_are_slots_and_of_no_secret(bench: Bench) -> None:
    instance = batch(bench, range(8), deferrable=True)
    instance.finish()

    for deferral in instance.deferrals:
        told = json.loads(deferral.kwargs)
        assert len(told["tasks"]) <= 2
        assert not any("://" in str(each) for each in walk(told))
    assert bench.emu.ledger()["slots"]["jimeng_dream_actor_m1_gen_video_cv"]["max_in_use"] <= 2
    assert bench.refused == {}


def test_the_verdict_decides_after_the_report(bench: Bench) -> None:
    bench.emu.add_fault("done", "code", code=50518, match="n-1.", times=0)
    with pytest.raises(JimengToleranceExceededError, match=r"1 of 6 items"):
        batch(bench).finish()
    assert [line["outcome"] for line in report(bench)].count("failed") == 1

    summary = batch(bench, run=DagRun("run-2"), tolerance=1).finish()
    share = batch(bench, run=DagRun("run-3"), tolerance=0.17).finish()
    assert summary["failed"] == share["failed"] == 1
    assert summary["errors"] == {"50518": 1}


def test_a_budget_is_told_after_the_report_and_the_next_run_goes_on(bench: Bench) -> None:
    with pytest.raises(JimengRunIncompleteError, match="4 of 6 items were left out") as told:
        batch(bench, budget=2).finish()
    assert "nothing was paid" not in str(told.value), "two were"
    assert [line["outcome"] for line in report(bench)].count("skipped") == 4

    assert batch(bench, run=DagRun("run-2"), budget=4).finish()["landed"] == 4
    assert bench.accepted == 6


def test_a_bad_line_costs_nothing_or_is_left_out(bench: Bench) -> None:
    lines = [*manifest(bench, range(2)), {"id": "x", "image": "ftp://nowhere"}]
    with pytest.raises(JimengInputError, match="line 3"):
        batch(bench, manifest=lines).finish()
    assert bench.accepted == 0

    summary = batch(bench, manifest=lines, on_invalid="skip", tolerance=1).finish()
    assert (summary["landed"], summary["invalid"]) == (2, 1)


def test_a_dry_run_tells_what_a_run_would_do_and_pays_nothing(bench: Bench) -> None:
    bench.connect(price_per_second=0.5)
    batch(bench, range(2)).finish()
    told = batch(bench, [0, 1, 2, 3], DagRun("run-2"), dry_run=True).finish()

    assert (told["total"], told["new"], told["reused"]) == (4, 2, 2)
    assert told["estimate"]["cost"] == pytest.approx(told["estimate"]["video_seconds"] * 0.5, abs=0.06)
    assert bench.accepted == 2


def test_a_folder_that_another_ledger_paid_for_stops_submits_until_a_person_decides(bench: Bench) -> None:
    tag = bench.folder / "out" / ".jimeng" / "ledger.json"
    batch(bench, range(2)).finish()
    assert json.loads(tag.read_text())["ledger"] == bench.ledger.uuid

    tag.write_text(json.dumps({"ledger": "another"}))
    with pytest.raises(JimengConfigurationError, match="another ledger"):
        batch(bench, range(3), DagRun("run-2")).finish()
    assert bench.accepted == 2
    assert batch(bench, range(3), DagRun("run-3"), adopt_output=True).finish()["landed"] == 1


def test_a_manifest_file_is_read_and_its_report_is_linked_while_it_runs(bench: Bench) -> None:
    file = bench.folder / "manifest.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in manifest(bench, range(2))))
    instance = batch(bench, manifest=str(file))
    summary = instance.finish()

    assert summary["landed"] == 2
    assert instance.ti.xcom_pull(key="_link_JimengReportLink").endswith("/out/report.html")
    assert Path(summary["gallery_uri"]).exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"tolerance": -1},
        {"tolerance": 1.5},
        {"tolerance": True},
        {"max_in_flight": 0},
        {"budget": "many"},
        {"max_attempts": 0},
        {"on_invalid": "ignore"},
        {"timeout": -5},
        {"manifest": {"id": 1}},
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_paid(bench: Bench, wrong: dict[str, Any]) -> None:
    with pytest.raises(JimengInputError, match=next(iter(wrong))):
        batch(bench, **wrong).finish()
    assert bench.accepted == 0


def test_a_deferred_run_that_is_killed_between_its_legs_goes_on_and_pays_once(bench: Bench) -> None:
    instance = batch(bench, range(6), deferrable=True)
    for _ in range(3):
        # A leg that defers, and whose trigger nobody runs; then the task is retried from its beginning.
        instance.leg()
        instance.clear()
    summary = instance.finish()

    assert summary["landed"] == 6
    assert bench.accepted == 6
    assert bench.emu.ledger()["paid_more_than_once"] == []


def test_a_deferred_run_waits_for_slots_that_others_hold(bench: Bench) -> None:
    bench.emu.configure(duration=1.0)
    bench.connect(max_concurrency=1)
    bench.submit(DagRun("other"), variant=7)
    instance = batch(bench, range(2), deferrable=True)
    summary = instance.finish()

    assert summary["landed"] == 2
    assert json.loads(instance.deferrals[0].kwargs)["turn"]["ticket_id"] is not None
    assert bench.refused == {}


def test_a_run_is_called_by_the_end_of_anothers_task_and_frees_its_slot(bench: Bench) -> None:
    """The other's own leg has not come to a worker yet."""
    bench.emu.configure(duration=1.5)
    bench.connect(max_concurrency=1)
    other = bench.submit(DagRun("other"), variant=7)
    instance = batch(bench, range(1), deferrable=True)
    left = instance.leg()
    assert isinstance(left, Deferred)

    async def called() -> Any:
        waits = (first_event(JimengTaskTrigger([other]), 8.0), first_event(left.trigger(), 8.0))
        return (await asyncio.gather(*waits))[1]

    event = asyncio.run(called())
    assert (event["status"], len(event["over"])) == ("turn", 1)
    bench.emu.configure(duration=60.0)
    assert isinstance(instance.leg(left, event), Deferred)
    assert bench.states() == ["succeeded", "submitted"]
    assert bench.refused == {}


def test_a_resumed_leg_asks_once_about_what_is_over_and_lands_it_by_that_answer(bench: Bench) -> None:
    instance = batch(bench, range(1), deferrable=True)
    left = instance.leg()
    assert isinstance(left, Deferred)
    event = asyncio.run(first_event(left.trigger()))
    before = bench.queries
    summary = instance.leg(left, event)

    assert summary["landed"] == 1
    assert bench.queries - before == 1


def test_a_deferred_run_that_waits_for_a_slot_beside_its_own_task_is_told_of_its_turn(bench: Bench) -> None:
    bench.emu.configure(duration=60.0)
    bench.connect(max_concurrency=2)
    bench.submit(DagRun("other"), variant=7)
    left = batch(bench, range(2), deferrable=True).leg()

    assert isinstance(left, Deferred)
    told = json.loads(left.kwargs)
    assert len(told["tasks"]) == 1
    assert told["turn"]["ticket_id"] is not None


def test_the_time_that_a_dag_run_took_before_the_batch_is_none_of_the_batchs(bench: Bench) -> None:
    run = DagRun(start_date=dt.datetime.now(dt.UTC) - dt.timedelta(days=8))
    assert batch(bench, range(2), run, timeout=3600.0).finish()["landed"] == 2
    assert bench.accepted == 2


def test_the_timeout_counts_over_all_tries_from_the_first_claim(bench: Bench) -> None:
    run = DagRun(start_date=dt.datetime.now(dt.UTC) - dt.timedelta(days=8))
    batch(bench, range(2), run, timeout=3600.0).finish()
    bench.alter("UPDATE jimeng_tasks SET created_at = created_at - 7200")
    with pytest.raises(JimengRunIncompleteError, match="timeout passed"):
        batch(bench, range(4), run, timeout=3600.0).clear().finish()
    assert [each["outcome"] for each in report(bench)] == ["landed", "landed", "skipped", "skipped"]
    assert bench.accepted == 2


def go_on(instance: Instance, left: Any) -> Any:
    while isinstance(left, Deferred):
        left = instance.leg(left, instance.watch(left))
    return left


def test_the_timeout_counts_on_in_the_next_leg(bench: Bench) -> None:
    instance = batch(bench, range(4), deferrable=True, timeout=3600.0)
    left = instance.leg()
    assert isinstance(left, Deferred)
    told = json.loads(left.handed_on)
    left = replace(left, handed_on=json.dumps({**told, "began": told["began"] - 7200.0}))
    with pytest.raises(JimengRunIncompleteError, match="timeout passed"):
        go_on(instance, left)
    assert bench.accepted == 2
