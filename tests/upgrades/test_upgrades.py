# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What earlier releases left in databases and folders is taken up, and nothing of it is paid again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.golden.files import ROOT
from tests.golden.scene import OTHER_PRODUCT, inputs, lines
from tests.legs import DagRun

if TYPE_CHECKING:
    from tests.upgrades.kit import Upgraded


def check_waiting(upgraded: Upgraded, results: dict[str, Any]) -> None:
    """Check what the tasks that waited have come to."""
    assert results["flight"]["uri"] == str(upgraded.folder / "out" / "flight.mp4")
    assert results["sensor-flight"]["status"] == "done"
    assert results["queued"]["reused"] is False
    assert results["queued-whole"]["bytes"] > 0
    for case in ("batch-flight", "batch-queued"):
        summary = results[case]
        assert (summary["landed"], summary["submits"], summary["complete"]) == (2, 2, True)
    # One line of the run in flight had its task; two runs and two single tasks waited for slots.
    assert upgraded.paid == 5
    assert upgraded.emu.ledger()["paid_more_than_once"] == []


def test_a_task_that_was_deferred_while_its_task_ran_goes_on_to_its_result(upgraded: Upgraded) -> None:
    sensed = upgraded.to_the_end(upgraded.row("sensor-flight"))
    assert (sensed["status"], upgraded.paid) == ("done", 0)
    landed = upgraded.to_the_end(upgraded.row("flight"))
    assert landed["uri"] == str(upgraded.folder / "out" / "flight.mp4")
    assert upgraded.paid == 0


def test_all_that_waited_goes_on_and_pays_what_was_not_paid_yet(upgraded: Upgraded) -> None:
    assert len(upgraded.waiting) == 6
    check_waiting(upgraded, upgraded.all_to_the_end(upgraded.waiting))


def test_the_event_of_a_trigger_that_ran_before_the_upgrade_is_understood_after_it(
    upgraded: Upgraded,
) -> None:
    told = [row for row in upgraded.rows if row.get("event") is not None]
    assert {row["classpath"].rpartition(".")[2] for row in told} >= {"JimengTaskTrigger", "JimengSlotTrigger"}
    check_waiting(upgraded, upgraded.all_to_the_end(upgraded.waiting, with_events=True))
    for row in told:
        assert upgraded.to_the_end(row, row["event"])
    assert upgraded.paid == 5


def test_references_and_results_in_xcoms_are_taken(upgraded: Upgraded) -> None:
    bench = upgraded.bench
    for case in ("submitted", "in-flight"):
        assert bench.wait(upgraded.xcoms[case], DagRun(f"after-{case}"))["status"] == "done"
    for case in ("submitted", "sensed", "in-flight"):
        output = str(upgraded.folder / "after" / f"{case}.mp4")
        assert bench.land(upgraded.xcoms[case], DagRun(f"after-{case}"), output=output)["uri"] == output
    assert upgraded.paid == 0


def test_a_rerun_of_what_was_landed_pays_nothing(upgraded: Upgraded) -> None:
    bench = upgraded.bench
    again = bench.imitate(
        DagRun("after"), output=str(upgraded.folder / "out" / "imitated.mp4"), **inputs("imitated")
    )
    for name in ("reused", "sha256", "task_id", "content_key"):
        assert again[name] == (True if name == "reused" else upgraded.xcoms["imitated"][name])
    for case in ("batch", "batch-deferred"):
        summary = DagRun("after").task(
            JimengBatchOperator,
            manifest=lines(f"{case}-1", f"{case}-2"),
            output=str(upgraded.folder / "out" / case),
            on_input_changed="reuse",
        )
        assert (summary["reused"], summary["submits"]) == (2, 0)
    assert upgraded.paid == 0


def test_what_went_wrong_stays_so(upgraded: Upgraded) -> None:
    bench = upgraded.bench
    output = {"output": str(upgraded.folder / "out" / "x.mp4"), "req_key": OTHER_PRODUCT}
    for name in ("failed", "unknown"):
        with pytest.raises(Exception, match=r"verdict|Nobody knows") as error:
            bench.imitate(DagRun("after"), **output, **inputs(name))
        assert isinstance(error.value.__cause__ or error.value, JimengError)
    assert upgraded.paid == 0
    # Nothing was paid for what was rejected, so it is submitted.
    bench.emu.add_fault("submit:50411,match=/rejected.")
    before = bench.refused.get("50411", 0)
    with pytest.raises(Exception, match="50411"):
        bench.imitate(DagRun("after"), **output, **inputs("rejected"))
    assert bench.refused["50411"] == before + 1


def states_of(ledger: Ledger, keys: list[str]) -> dict[str, list[TaskState]]:
    return {key: [row.state for row in ledger.history(key)] for key in keys}


def test_a_ledger_is_read_whole_on_both_databases(
    upgraded: Upgraded, version: str, postgres_database: str
) -> None:
    keys = sorted({row.content_key for row in upgraded.bench.rows()})
    sqlite = states_of(upgraded.bench.ledger, keys)
    assert {state for states in sqlite.values() for state in states} == {
        *(TaskState.LANDED, TaskState.SUBMITTED),
        *(TaskState.FAILED, TaskState.REJECTED, TaskState.UNKNOWN),
    }

    database = engine.Database(postgres_database)
    raw = database._engine.raw_connection()
    cursor = raw.cursor()
    for statement in (ROOT / version / "ledger.postgres.sql").read_text(encoding="utf-8").splitlines():
        cursor.execute(statement)
    raw.commit()
    raw.close()
    database.dispose()
    ledger = Ledger.open(postgres_database)
    assert states_of(ledger, keys) == sqlite
    assert ledger.uuid == upgraded.bench.ledger.uuid
    for key in keys:
        assert len(ledger.landings(key)) == len(upgraded.bench.ledger.landings(key))
    ledger.close()


def test_reports_keep_their_fields(upgraded: Upgraded) -> None:
    out = upgraded.folder / "out" / "batch"
    before = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    summary = json.loads((out / "summary.json").read_text())
    now = DagRun("after").task(
        JimengBatchOperator,
        manifest=lines("batch-1", "batch-2"),
        output=str(out),
        on_input_changed="reuse",
    )
    after = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    told = {"outcome", "submitted_at", "finished_at", "elapsed"}
    assert [without(line, told) for line in after] == [without(line, told) for line in before]
    assert kinds(before[0]).items() <= kinds(after[0]).items()
    assert summary.keys() <= now.keys()


def without(line: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in names}


def kinds(line: dict[str, Any]) -> dict[str, str]:
    return {name: type(value).__name__ for name, value in line.items()}
