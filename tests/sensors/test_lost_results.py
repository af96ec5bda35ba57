# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Results that succeeded, and that the vendor no longer has: the user's choice is done, by whoever lands."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow_provider_jimeng.exceptions import (
    JimengMissingOutputError,
    JimengOutputExistsError,
    JimengTaskExpiredError,
)
from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Output
from tests.operators.test_landing_faults import twelve_hours_pass
from tests.operators.test_landing_late import killed_before_recording, policies
from tests.operators.test_products import PICTURES, POSTER, draw, poster
from tests.sensors.test_task_sensor import modes


def after_a_night(bench: Bench, **arguments: Any) -> None:
    """Let a task succeed, and its place be out of reach until the vendor has deleted the result."""
    bench.wait(bench.submit(**arguments))
    assert bench.states() == ["succeeded"]
    twelve_hours_pass(bench)


@policies
@modes
def test_a_result_that_was_never_landed_is_given_up_by_the_landing_and_the_choice_is_done(
    bench: Bench, mode: dict[str, Any], policy: str
) -> None:
    after_a_night(bench)
    run = DagRun("run-2")
    bench.submit(run, on_missing_output=policy)
    told = bench.wait(Output("submit"), run, before_landing=True, **mode)
    assert (told["status"], told["video_url"]) == ("done", None)
    assert bench.states() == ["succeeded"], "who lands knows where the file may be"
    with pytest.raises(JimengMissingOutputError) as lost:
        bench.land(Output("wait"), run)

    assert isinstance(lost.value, AirflowFailException)
    assert "was paid for" in str(lost.value)
    assert 'on_missing_output="resubmit"' in str(lost.value)
    (row,) = bench.rows()
    assert (row.state, row.possibly_billed, bench.accepted) == ("expired", True, 1)

    with nullcontext() if policy == "resubmit" else pytest.raises(JimengTaskExpiredError):
        bench.blocks(DagRun("run-3"), on_missing_output=policy)
    assert bench.states() == (["expired", "landed"] if policy == "resubmit" else ["expired"])
    assert bench.accepted == (2 if policy == "resubmit" else 1)


@modes
def test_a_task_of_the_users_own_is_not_given_a_success_without_a_url(
    bench: Bench, mode: dict[str, Any]
) -> None:
    """Nobody comes after the sensor who could seek the file: it says itself that the result is lost."""
    after_a_night(bench)
    run = DagRun("run-2")
    bench.submit(run, on_missing_output="resubmit")
    with pytest.raises(JimengTaskExpiredError) as lost:
        bench.wait(Output("submit"), run, **mode)

    assert isinstance(lost.value, AirflowFailException)
    (row,) = bench.rows()
    assert (row.state, row.possibly_billed, bench.accepted) == ("expired", True, 1)

    run = DagRun("run-3")
    bench.submit(run, on_missing_output="resubmit")
    assert bench.wait(Output("submit"), run, **mode)["video_url"]
    assert (bench.states(), bench.accepted) == (["expired", "succeeded"], 2)


@modes
def test_a_vendor_that_is_confused_gives_up_nothing_that_succeeded(
    bench: Bench, mode: dict[str, Any]
) -> None:
    reference = bench.submit()
    bench.wait(reference)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError) as told:
        bench.wait(reference, DagRun("run-2"), retries=0, poke_interval=0.1, **mode)
    assert told.value.retry_helps
    left = bench.wait(reference, DagRun("run-3"), before_landing=True, poke_interval=0.1, **mode)
    assert left["video_url"] is None
    assert bench.states() == ["succeeded"]

    bench.emu.clear_faults()
    bench.blocks(DagRun("run-4"), on_missing_output="resubmit")
    assert (bench.states(), bench.accepted) == (["landed"], 1)


@policies
def test_what_a_killed_landing_stored_is_not_paid_again_by_the_blocks(bench: Bench, policy: str) -> None:
    with killed_before_recording(bench):
        bench.blocks()
    stored = Path(bench.output).read_bytes()
    with pytest.raises(JimengOutputExistsError, match="Nothing is paid again") as told:
        bench.blocks(DagRun("run-2"), on_missing_output=policy)
    assert (bench.accepted, bench.states()) == (1, ["succeeded"])

    named = re.search(r"move it to (\S+)", str(told.value))
    assert named
    Path(named[1]).parent.mkdir()
    Path(bench.output).rename(named[1])
    bench.blocks(DagRun("run-3"), on_missing_output=policy)
    assert Path(bench.output).read_bytes() == stored
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def mapped(**arguments: Any) -> Any:
    sensor = JimengTaskSensor(**arguments)
    lands = JimengLandResultOperator.partial(task_id="land", task=sensor.output)
    sensor >> EmptyOperator(task_id="between") >> lands.expand(output=["/a.mp4", "/b.mp4"])
    return sensor


def other(**arguments: Any) -> Any:
    sensor = JimengTaskSensor(**arguments)
    JimengLandResultOperator(task_id="land", task={"task_id": "1"}, output="/a.mp4") >> sensor
    sensor >> EmptyOperator(task_id="after")
    return sensor


def chained(**arguments: Any) -> Any:
    sensor = JimengTaskSensor(**arguments)
    second = JimengTaskSensor(task_id="second", vendor_task_id="2")
    JimengLandResultOperator(task_id="land", task=second.output, output="/b.mp4")
    sensor >> EmptyOperator(task_id="my_own") >> second
    return sensor


@pytest.mark.parametrize(("kind", "left"), [(mapped, True), (other, False), (chained, False)])
def test_a_landing_decides_only_where_it_comes_right_after_the_sensor(
    bench: Bench, kind: Callable[..., Any], left: bool
) -> None:
    after_a_night(bench)
    with nullcontext() if left else pytest.raises(JimengTaskExpiredError):
        DagRun("run-2").task(kind, "wait", task=bench.submit(DagRun("run-2")))
    assert bench.states() == ["succeeded" if left else "expired"]


# -- pictures ----------------------------------------------------------------------------------------------


def test_pictures_that_were_never_landed_are_given_up_and_paid_again_where_that_was_chosen(
    bench: Bench,
) -> None:
    after_a_night(bench, req_key=PICTURES, body=POSTER)
    with pytest.raises(JimengMissingOutputError):
        draw(bench, "run-2")
    assert bench.states() == ["expired"]

    run = DagRun("run-3")
    bench.submit(run, req_key=PICTURES, body=POSTER, on_missing_output="resubmit")
    bench.wait(Output("submit"), run, before_landing=True)
    bench.land(Output("wait"), run, output=poster(bench))
    assert (bench.states(), bench.accepted) == (["expired", "landed"], 2)


def test_pictures_that_a_killed_try_stored_are_taken_over(bench: Bench) -> None:
    bench.emu.configure(pictures=2)
    first = draw(bench)
    # As a kill between storing the first, which is the last one, and recording that leaves it.
    bench.alter("DELETE FROM jimeng_landings WHERE uri = ?", first["uri"])
    bench.alter("UPDATE jimeng_tasks SET state = 'succeeded', landed_at = NULL")
    twelve_hours_pass(bench)
    with pytest.raises(JimengOutputExistsError, match="Nothing is paid again") as told:
        draw(bench, "run-2")
    named = re.search(r"move it to (\S+)", str(told.value))
    assert named
    Path(named[1]).parent.mkdir()
    Path(first["uri"]).rename(named[1])
    again = draw(bench, "run-3")
    assert (again["sha256"], again["further"]) == (first["sha256"], first["further"])
    assert (bench.states(), bench.accepted) == (["landed"], 1)
