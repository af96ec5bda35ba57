# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A connection that Airflow cannot read for a moment, and keys of the vendor's SDKs in the worker's environment.

The environment is another account for the ledger, in which nothing is found; the vendor counts.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import supervisor, task_runner
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow_provider_jimeng.client.settings import parse_connection
from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengCredentialError
from airflow_provider_jimeng.hooks.compat import AirflowNotFoundException
from airflow_provider_jimeng.hooks.jimeng import JimengHook

from tests.legs import Bench, DagRun, Deferred

CONNECTION = "AIRFLOW_CONN_VOLCENGINE_DEFAULT"


class Supervisor:
    """Answers every question for a connection in one way."""

    def __init__(self, error: ErrorType, *, raised: bool = False) -> None:
        self.answer, self.raised = ErrorResponse(error=error, detail={"status_code": 500}), raised
        self.asked = 0

    def send(self, _: Any) -> ErrorResponse:
        self.asked += 1
        if self.raised:
            raise AirflowRuntimeError(self.answer)
        return self.answer


def supervised(monkeypatch: pytest.MonkeyPatch, comms: Any) -> None:
    """Run what follows as if under a supervisor, whose backends are the environment and its answers."""
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    def backends() -> list[Any]:
        from airflow.sdk.execution_time.secrets.execution_api import ExecutionAPISecretsBackend

        return [EnvironmentVariablesBackend(), ExecutionAPISecretsBackend()]

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", backends)


@pytest.fixture
def keys(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the account's keys where the vendor's SDKs look for them."""
    monkeypatch.setenv("VOLC_ACCESSKEY", bench.emu.config.access_key)
    monkeypatch.setenv("VOLC_SECRETKEY", bench.emu.config.secret_key)

    def on_loopback(**given: Any) -> Any:
        # The environment names no endpoint, and the vendor's own must not be reached.
        return parse_connection(**{**given, "host": bench.emu.url})

    monkeypatch.setattr("airflow_provider_jimeng.hooks.environment.parse_connection", on_loopback)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("raised", [False, True])
def test_an_api_server_that_is_away_does_not_make_the_environment_pay_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, raised: bool
):
    bench.imitate()
    stored = os.environ[CONNECTION]
    monkeypatch.delenv(CONNECTION)
    supervised(monkeypatch, Supervisor(ErrorType.API_SERVER_ERROR, raised=raised))
    with pytest.raises(JimengConfigurationError, match="can't be read now.*API_SERVER_ERROR") as told:
        bench.imitation(DagRun("run-2")).leg()
    assert not isinstance(told.value, AirflowFailException)
    assert bench.accepted == 1
    monkeypatch.setenv(CONNECTION, stored)
    assert bench.imitate(DagRun("run-2"))["reused"]
    assert bench.accepted == 1


@pytest.mark.usefixtures("keys")
def test_a_connection_that_is_there_again_is_not_replaced_by_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    bench.imitate()

    def blink(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(JimengHook, "get_connection", staticmethod(blink))
    with pytest.raises(JimengConfigurationError, match="has it now"):
        bench.imitation(DagRun("run-2")).leg()
    assert bench.accepted == 1


@pytest.mark.usefixtures("keys")
def test_a_server_that_says_not_found_is_not_believed_against_the_ledger(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    # Airflow's server says so, too, where its own database did not answer it.
    bench.imitate()
    monkeypatch.delenv(CONNECTION)
    comms = Supervisor(ErrorType.CONNECTION_NOT_FOUND)
    supervised(monkeypatch, comms)
    with pytest.raises(JimengConfigurationError, match=r"others have \(tests\)") as told:
        bench.imitation(DagRun("run-2")).leg()
    assert comms.asked
    assert not isinstance(told.value, AirflowFailException)
    assert (bench.accepted, bench.states()) == (1, ["landed"])


@pytest.mark.usefixtures("keys")
def test_who_names_the_environments_account_goes_on_with_its_history(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    bench.imitate()
    monkeypatch.delenv(CONNECTION)
    supervised(monkeypatch, Supervisor(ErrorType.API_SERVER_ERROR))
    monkeypatch.setenv("AIRFLOW__JIMENG__ENVIRONMENT_ACCOUNT", "tests")
    assert bench.imitate(DagRun("run-2"))["reused"]
    assert bench.accepted == 1


@pytest.mark.usefixtures("keys")
def test_who_never_had_a_connection_pays_with_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(CONNECTION)
    supervised(monkeypatch, Supervisor(ErrorType.CONNECTION_NOT_FOUND))
    bench.imitate()
    assert bench.imitate(DagRun("run-2"))["reused"]
    assert (bench.accepted, bench.states()) == (1, ["landed"])


@pytest.mark.usefixtures("keys")
def test_a_hook_that_is_refreshed_stays_with_its_account(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    hook = JimengHook()
    before = hook.settings
    monkeypatch.delenv(CONNECTION)
    assert hook.refreshed().settings == before
    bench.connect(account="another")
    # The same keys under another name may still ask; they may not pay under the first.
    assert hook.refreshed().settings.account == "another"
    assert hook._refreshed() is None
    bench.connect(account="another", login="AKANOTHER")
    assert hook.refreshed().settings == before
    bench.connect(host="https://other.example.com")
    assert hook.refreshed().settings == before
    bench.connect(password="rotated")
    assert hook.refreshed().settings.credentials.secret_key == "rotated"


def test_a_connection_that_is_away_at_the_resuming_leg_costs_a_try_and_not_the_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    task = bench.imitation()
    left = task.leg()
    assert isinstance(left, Deferred)
    event = task.watch(left)
    stored = os.environ[CONNECTION]
    monkeypatch.delenv(CONNECTION)
    with pytest.raises(JimengConfigurationError) as told:
        task.leg(left, event)
    assert not isinstance(told.value, AirflowFailException)
    monkeypatch.setenv(CONNECTION, stored)
    task.clear().finish()
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_keys_of_another_account_do_not_pay_under_the_name_of_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    usual = JimengHook.refreshed

    def renamed(hook: JimengHook) -> JimengHook:
        bench.connect(account="two", password="rotated")
        return usual(hook)

    monkeypatch.setattr(JimengHook, "refreshed", renamed)
    bench.emu.add_fault("submit:gateway,code=100026,http_status=401")
    with pytest.raises(JimengCredentialError):
        bench.imitation().leg()
    assert (bench.accepted, bench.states()) == (0, ["rejected"])
    assert bench.emu.ledger()["totals"]["submits"] == 1
