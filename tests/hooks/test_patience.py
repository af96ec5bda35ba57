# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A ledger that restarts costs no try; one that is gone is told of; nothing is submitted meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_jimeng.bulk import runner
from airflow_provider_jimeng.bulk.patience import Patience
from airflow_provider_jimeng.exceptions import JimengLedgerError, JimengLedgerUnavailableError
from airflow_provider_jimeng.hooks import compat, patience
from airflow_provider_jimeng.hooks.compat import AirflowNotFoundException
from airflow_provider_jimeng.hooks.patience import bears_a_silent_ledger
from airflow_provider_jimeng.ledger.engine import Database
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator, JimengSubmitTaskOperator

from tests.legs import Bench, DagRun
from tests.postgres import PostgresServer, free_port


class Leg:
    """A leg for which the ledger is silent a number of times."""

    def __init__(self, silent: int, error: type[JimengLedgerError] = JimengLedgerUnavailableError) -> None:
        self.silent, self.error, self.begun = silent, error, 0

    @bears_a_silent_ledger
    def run(self) -> str:
        self.begun += 1
        if self.begun <= self.silent:
            raise self.error("silent")
        return "done"


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that were slept; none of them pass, but the clock says so."""
    slept: list[float] = []
    clock = [1000.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0]))
    return slept


def test_a_leg_begins_again_until_the_ledger_answers(naps: list[float]) -> None:
    leg = Leg(silent=5)
    assert leg.run() == "done"
    assert (leg.begun, len(naps)) == (6, 5)


def test_after_five_minutes_the_try_fails(naps: list[float]) -> None:
    leg = Leg(silent=10_000)
    with pytest.raises(JimengLedgerUnavailableError):
        leg.run()
    assert sum(naps) == pytest.approx(patience.PATIENCE_SECONDS)
    assert len(naps) < 60, "it is not asked all the time"


def test_what_no_waiting_changes_fails_at_once(naps: list[float]) -> None:
    with pytest.raises(JimengLedgerError):
        Leg(silent=1, error=JimengLedgerError).run()
    assert naps == []


def test_a_database_that_does_not_answer_and_one_that_refuses_are_told_apart(postgres_url: str) -> None:
    with pytest.raises(JimengLedgerUnavailableError):
        Database(f"postgresql+psycopg2://u@127.0.0.1:{free_port()}/db").uuid()
    with pytest.raises(JimengLedgerError) as told:
        Database(postgres_url.rpartition("/")[0] + "/no_such_database").uuid()
    assert type(told.value) is JimengLedgerError


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    made = PostgresServer().start()
    yield made
    made.stop()


def test_a_ledger_that_restarts_costs_no_try_and_no_second_submit(
    bench: Bench, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url.render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", url)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 60.0)
    naps: list[float] = []

    def fall_silent(deferred: object) -> None:
        if not naps:
            os.kill(server.pid, signal.SIGQUIT)
            server.wait(20)

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            server.revive()

    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=nap, monotonic=time.monotonic))
    instance = bench.imitation(DagRun())
    instance.finish(fall_silent)
    assert len(naps) >= 2
    assert instance.errors == []
    assert Path(bench.output).exists()
    assert bench.accepted == 1


@pytest.mark.parametrize("kind", [JimengLedgerError, JimengLedgerUnavailableError])
def test_a_ledger_whose_password_was_changed_is_opened_anew_by_the_leg_that_was_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: type[JimengLedgerError]
) -> None:
    old, new = bench.ledger_url, f"sqlite:///{bench.ledger_file.parent}/./{bench.ledger_file.name}"
    submitted: list[str] = []
    created = Ledger.record_created

    def note(ledger: Ledger, *given: Any) -> Any:
        submitted.append("one")
        return created(ledger, *given)

    def refuse(ledger: Ledger, *given: Any, **named: Any) -> Any:
        if submitted and ledger.is_at(old):
            monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", new)
            raise kind("password authentication failed")
        return claim(ledger, *given, **named)

    claim = Ledger.claim
    monkeypatch.setattr(Ledger, "record_created", note)
    monkeypatch.setattr(Ledger, "claim", refuse)
    # A run bears a ledger for minutes before it says so.
    monkeypatch.setattr(runner, "Patience", lambda seconds: Patience(0.0))
    lines = [{"id": str(n), "image": bench.image, "video": bench.video, "variant": n} for n in range(4)]
    instance = DagRun().instance(
        JimengBatchOperator,
        "batch",
        manifest=lines,
        output=str(bench.folder / "out"),
        on_input_changed="reuse",
        poke_interval=0.1,
        retries=0,
    )
    assert instance.finish()["landed"] == 4
    assert instance.errors == []
    assert bench.accepted == 4


def test_a_ledger_that_refuses_what_is_configured_fails_the_leg(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def refuse(ledger: Ledger, *given: Any, **named: Any) -> Any:
        calls.append("claim")
        raise JimengLedgerError("password authentication failed")

    monkeypatch.setattr(Ledger, "claim", refuse)
    with pytest.raises(JimengLedgerError, match="password"):
        bench.imitation(DagRun(), retries=0).finish()
    assert len(calls) == 1
    assert bench.accepted == 0


def test_a_connection_that_falls_silent_with_the_ledger_costs_no_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger often is a database of the server that has Airflow's own."""
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 60.0)
    away = [2]
    claim, read = Ledger.claim, compat.read_connection

    def fall_silent(ledger: Ledger, *given: Any, **named: Any) -> Any:
        if away[0] > 0:
            away[0] -= 1
            raise JimengLedgerUnavailableError("away")
        return claim(ledger, *given, **named)

    def read_once(how: Any, conn_id: str) -> Any:
        if away[0] < 2:
            raise AirflowNotFoundException(conn_id)
        return read(how, conn_id)

    monkeypatch.setattr(Ledger, "claim", fall_silent)
    monkeypatch.setattr("airflow_provider_jimeng.hooks.volcengine.read_connection", read_once)
    monkeypatch.setattr(patience, "_pause", lambda *_: None)
    submitting = DagRun().instance(
        JimengSubmitTaskOperator, "submit", image_url=bench.image, video_url=bench.video, retries=0
    )
    submitting.a_try()
    assert (away, bench.states(), bench.accepted) == ([0], ["submitted"], 1)


def test_a_password_that_is_another_at_each_look_makes_no_hot_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_was_given_another_address", lambda hook: True)
    leg = Leg(10_000, JimengLedgerError)
    with pytest.raises(JimengLedgerError, match="silent"):
        leg.run()
    assert leg.begun == 2
