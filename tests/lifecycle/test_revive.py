# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What was given up as expired is asked about once more before it stays lost, or is paid for again."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import (
    JimengMissingOutputError,
    JimengTaskExpiredError,
    JimengToleranceExceededError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.revive import may_come_back, revive
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator
from airflow_provider_jimeng.policy import giving_up
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, quick
from tests.lifecycle.test_decide import NOW, row
from tests.operators.test_batch_scenarios import lines, report, run


def give_up(bench: Bench) -> None:
    """Have a task given up by a vendor that says for a while that it has no such task."""
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.imitate()
    assert bench.states() == ["expired"]
    bench.emu.clear_faults()


@pytest.mark.parametrize("missing", ["fail", "resubmit"])
@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_a_rerun_lands_what_the_vendor_has_after_all_and_pays_nothing(
    bench: Bench, missing: str, deferrable: bool
) -> None:
    give_up(bench)
    bench.imitate(DagRun("run-2"), on_missing_output=missing, deferrable=deferrable)

    assert Path(bench.output).exists()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]
    assert not bench.rows()[0].possibly_billed


def test_the_building_blocks_find_it_again_too(bench: Bench) -> None:
    reference = bench.submit()
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference)
    bench.emu.clear_faults()

    assert bench.wait(reference, DagRun("run-2"))["status"] == "done"
    assert bench.land(reference, DagRun("run-2"))["uri"] == bench.output
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_a_landing_finds_again_what_nobody_waited_for_any_more(bench: Bench) -> None:
    reference = bench.submit()
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference)
    bench.emu.clear_faults()

    assert bench.land(reference, DagRun("run-2"))["uri"] == bench.output
    assert bench.states() == ["landed"]


def test_one_that_still_runs_is_waited_for_and_not_paid_again(bench: Bench) -> None:
    bench.emu.configure(duration=3.0)
    bench.emu.add_fault("query:status,status=not_found,times=0")
    instance = bench.imitation(retries=0)
    with pytest.raises(JimengTaskExpiredError):
        instance.finish()
    bench.emu.configure(duration=60.0)
    bench.emu.clear_faults()
    bench.emu.add_fault("query:status,status=generating,times=3")

    bench.imitate(DagRun("run-2"), on_missing_output="resubmit")
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


NO_WORD_AGAINST_IT = {
    "throttled": "query:50429",
    "no JSON": "query:html",
    "no URL": "query:no-url",
    "a status of a later release": "query:status,status=post_processing",
    "50215": "query:50215",
}


@pytest.mark.parametrize("fault", NO_WORD_AGAINST_IT.values(), ids=NO_WORD_AGAINST_IT)
def test_an_answer_that_cannot_be_read_does_not_say_that_it_is_lost(bench: Bench, fault: str) -> None:
    give_up(bench)
    bench.alter("UPDATE jimeng_tasks SET finished_at = finished_at - 3600")
    bench.emu.add_fault(fault)
    bench.imitate(DagRun("run-2"), on_missing_output="resubmit", deferrable=False)

    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_a_vendor_that_throttles_the_question_fails_nobody(bench: Bench) -> None:
    reference = bench.submit()
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference, retries=0)
    bench.emu.clear_faults()

    bench.emu.add_fault("query:50429")
    assert bench.wait(reference, DagRun("run-2"), retries=0)["status"] == "done"
    bench.emu.add_fault("query:50429")
    bench.imitate(DagRun("run-3"), retries=0)
    assert (bench.accepted, bench.states()) == (1, ["landed"])


@pytest.mark.parametrize("missing", ["fail", "resubmit"])
@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_a_vendor_that_is_confused_for_a_while_costs_a_bulk_run_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, missing: str, deferrable: bool
) -> None:
    quick(monkeypatch, grace_seconds=0.1, lasting_seconds=0.1)
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 600.0)
    # As long as it takes to be given up three times over; each task is denied from its submit.
    bench.emu.add_fault("query:race,status=not_found,seconds=3")
    summary = run(
        bench, lines(bench, range(2)), on_missing_output=missing, deferrable=deferrable, poke_interval=0.2
    )

    assert (summary["landed"], summary["submits"], summary["possibly_billed"]) == (2, 2, 0)
    assert bench.accepted == 2
    assert bench.states() == ["landed", "landed"]


@pytest.mark.parametrize("mode", [{}, {"deferrable": False}, {"deferrable": False, "mode": "reschedule"}])
def test_a_vendor_that_is_confused_for_a_while_costs_a_sensor_no_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any]
) -> None:
    quick(monkeypatch, grace_seconds=0.1, lasting_seconds=0.1)
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 600.0)
    bench.emu.add_fault("query:race,status=not_found,seconds=3")
    reference = bench.submit()
    result = bench.wait(reference, poke_interval=0.2, **mode)

    assert "expired" not in bench.states()
    assert bench.land(result)["uri"] == bench.output
    assert (bench.states(), bench.accepted) == (["landed"], 1)


def test_a_run_that_stops_does_not_call_what_it_gave_up_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, grace_seconds=0.1, lasting_seconds=0.1)
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 3.0)
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengToleranceExceededError):
        run(bench, lines(bench, range(1)), timeout=1.0)
    assert [line["outcome"] for line in report(bench)] == ["expired"]
    assert "timeout" not in report(bench)[0]["error"]
    assert bench.accepted == 1


def test_a_result_that_is_denied_before_it_is_stored_is_asked_for_again(bench: Bench) -> None:
    bench.wait(bench.submit())
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengMissingOutputError) as told:
        bench.imitate(DagRun("run-2"), retries=0, on_missing_output="resubmit")
    assert not isinstance(told.value, AirflowFailException)
    bench.emu.clear_faults()

    bench.imitate(DagRun("run-2"), on_missing_output="resubmit")
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_one_that_is_still_gone_a_good_while_later_is_paid_again_where_that_was_chosen(bench: Bench) -> None:
    give_up(bench)
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={bench.rows()[0].task_id}")
    bench.imitate(DagRun("run-2"), on_missing_output="resubmit")
    assert bench.accepted == 2
    assert bench.states() == ["expired", "landed"]


def test_one_that_is_gone_stays_given_up(bench: Bench) -> None:
    bench.emu.add_fault("query:status,status=not_found,times=0")
    for each in (DagRun(), DagRun("run-2")):
        with pytest.raises(JimengTaskExpiredError):
            bench.imitate(each)
    assert bench.accepted == 1
    assert bench.states() == ["expired"]


def test_a_newer_attempt_is_not_pushed_aside(bench: Bench) -> None:
    give_up(bench)
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={bench.rows()[0].task_id}")
    bench.imitate(DagRun("run-2"), on_missing_output="resubmit")
    bench.emu.clear_faults()
    assert bench.states() == ["expired", "landed"]

    hook, given_up = JimengHook(), bench.rows()[0]
    with pytest.raises(LostRace, match="newer attempt"):
        revive(hook.ledger, hook.client, given_up)
    assert bench.states() == ["expired", "landed"]


def test_only_what_the_vendor_may_still_have_is_asked_about() -> None:
    expired = row(TaskState.EXPIRED, task_id="1", submitted_at=NOW - 60)
    assert may_come_back(expired, NOW)
    assert not may_come_back(expired, NOW + 12 * 3600)
    assert not may_come_back(row(TaskState.SUCCEEDED, task_id="1", submitted_at=NOW - 60), NOW)
    assert not may_come_back(row(TaskState.EXPIRED, task_id=None, submitted_at=NOW - 60), NOW)
    assert not may_come_back(None, NOW)


@pytest.mark.parametrize("fault", ["query:html,times=0", "query:status,status=not_found,times=0"])
def test_a_sensors_timeout_ends_its_wait_for_what_was_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 600.0)
    reference = bench.submit()
    bench.ledger.record_expired(bench.rows()[0], code=None, message="gone")
    bench.emu.add_fault(fault)
    waiting = DagRun().instance(JimengTaskSensor, "wait", task=reference, timeout=1.5)
    with pytest.raises(JimengWaitTimeoutError, match="re-attaches"):
        waiting.a_try()
    assert len(waiting.deferrals) <= 5


@pytest.mark.parametrize("way", ["all-in-one", "batch"])
def test_one_denial_long_after_it_was_given_up_is_not_believed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 0.0)
    give_up(bench)
    bench.emu.add_fault("query:status,status=not_found,times=1")
    if way == "all-in-one":
        bench.imitate(DagRun("run-2"), on_missing_output="resubmit", deferrable=False)
    else:
        manifest = [{"image": bench.image, "video": bench.video}]
        again = DagRun("run-2").instance(
            JimengBatchOperator,
            "batch",
            manifest=manifest,
            output=str(bench.folder / "all"),
            on_missing_output="resubmit",
            deferrable=False,
        )
        assert again.finish()["reused"] == 1

    assert bench.states() == ["landed"]
    assert bench.accepted == 1


def test_a_task_that_runs_after_all_and_is_denied_once_is_not_paid_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 0.5)
    bench.emu.configure(duration=6.0)
    instance = bench.imitation(on_missing_output="resubmit", deferrable=False)
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with ThreadPoolExecutor(1) as pool:
        over = pool.submit(instance.finish)
        until(lambda: bench.states() == ["expired"])
        bench.emu.clear_faults()
        asked = bench.queries
        until(lambda: bench.queries >= asked + 4)
        bench.emu.add_fault("query:status,status=not_found,times=1")
        over.result(timeout=60)

    assert bench.states() == ["landed"]
    assert bench.accepted == 1


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)
