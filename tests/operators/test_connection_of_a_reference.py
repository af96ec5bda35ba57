# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A task is asked about with the account that paid for it: the connection goes with its reference."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengTaskExpiredError,
    JimengTaskFailedError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Deferred, Output

modes = pytest.mark.parametrize("deferrable", [True, False])


@pytest.fixture
def team_b(bench: Bench) -> Bench:
    bench.connect("team_b", account="team-b")
    return bench


def rename(bench: Bench, old: str, new: str) -> None:
    bench.connect(new, account="team-b")
    bench.patch.delenv(f"AIRFLOW_CONN_{old.upper()}")


@modes
def test_sensor_and_landing_use_the_connection_that_submitted(team_b: Bench, deferrable: bool) -> None:
    run = DagRun()
    team_b.submit(run, volcengine_conn_id="team_b")
    result = team_b.wait(Output("submit"), run, deferrable=deferrable)
    assert result["volcengine_conn_id"] == "team_b"
    assert team_b.states() == ["succeeded"]
    assert team_b.land(Output("wait"), run)["uri"] == team_b.output
    assert team_b.states() == ["landed"]
    again = team_b.imitate(DagRun("run-2"), volcengine_conn_id="team_b")
    assert again["reused"]
    assert team_b.accepted == 1


def test_a_trigger_watches_with_the_connection_that_submitted(team_b: Bench) -> None:
    team_b.emu.configure(duration=1.0)
    reference = team_b.submit(volcengine_conn_id="team_b")
    left = DagRun().instance(JimengTaskSensor, "wait", task=reference).leg()
    assert isinstance(left, Deferred)
    kwargs = json.loads(left.kwargs)
    assert kwargs["volcengine_conn_id"] == "team_b"
    assert "volcengine_conn_id" not in kwargs["tasks"][0], "it is told once"


def test_a_landing_straight_after_a_submit_uses_its_connection(team_b: Bench) -> None:
    team_b.emu.configure(duration=0.0)
    team_b.land(team_b.submit(volcengine_conn_id="team_b"))
    assert team_b.states() == ["landed"]


def test_a_connection_of_another_account_is_refused_before_anything_is_asked(team_b: Bench) -> None:
    team_b.connect("team_c", account="team-c")
    reference = team_b.submit(volcengine_conn_id="team_b")
    team_b.emu.add_fault("query:status,status=not_found,times=0")
    before = team_b.queries
    for act in (team_b.wait, team_b.land):
        with pytest.raises(JimengConfigurationError, match="'team-b'.*'team_c'.*'team-c'") as told:
            act(reference, DagRun("run-2"), volcengine_conn_id="team_c")
        assert isinstance(told.value, AirflowFailException)
    # What an earlier release returned does not name a connection.
    bare = {name: value for name, value in reference.items() if name != "volcengine_conn_id"}
    with pytest.raises(JimengConfigurationError, match="give volcengine_conn_id"):
        team_b.wait(bare, DagRun("run-3"))
    assert team_b.queries == before
    assert team_b.states() == ["submitted"], "nothing was given up"


@pytest.mark.parametrize("new", ["team_b2", "volcengine_default"])
def test_a_renamed_connection_of_the_same_account_goes_on_with_the_task(team_b: Bench, new: str) -> None:
    reference = team_b.submit(volcengine_conn_id="team_b")
    rename(team_b, "team_b", new)
    team_b.land(team_b.wait(reference, volcengine_conn_id=new), volcengine_conn_id=new)
    assert team_b.states() == ["landed"]
    assert team_b.accepted == 1


def test_a_connection_that_is_away_is_not_replaced_by_another_accounts(team_b: Bench) -> None:
    reference = team_b.submit(volcengine_conn_id="team_b")
    team_b.patch.delenv("AIRFLOW_CONN_TEAM_B")
    waiting = partial(team_b.wait, reference, retries=0)
    with pytest.raises(JimengConfigurationError, match="no connection 'team_b'"):
        waiting()
    team_b.patch.delenv("AIRFLOW_CONN_VOLCENGINE_DEFAULT")
    with pytest.raises(JimengConfigurationError, match="no connection 'team_b'"):
        waiting()
    assert team_b.states() == ["submitted"]


@modes
def test_a_key_that_was_rotated_does_not_lose_the_task(bench: Bench, deferrable: bool) -> None:
    bench.connect(account=None)
    reference = bench.submit()
    bench.connect(account="named-at-last")
    bench.land(bench.wait(reference, deferrable=deferrable))
    assert bench.states() == ["landed"]
    assert bench.accepted == 1


@pytest.mark.parametrize("named", [None, 7, "", {}])
def test_what_is_no_connection_in_a_reference_is_passed_over(bench: Bench, named: Any) -> None:
    reference = {**bench.submit(), "volcengine_conn_id": named}
    assert bench.wait(reference)["volcengine_conn_id"] == "volcengine_default"
    assert bench.states() == ["succeeded"]


# -- the connection of a reference becomes another account's ------------------------------------------------

SENSORS = pytest.mark.parametrize(
    "mode",
    [{}, {"deferrable": False}, {"deferrable": False, "mode": "reschedule"}],
    ids=["deferred", "on-worker", "reschedule"],
)


def submitted_by_another_account(bench: Bench, run: DagRun) -> None:
    bench.emu.configure(duration=3600.0)
    bench.submit(run)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 120")
    bench.connect(account="another")


@SENSORS
@pytest.mark.parametrize("denial", ["status,status=not_found", "code,code=50215"])
def test_what_every_stranger_is_told_ends_no_task(bench: Bench, mode: dict[str, Any], denial: str) -> None:
    run = DagRun()
    submitted_by_another_account(bench, run)
    bench.emu.add_fault(f"query:{denial},times=0")
    with pytest.raises(JimengConfigurationError, match="no such task for this connection's key") as told:
        bench.wait(Output("submit"), run, poke_interval=0.1, **mode)

    assert isinstance(told.value, AirflowFailException)
    assert bench.states() == ["submitted"]


@SENSORS
@pytest.mark.parametrize("end", ["succeeded", "failed", "expired"])
def test_what_the_vendor_tells_of_the_task_is_believed(bench: Bench, mode: dict[str, Any], end: str) -> None:
    run = DagRun()
    submitted_by_another_account(bench, run)
    bench.emu.advance(7200.0)
    if end == "failed":
        bench.emu.add_fault("query:50412,times=0")
    if end == "expired":
        bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 50000")
        bench.emu.add_fault("query:status,status=not_found,times=0")
    try:
        bench.wait(Output("submit"), run, retries=0, poke_interval=0.1, **mode)
    except (JimengTaskFailedError, JimengTaskExpiredError):
        assert end != "succeeded"

    assert bench.states() == [end]


def test_a_deadline_ends_the_wait_for_a_task_that_may_be_another_accounts(bench: Bench) -> None:
    run = DagRun()
    submitted_by_another_account(bench, run)
    with pytest.raises(JimengWaitTimeoutError):
        bench.wait(Output("submit"), run, retries=0, timeout=0.3)
    assert bench.states() == ["submitted"]
