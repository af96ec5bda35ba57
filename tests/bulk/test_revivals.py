# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Questions about paid tasks survive a ledger in trouble, a lost race, and a vendor that can't be asked."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.bulk import landing_pool, revivals, scout, submits
from airflow_provider_jimeng.client.settings import account_digest
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengLedgerError,
    JimengLedgerUnavailableError,
)
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.records import LostRace, Provenance
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.policy import giving_up

from tests.bulk.kit import Works, items, outcomes

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import Fate
    from airflow_provider_jimeng.ledger.records import TaskRecord


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=4, duration=0.1, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    for each in (landing_pool, revivals, scout, submits):
        monkeypatch.setattr(each, "backoff_delay", lambda *_, **__: 0.02)
    made = Works(emu, tmp_path)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


@pytest.fixture
def given_up(works: Works, emu: Emulator) -> list[Any]:
    """Return the lines of two tasks that were given up, and that the vendor has."""
    works.run(items(emu, "ab"))
    with sqlite3.connect(works.folder / "ledger.db") as database:
        database.execute(
            "UPDATE jimeng_tasks SET state = 'expired', possibly_billed = 1, landed_at = NULL, "
            "finished_at = ?",
            (time.time(),),
        )
        database.execute("DELETE FROM jimeng_landings")
    database.close()
    return items(emu, "ab")


def after_the_timeout(works: Works, lines: list[Any], **tools: Any) -> list[Fate]:
    return works.run(lines, deadline=time.time() - 1.0, ledger_patience=1.0, tools=tools)


@pytest.mark.parametrize(
    "trouble",
    [JimengLedgerUnavailableError("away"), LostRace("somebody else was faster")],
    ids=["away", "race"],
)
def test_a_question_is_asked_again_after_trouble_with_the_ledger(
    works: Works, given_up: list[Any], trouble: JimengLedgerError
) -> None:
    troubles = [trouble, trouble]
    ask = works.tools([], Provenance("dag", "run-1", "batch")).ask

    def troubled(record: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return ask(record)

    fates = after_the_timeout(works, given_up, ask=troubled)
    assert outcomes(fates) == {"landed": 2}
    assert works.accepted == 2


def test_a_ledger_that_stays_silent_ends_the_run_and_not_the_task(works: Works, given_up: list[Any]) -> None:
    def silent(record: Any) -> Any:
        raise JimengLedgerUnavailableError("away")

    with pytest.raises(JimengLedgerUnavailableError):
        after_the_timeout(works, given_up, ask=silent)
    assert outcomes(after_the_timeout(works, given_up)) == {"landed": 2}


def test_what_can_not_be_asked_about_is_told_with_the_reason_and_stays_paid(
    works: Works, given_up: list[Any]
) -> None:
    def no_bundle(record: Any) -> Any:
        raise JimengConfigurationError("verify: /no/such/bundle is no file")

    fates = after_the_timeout(works, given_up, ask=no_bundle)
    assert outcomes(fates) == {"expired": 2}
    assert all("/no/such/bundle" in (each.error or "") for each in fates)
    assert outcomes(after_the_timeout(works, given_up)) == {"landed": 2}


def test_a_bug_is_not_swallowed(works: Works, given_up: list[Any]) -> None:
    def broken(record: Any) -> Any:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        after_the_timeout(works, given_up, ask=broken)


def test_what_somebody_else_brings_back_first_is_not_asked_about_again(
    works: Works, given_up: list[Any]
) -> None:
    asked: list[str] = []

    def beaten(record: Any) -> Any:
        asked.append(record.task_id)
        works.ledger.record_succeeded(record)
        raise LostRace("somebody else was faster")

    assert outcomes(after_the_timeout(works, given_up, ask=beaten)) == {"landed": 2}
    assert len(asked) == 2


def paid_again(works: Works, record: TaskRecord) -> None:
    """Write what another run does that pays for a lost content again."""
    with sqlite3.connect(works.folder / "ledger.db") as database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM jimeng_tasks WHERE id = ?", (record.id,)).fetchone())
        row |= {"id": None, "attempt": row["attempt"] + 1, "state": "landed", "task_id": f"{record.task_id}1"}
        row |= {"landed_at": time.time(), "run_id": "another"}
        database.execute("UPDATE jimeng_tasks SET live_key = NULL WHERE id = ?", (record.id,))
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        database.execute(f"INSERT INTO jimeng_tasks ({names}) VALUES ({marks})", row)  # noqa: S608 - a test's own names
    database.close()


def test_a_stray_that_another_run_has_paid_for_again_is_told_of_and_let_go(
    works: Works, given_up: list[Any]
) -> None:
    asked: list[str] = []

    def beaten(record: TaskRecord) -> Any:
        asked.append(str(record.task_id))
        if asked.count(str(record.task_id)) == 1:
            paid_again(works, record)
        raise LostRace("a newer attempt stands")

    run = works.prepare([], [], whole=True, tools={"ask": beaten})
    assert run.run() is None
    assert len(asked) == len(run.strays.told) == 2
    assert {each.task_id for each in run.strays.told} == set(asked)
    for each in run.strays.told:
        assert "may have been billed once" in str(each.error)
        assert f"attempt 2 stands for it (task {each.task_id}1, landed)" in str(each.error)
        assert "force_new" not in str(each.error)


def test_a_leg_leaves_its_given_up_contents_to_a_trigger_that_knows_when_to_wake_it(
    works: Works, given_up: list[Any], emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_up, "DOUBT_SECONDS", 30.0)
    emu.add_fault("query:status,status=not_found,times=0")
    left = works.leg(given_up, [], deadline=time.time() - 1.0)
    assert left is not None
    assert (left.open, left.ticket, left.shared) == ((), None, False)
    assert left.content_key is not None
    record = works.ledger.latest(left.content_key)
    assert record is not None
    assert record.state is TaskState.EXPIRED
    assert left.scope == record.scope
    assert left.after_line == 0
    assert left.wait is not None
    assert 0.0 < left.wait <= 30.0


def test_a_doubtful_task_without_an_answer_is_watched_until_it_is_asked_about_again(
    works: Works, emu: Emulator
) -> None:
    works.settings = replace(works.settings, account=account_digest("AKLTold"))
    emu.configure(duration=3600.0)
    left = works.leg(items(emu, "ab"), [])
    assert left is not None
    paid = {each.id for each in left.open}
    works.settings = replace(works.settings, account=account_digest(works.settings.credentials.access_key))
    emu.add_fault("query:code,code=50429,times=0")
    parked = works.prepare([], [], whole=True).run(leg=True)
    assert parked is not None
    assert {each.id for each in parked.open} == paid
    assert parked.wait is not None
    assert parked.wait > 10.0
