# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The sensor: with and without a ledger row, deferred or not, and what Airflow's own switches mean for it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow_provider_jimeng.exceptions import (
    JimengInputError,
    JimengTaskFailedError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Deferred, Rescheduled

MODES: dict[str, dict[str, Any]] = {
    "deferred": {},
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
}
modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def raw_task(bench: Bench) -> str:
    """Submit past the ledger, as another system would."""
    return JimengHook().unsafe_submit(
        "jimeng_dream_actor_m1_gen_video_cv", {"image_url": bench.image, "video_url": bench.video}
    )


@modes
def test_a_task_that_the_ledger_does_not_know_is_waited_for_and_landed(
    bench: Bench, mode: dict[str, Any]
) -> None:
    task_id = raw_task(bench)
    result = DagRun().task(JimengTaskSensor, "wait", vendor_task_id=task_id, **mode)

    assert result["task_id"] == task_id
    assert result["content_key"] is None
    assert result["elapsed"] is None
    assert result["status"] == "done"
    assert bench.rows() == []
    assert bench.land(result)["uri"] == bench.output
    assert bench.accepted == 1


def test_a_row_that_exists_is_updated_by_its_id_alone(bench: Bench) -> None:
    reference = bench.submit()
    result = DagRun("run-2").task(JimengTaskSensor, "wait", vendor_task_id=reference["task_id"])
    assert result["content_key"] == reference["content_key"]
    assert bench.states() == ["succeeded"]


@modes
def test_a_result_holds_what_the_contract_names(bench: Bench, mode: dict[str, Any]) -> None:
    reference = bench.submit()
    result = bench.wait(reference, **mode)

    assert {"task_id", "status", "code", "request_id", "elapsed", "video_url"} <= set(result)
    assert dt.datetime.fromisoformat(result["submitted_at"]).tzinfo is not None
    assert result["submitted_at"] == reference["submitted_at"]
    assert bench.states() == ["succeeded"]


def test_a_task_that_is_over_needs_no_triggerer(bench: Bench) -> None:
    reference = bench.submit()
    bench.emu.advance(60)
    instance = DagRun().instance(JimengTaskSensor, "wait", task=reference)
    assert instance.leg()["status"] == "done"


@modes
def test_soft_fail_skips_where_the_task_failed(bench: Bench, mode: dict[str, Any]) -> None:
    bench.emu.add_fault("done:50411")
    reference = bench.submit()
    with pytest.raises(AirflowSkipException):
        bench.wait(reference, soft_fail=True, **mode)
    assert bench.states() == ["failed"], "skipped for Airflow, recorded all the same"
    with pytest.raises(JimengTaskFailedError):
        bench.wait(reference, DagRun("run-2"), **mode)


@modes
def test_soft_fail_skips_at_the_deadline_and_the_task_stays_known(bench: Bench, mode: dict[str, Any]) -> None:
    bench.emu.configure(duration=1.5)
    reference = bench.submit()
    with pytest.raises(AirflowSkipException):
        bench.wait(reference, soft_fail=True, timeout=0.4, poke_interval=0.1, **mode)
    assert bench.states() == ["submitted"]
    bench.wait(reference, DagRun("run-2"), **mode)
    assert bench.accepted == 1


@modes
def test_a_deadline_is_an_error_of_its_own_and_a_retry_re_attaches(
    bench: Bench, mode: dict[str, Any]
) -> None:
    bench.emu.configure(duration=1.2)
    instance = DagRun().instance(
        JimengTaskSensor, "wait", task=bench.submit(), timeout=0.4, poke_interval=0.1, retries=8, **mode
    )
    assert instance.finish()["status"] == "done"
    assert instance.errors
    assert {type(error) for error in instance.errors} == {JimengWaitTimeoutError}
    assert bench.accepted == 1


def test_a_given_poke_interval_rules_both_ways_of_waiting(bench: Bench) -> None:
    bench.emu.configure(duration=1.0)
    for number, mode in enumerate((MODES["deferred"], MODES["poke"])):
        before = bench.queries
        bench.wait(bench.submit(DagRun(f"run-{number}"), variant=number), poke_interval=0.6, **mode)
        assert bench.queries - before <= 5
    left = DagRun().instance(JimengTaskSensor, "wait", task=bench.submit(variant=7), poke_interval=0.6).leg()
    assert isinstance(left, Deferred)
    assert '"poll_interval": 0.6' in left.kwargs


def test_a_rescheduled_sensor_holds_no_worker_between_pokes(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = DagRun().instance(JimengTaskSensor, "wait", task=bench.submit(), **MODES["reschedule"])
    assert isinstance(instance.leg(), Rescheduled)
    bench.emu.advance(7200.0)
    instance.finish()
    assert bench.states() == ["succeeded"]


def test_doubt_does_not_need_a_memory_between_rescheduled_pokes(bench: Bench) -> None:
    bench.emu.add_fault("query:status,status=not_found,times=0")
    reference = bench.submit()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    with pytest.raises(Exception, match="no longer knows"):
        bench.wait(reference, **MODES["reschedule"])
    assert bench.states() == ["expired"]


def test_a_landed_task_whose_result_the_vendor_deleted_is_still_done(bench: Bench) -> None:
    reference = bench.submit()
    bench.wait(reference)
    bench.land(reference)
    bench.emu.advance(13 * 3600)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 46800")
    result = bench.wait(reference, DagRun("run-2"))
    assert (result["status"], result["video_url"]) == ("done", None)
    assert bench.land(result, DagRun("run-2"))["uri"] == bench.output


@modes
def test_a_landed_task_that_the_vendor_forgot_early_is_still_done(bench: Bench, mode: dict[str, Any]) -> None:
    """Whoever is told that it has expired pays again for a file that is there."""
    reference = bench.submit()
    bench.land(bench.wait(reference))
    bench.emu.add_fault("query:status,status=not_found,times=0")
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    result = bench.wait(reference, DagRun("run-2"), **mode)
    assert (result["status"], result["video_url"]) == ("done", None)
    assert bench.land(result, DagRun("run-2"))["uri"] == bench.output
    assert (bench.states(), bench.accepted) == (["landed"], 1)


@pytest.mark.parametrize("given", [{}, {"task": {"task_id": "1", "req_key": "a"}, "vendor_task_id": "1"}])
def test_exactly_one_way_of_naming_the_task_is_needed(bench: Bench, given: dict[str, Any]) -> None:
    with pytest.raises(JimengInputError, match="vendor_task_id"):
        DagRun().task(JimengTaskSensor, "wait", **given)


def test_a_task_id_stays_text_to_the_last_digit(bench: Bench) -> None:
    for spoiled in (7.7109e18, "7.7109E+18", "7710993105735127851.0"):
        with pytest.raises(JimengInputError, match="digits"):
            DagRun().task(JimengTaskSensor, "wait", vendor_task_id=spoiled)
    assert bench.queries == 0
