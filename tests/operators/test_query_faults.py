# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A poll never fails a paid task: the vendor's verdict, the horizon or the user's deadline ends a wait."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengRetryableTaskError,
    JimengTaskExpiredError,
    JimengTaskFailedError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.airflow_versions import moved
from tests.legs import Bench, DagRun, Deferred, Output, first_event

TaskDeferralTimeout = moved("TaskDeferralTimeout", "airflow.sdk.exceptions", "airflow.exceptions")

TROUBLES = {
    "50500": "query:50500,times=2",
    "50501": "query:50501,times=2",
    "50429": "query:50429,times=2",
    "50430": "query:50430,times=2",
    "html 502": "query:html,times=2",
    "html 504": "query:html,http_status=504,times=2",
    "empty 503": "query:empty,times=2",
    "truncated": "query:truncated,times=2",
    "data null": "query:data-null,times=2",
    "unknown status": "query:status,status=reticulating,times=2",
    "done without a URL": "query:no-url,times=2",
    "reset": "query:reset,times=2",
    "redirect": "query:redirect,times=2",
    "slow": "query:delay,seconds=0.5",
    "wrong key": "query:gateway,code=100009,name=InvalidAccessKey,http_status=401,times=3",
    "wrong signature": "query:gateway,code=100010,name=SignatureDoesNotMatch,http_status=401,times=3",
    "no permission": "query:gateway,code=100013,name=AccessDenied,http_status=403,times=3",
    "bad clock": "query:gateway,code=100006,name=InvalidTimestamp,http_status=400,times=3",
    "stale token": "query:gateway,code=100026,name=InvalidSecretToken,http_status=401,times=3",
    "not activated": "query:50400,http_status=400,times=2",
    "50215 for a moment": "query:race,seconds=0.4",
    "not_found for a moment": "query:race,status=not_found,seconds=0.4",
    "50215 by the gateway": "query:wrapped,times=2",
}


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize("fault", TROUBLES.values(), ids=TROUBLES)
def test_trouble_with_a_query_is_waited_out(bench: Bench, fault: str, deferrable: bool) -> None:
    bench.emu.add_fault(fault)
    instance = bench.imitation(deferrable=deferrable)
    instance.finish()

    assert instance.errors == [], "no retry, no failed deferral"
    assert Path(bench.output).exists()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


@pytest.mark.parametrize("fault", ["query:hang,seconds=20", "query:drip,seconds=20"])
@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_a_query_that_hangs_is_given_up_and_asked_again(bench: Bench, fault: str, deferrable: bool) -> None:
    bench.connect(connect_timeout=0.3, read_timeout=0.5)
    bench.emu.add_fault(fault)
    bench.blocks(deferrable=deferrable)
    assert bench.accepted == 1


@pytest.mark.parametrize("mode", [{"deferrable": True}, {"deferrable": False}, {"mode": "reschedule"}])
@pytest.mark.parametrize("trouble", ["html 502", "data null", "wrong key", "50215 for a moment"])
def test_the_sensor_waits_trouble_out_too(bench: Bench, trouble: str, mode: dict[str, Any]) -> None:
    run = DagRun()
    bench.submit(run)
    bench.emu.add_fault(TROUBLES[trouble])
    if "mode" in mode:
        mode = {**mode, "deferrable": False}
    result = bench.wait(Output("submit"), run, retries=0, **mode)

    assert result["status"] == "done"
    assert bench.accepted == 1
    assert bench.states() == ["succeeded"]


def test_wrong_keys_hold_a_wait_until_they_are_repaired(bench: Bench) -> None:
    instance = bench.imitation()
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.connect(password="rotated-away")
    with pytest.raises(TimeoutError):
        asyncio.run(first_event(left.trigger(), 1.0))
    assert bench.queries > 0
    assert bench.states() == ["submitted"]

    repair = threading.Timer(0.6, bench.connect)
    repair.start()
    event = instance.watch(left)
    repair.join()
    instance.leg(left, event)
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_wrong_keys_hold_a_wait_on_the_worker_too(bench: Bench) -> None:
    bench.submit()
    bench.emu.configure(secret_key="cm90YXRlZA==")
    steps = [
        threading.Timer(0.4, bench.connect, kwargs={"login": ""}),
        threading.Timer(1.0, bench.connect, kwargs={"password": "cm90YXRlZA=="}),
    ]
    for step in steps:
        step.start()
    bench.imitation(DagRun("run-2"), deferrable=False, retries=0).finish()
    for step in steps:
        step.join()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize("code", [50411, 50412, 50513, 50207, 60102])
def test_a_final_verdict_is_final_and_a_second_run_pays_nothing(
    bench: Bench, code: int, deferrable: bool
) -> None:
    bench.emu.add_fault(f"done:{code},times=0")
    instance = bench.imitation(deferrable=deferrable)

    for attempt in (instance, instance.clear(), bench.imitation(DagRun("run-2", "dag-2"))):
        with pytest.raises(JimengTaskFailedError) as told:
            attempt.finish()
        assert told.value.code == code
        assert told.value.task_id
        assert isinstance(told.value, AirflowFailException)
    assert bench.accepted == 1
    assert bench.states() == ["failed"]


def test_a_final_verdict_gives_way_to_a_reason(bench: Bench) -> None:
    bench.emu.add_fault("done:50411")
    with pytest.raises(JimengTaskFailedError):
        bench.imitate()
    bench.imitate(DagRun("run-2"), force_new="the reviewers apologised")
    assert bench.accepted == 2


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize("code", [50511, 50500, 50501, 50516])
def test_a_verdict_that_allows_it_leads_to_new_attempts(bench: Bench, code: int, deferrable: bool) -> None:
    bench.emu.add_fault(f"done:{code},times=2")
    instance = bench.imitation(deferrable=deferrable)
    result = instance.finish()

    assert result["attempt"] == 3
    assert instance.errors == []
    assert bench.accepted == 3
    assert bench.states() == ["failed", "failed", "landed"]
    assert len(bench.emu.ledger()["paid_more_than_once"]) == 0


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize("most", [1, 2])
def test_attempts_end_at_max_attempts_over_all_tries(bench: Bench, most: int, deferrable: bool) -> None:
    bench.emu.add_fault("done:50511,times=0")
    instance = bench.imitation(deferrable=deferrable, max_attempts=most)

    for _ in range(2):
        with pytest.raises(JimengRetryableTaskError) as told:
            instance.finish()
        assert isinstance(told.value, AirflowFailException)
        instance.clear()
    assert bench.accepted == most

    with pytest.raises(JimengRetryableTaskError):
        bench.imitate(DagRun("run-2"), max_attempts=1)
    assert bench.accepted == most + 1, "another run has attempts of its own; none of them was billed"


def test_blocks_make_a_new_attempt_when_the_submit_is_cleared(bench: Bench) -> None:
    bench.emu.add_fault("done:50511")
    run = DagRun()
    bench.submit(run)
    with pytest.raises(JimengRetryableTaskError):
        bench.wait(Output("submit"), run)
    with pytest.raises(JimengTaskFailedError):
        bench.wait(Output("submit"), run)
    assert bench.accepted == 1

    bench.blocks(run)
    assert bench.accepted == 2
    assert bench.states() == ["failed", "landed"]


def test_a_failed_task_stays_failed_when_the_vendor_has_forgotten_it(bench: Bench) -> None:
    bench.emu.add_fault("done:50411")
    run = DagRun()
    reference = bench.submit(run)
    with pytest.raises(JimengTaskFailedError):
        bench.wait(reference)
    bench.emu.advance(13 * 3600)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 46800")

    for ask in (bench.wait, bench.land):
        with pytest.raises(JimengTaskFailedError) as told:
            ask(reference)
        assert told.value.code == 50411


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize("status", ["not_found", "expired"])
def test_a_lasting_not_found_is_expired_possibly_billed_and_not_paid_again(
    bench: Bench, status: str, deferrable: bool
) -> None:
    bench.emu.add_fault(f"query:status,status={status},times=0")
    for run in (DagRun(), DagRun("run-2")):
        with pytest.raises(JimengTaskExpiredError) as told:
            bench.imitate(run, deferrable=deferrable)
        assert not isinstance(told.value, AirflowFailException), "the vendor may have it after all"
        assert "billed" in str(told.value)
        assert "resubmit" not in str(told.value)
    assert bench.accepted == 1
    assert bench.states() == ["expired"]
    assert bench.rows()[0].possibly_billed

    bench.emu.clear_faults()
    bench.emu.advance(13 * 3600)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 46800")
    with pytest.raises(JimengTaskExpiredError, match="resubmit") as told:
        bench.imitate(DagRun("run-2"), deferrable=deferrable)
    assert isinstance(told.value, AirflowFailException)
    bench.imitate(DagRun("run-3"), deferrable=deferrable, on_missing_output="resubmit")
    assert bench.accepted == 2
    assert bench.states() == ["expired", "landed"]


def test_a_lasting_50215_is_a_verdict(bench: Bench) -> None:
    bench.emu.add_fault("query:50215,times=0")
    for run in (DagRun(), DagRun("run-2")):
        with pytest.raises(JimengTaskFailedError):
            bench.imitate(run)
    assert bench.accepted == 1
    assert bench.states() == ["failed"]


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_after_twelve_hours_a_wait_ends(bench: Bench, deferrable: bool) -> None:
    bench.emu.configure(duration=60.0)
    reference = bench.submit()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 43201")

    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference, deferrable=deferrable)
    with pytest.raises(JimengTaskExpiredError):
        bench.imitate(DagRun("run-2"), deferrable=deferrable)
    assert bench.accepted == 1
    assert bench.states() == ["expired"]


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_done_without_a_url_holds_until_the_deadline_and_lands_later(bench: Bench, deferrable: bool) -> None:
    fault = bench.emu.add_fault("query:no-url,times=0")
    instance = bench.imitation(deferrable=deferrable, timeout=1.5, retries=0)
    with pytest.raises(JimengWaitTimeoutError) as told:
        instance.finish()
    assert told.value.retry_helps
    assert bench.states() == ["submitted"]

    bench.emu.clear_faults(fault)
    instance.clear().finish()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_a_deadline_ends_a_try_and_a_retry_re_attaches(bench: Bench, deferrable: bool) -> None:
    bench.emu.configure(duration=3.0)
    instance = bench.imitation(deferrable=deferrable, timeout=1.0)
    instance.finish()

    assert instance.errors
    assert {type(error) for error in instance.errors} == {JimengWaitTimeoutError}
    assert instance.ti.try_number >= 2
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_a_deadline_that_passed_while_the_task_ended_is_no_failure(bench: Bench) -> None:
    instance = bench.imitation(timeout=0.5)
    left = instance.leg()
    assert isinstance(left, Deferred)
    told = {**instance.watch(left), "status": "deadline"}

    instance.leg(left, told)
    assert bench.states() == ["landed"]


def test_a_framework_timeout_is_retried_and_re_attaches(bench: Bench) -> None:
    instance = bench.imitation()
    left = instance.leg()
    assert isinstance(left, Deferred)
    assert left.timeout is not None
    assert left.timeout.total_seconds() > 11 * 3600
    failed = Deferred(left.classpath, left.kwargs, "__fail__", None)
    with pytest.raises(TaskDeferralTimeout):
        instance.leg(failed, "Trigger timeout")
    instance.clear().finish()
    assert bench.accepted == 1


def test_a_failed_trigger_is_retried_and_re_attaches(bench: Bench) -> None:
    instance = bench.imitation()
    assert isinstance(instance.leg(), Deferred)
    instance.clear().finish()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


@pytest.mark.parametrize("event", [None, {}, {"status": "new"}, "finished", {"tasks": []}, 7])
def test_an_event_that_is_not_understood_is_never_a_success(bench: Bench, event: Any) -> None:
    run = DagRun()
    all_in_one = bench.imitation(run)
    left = all_in_one.leg()
    assert isinstance(left, Deferred)
    if event is not None:
        with pytest.raises(JimengError, match="event"):
            all_in_one.leg(left, event)
    bench.emu.configure(duration=30.0)
    reference = bench.submit(run, variant=1)
    sensor = run.instance(JimengTaskSensor, "wait", task=reference)
    waiting = sensor.leg()
    with pytest.raises(JimengError, match="event"):
        sensor.leg(waiting, event)
    assert bench.accepted == 2


def test_an_event_about_another_task_concludes_nothing(bench: Bench) -> None:
    bench.emu.configure(duration=1.0)
    instance = bench.imitation()
    left = instance.leg()
    foreign = {"task_id": "7", "req_key": "x", "outcome": "failed", "code": 50411}
    assert isinstance(left, Deferred)
    assert isinstance(
        instance.leg(left, {"status": "finished", "tasks": [foreign], "deadline": None}), Deferred
    )
    assert bench.states() == ["submitted"]
