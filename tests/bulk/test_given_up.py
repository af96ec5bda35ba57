# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What was given up, or belongs to another account, holds nobody up and is not given up for good."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.bulk import landing_pool, scout, submits
from airflow_provider_jimeng.bulk.job import Finished, judge
from airflow_provider_jimeng.client.settings import account_digest
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.exceptions import (
    JimengInputError,
    JimengInputStoreError,
    JimengLandingError,
    JimengLedgerUnavailableError,
    JimengToleranceExceededError,
)
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle.ensured import InHand, Waiting
from airflow_provider_jimeng.lifecycle.revive import is_still_lost
from airflow_provider_jimeng.lifecycle.wanted import Policies
from airflow_provider_jimeng.policy import giving_up

from tests.bulk.kit import Works, items, outcomes
from tests.legs import quick


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=4, duration=0.1, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    for each in (landing_pool, scout, submits):
        monkeypatch.setattr(each, "backoff_delay", lambda *_, **__: 0.02, raising=False)
    made = Works(emu, tmp_path)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


def give_up(works: Works, names: range, *, known: bool = False) -> None:
    """Have tasks that the vendor no longer knows, unless it does, and that were given up this minute."""
    works.run(items(works.emu, names))
    with sqlite3.connect(works.folder / "ledger.db") as database:
        database.execute(
            "UPDATE jimeng_tasks SET state = 'expired', task_id = ? || task_id, landed_at = NULL, "
            "finished_at = ?, submitted_at = submitted_at - 300",
            ("" if known else "gone-", time.time()),
        )
        database.execute("DELETE FROM jimeng_landings")
    database.close()


def test_what_was_given_up_is_no_work_that_is_read_ahead(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up(works, range(12))
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 8.0)
    monkeypatch.setattr(giving_up, "DOUBT_SECONDS", 8.0)
    began = time.monotonic()
    first: list[float] = []

    def ensure(wanted: Any, **how: Any) -> Any:
        got = works.tools([], wanted.provenance).ensure(wanted, **how)
        if works.accepted > 12 and not first:
            first.append(time.monotonic() - began)
        return got

    fates = works.run(items(emu, range(16)), "run-2", ahead=5, tools={"ensure": ensure})

    assert outcomes(fates) == {"expired": 12, "landed": 4}
    assert first[0] < 6.0
    assert time.monotonic() - began > 7.0


def test_a_row_of_another_account_is_told_of_and_not_asked_about(works: Works, emu: Emulator) -> None:
    emu.configure(duration=3600.0)
    left = works.leg(items(emu, "ab"), [])
    assert left is not None
    assert len(left.open) == 2
    works.settings = replace(works.settings, account="another")
    asked = emu.ledger()["totals"]["queries"]
    run = works.prepare([], [], whole=True)
    assert run.run() is None

    assert {each.task_id for each in run.strays.told} == {each.task_id for each in left.open}
    assert all("another, which can't ask" in str(each.error) for each in run.strays.told)
    assert {works.ledger.get(each.id).state for each in left.open} == {TaskState.SUBMITTED}  # type: ignore[union-attr]
    assert emu.ledger()["totals"]["queries"] == asked


def test_a_leg_that_is_done_asks_a_silent_ledger_again_instead_of_waiting_for_nothing(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.run(items(emu, range(3)))
    until = time.monotonic() + 1.0
    usual = Ledger.not_landed

    def silent(ledger: Ledger, *given: Any, **named: Any) -> Any:
        if time.monotonic() < until:
            raise JimengLedgerUnavailableError("away")
        return usual(ledger, *given, **named)

    monkeypatch.setattr(Ledger, "not_landed", silent)
    fates: list[Any] = []
    assert works.prepare(items(emu, range(3)), fates, "run-2", whole=True).run(leg=True) is None
    assert outcomes(fates) == {"reused": 3}


def test_a_run_that_its_store_stopped_is_tried_again_though_a_task_was_given_up(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 0.6)
    give_up(works, range(1))

    def ensure(wanted: Any, **how: Any) -> Any:
        if works.ledger.latest(wanted.key) is None:
            raise JimengLandingError("503 Slow Down")
        return works.tools([], wanted.provenance).ensure(wanted, **how)

    fates = works.run(items(emu, range(4)), "run-2", tools={"ensure": ensure}, landing_patience=0.3)
    told = outcomes(fates)
    assert told == {"expired": 1, "skipped": 3}

    names = ("landed", "reused", "failed", "expired", "unknown", "invalid", "skipped")
    summary = {name: told.get(name, 0) for name in names}
    summary |= {"total": 4, "gallery_uri": "gallery", "report_uri": "report"}  # type: ignore[dict-item]
    run = works.runs[-1]
    with pytest.raises(JimengLandingError, match="left out") as raised:
        judge(Finished(summary, run.stopped, run.unlanded, store_away=run.store_away), 0)
    assert raised.value.retry_helps
    with pytest.raises(JimengToleranceExceededError):
        judge(Finished(summary, run.stopped, run.unlanded, store_away=False), 0)


def test_a_stray_that_is_not_stored_yet_does_not_hide_lines_that_were_left_out() -> None:
    summary = dict.fromkeys(("landed", "reused", "failed", "expired", "unknown", "invalid"), 0)
    summary |= {"skipped": 1, "total": 1, "gallery_uri": "gallery", "report_uri": "report"}  # type: ignore[dict-item]
    with pytest.raises(Exception, match="the budget is spent"):
        judge(Finished(summary, "the budget is spent", 1, strays_unlanded=1), 0)


def test_a_row_from_before_a_nameless_accounts_key_was_rotated_is_asked_about(
    works: Works, emu: Emulator
) -> None:
    old, new = (account_digest(each) for each in ("AKLTold", works.settings.credentials.access_key))
    works.settings = replace(works.settings, account=old)
    emu.configure(duration=0.3)
    left = works.leg(items(emu, "ab"), [])
    assert left is not None
    works.settings = replace(works.settings, account=new)
    run = works.prepare([], [], whole=True, poll_interval=0.1)
    assert run.run() is None
    assert len(run.strays.told) == len(left.open) == 2
    assert all(each.uri for each in run.strays.told)


def test_lines_whose_inputs_store_was_away_are_tried_again_by_a_retry() -> None:
    summary = dict.fromkeys(("landed", "reused", "expired", "unknown", "invalid", "skipped"), 0)
    summary |= {"failed": 3, "total": 9, "gallery_uri": "gallery", "report_uri": "report"}  # type: ignore[dict-item]
    with pytest.raises(JimengInputStoreError, match="a retry asks it again") as raised:
        judge(Finished(summary, None, 0, inputs_away=3), 0)
    assert raised.value.retry_helps
    with pytest.raises(JimengToleranceExceededError):
        judge(Finished(summary, None, 0, inputs_away=2), 0)
    judge(Finished(summary, None, 0, inputs_away=2), 3)


@pytest.mark.parametrize(
    ("stopped", "bad"), [(None, 3), ("the budget is spent", 0), ("the budget is spent", 3)]
)
def test_what_is_paid_and_not_stored_is_tried_again_whatever_else_the_run_came_to(
    stopped: str | None, bad: int
) -> None:
    summary = dict.fromkeys(("landed", "reused", "expired", "unknown", "invalid"), 0)
    summary |= {"failed": bad, "skipped": 1 if stopped is None else 4, "total": 9}
    summary |= {"gallery_uri": "gallery", "report_uri": "report"}  # type: ignore[dict-item]
    with pytest.raises(JimengLandingError, match="1 paid results could not be stored") as raised:
        judge(Finished(summary, stopped, 1), 0)
    assert raised.value.retry_helps
    assert (f"{bad} items came to nothing, and tolerance allows 0" in str(raised.value)) == bool(bad)
    assert ("the budget is spent" in str(raised.value)) == (stopped is not None)


def occupied(works: Works, monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    """Have three tasks that were given up, and somebody's file in the place of the first one."""
    give_up(works, range(3), known=known)
    shutil.rmtree(works.out)
    works.out.mkdir()
    (works.out / "0.mp4").write_bytes(b"somebody's")
    works.policies = Policies(on_missing_output="resubmit")
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 0.0)


def test_what_was_given_up_is_not_paid_again_while_somebodys_file_is_in_its_place(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied(works, monkeypatch, known=False)
    inspected: list[str] = []

    def inspect(wanted: Any) -> Any:
        inspected.append(wanted.key)
        if inspected.count(wanted.key) < 3:
            raise JimengInputStoreError("s3://inputs: 503")
        return wanted, None

    fates = works.run(items(emu, range(3)), "run-2", tools={"inspect": inspect})

    assert [str(each.outcome) for each in fates] == ["expired", "landed", "landed"]
    assert "may be billed" in str(fates[0].error)
    assert "It was not paid for again" in str(fates[0].error)
    assert works.accepted == 3 + 2
    assert {inspected.count(each) for each in inspected} == {3}
    assert (works.out / "0.mp4").read_bytes() == b"somebody's"


@pytest.mark.parametrize("code", [None, 50411])
def test_what_was_given_up_may_be_billed_whatever_keeps_it_from_being_paid_for_again(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    give_up(works, range(2))
    shutil.rmtree(works.out)
    works.policies = Policies(on_missing_output="resubmit")
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 0.0)
    usual = works.tools([], Provenance("dag", "run-2", "batch")).ensure

    def ensure(wanted: Any, *, stopping: Any = lambda: False, **how: Any) -> Any:
        if stopping() or wanted.key != second.key:
            return usual(wanted, stopping=stopping, **how)
        raise JimengInputError("image: it can't be presigned. Nothing was paid", code=code)

    second = works.tools([], Provenance("dag", "run-2", "batch")).want(items(emu, range(2))[1])
    paid, kept = works.run(items(emu, range(2)), "run-2", tools={"ensure": ensure})

    assert (str(paid.outcome), str(kept.outcome)) == ("landed", "expired"), paid.error
    assert "can't be presigned" in str(kept.error)
    assert "was given up and may be billed" in str(kept.error)
    assert works.accepted == 2 + 1


def test_what_was_given_up_and_is_there_after_all_is_brought_home_whatever_is_in_its_place(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied(works, monkeypatch, known=True)
    fates = works.run(items(emu, range(3)), "run-2")

    assert [str(each.outcome) for each in fates] == ["failed", "reused", "reused"]
    assert works.accepted == 3
    assert len(list((works.out / ".jimeng").glob("*.mp4"))) == 3


def test_what_was_given_up_is_paid_again_where_one_of_its_lines_has_a_free_place(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied(works, monkeypatch, known=False)
    first = items(emu, range(3))[0]
    fates = works.run([first, replace(first, line=2, id="again")], "run-2", ahead=2)

    assert sorted(str(each.outcome) for each in fates) == ["failed", "landed"]
    assert works.accepted == 3 + 1
    assert (works.out / "0.mp4").read_bytes() == b"somebody's"


def test_many_that_were_given_up_do_not_keep_the_lines_behind_them_from_being_read(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up(works, range(12))
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 4.0)
    monkeypatch.setattr(giving_up, "DOUBT_SECONDS", 4.0)
    began = time.time()
    fates = works.run(items(emu, range(13)), "run-2", ahead=2)

    assert outcomes(fates) == {"expired": 12, "landed": 1}
    record = works.ledger.latest(fates[-1].content_key or "")
    assert record is not None
    assert record.created_at - began < 3.0


def test_an_old_proof_is_renewed_while_its_content_waits_for_a_slot(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.policies = Policies(on_missing_output="resubmit")
    works.settings = replace(works.settings, max_concurrency=1)
    give_up(works, range(1), known=True)
    quick(monkeypatch, lasting_seconds=0.2)
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 0.0)
    monkeypatch.setattr(submits, "_PROOF_HOLDS_SECONDS", 1.0)
    lost = works.ledger.latest(works.runs[-1]._tools.want(items(emu, range(1))[0]).key)
    assert lost is not None
    emu.add_fault(f"query:status,status=not_found,times=4,match={lost.task_id}")
    emu.configure(duration=4.0)
    fates = works.run(items(emu, ["new", 0]), "run-2")

    assert [str(each.outcome) for each in fates] == ["landed", "reused"]
    assert works.accepted == 1 + 1


def test_an_old_proof_is_none_where_a_store_in_trouble_has_put_off_the_payment(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.policies = Policies(on_missing_output="resubmit")
    give_up(works, range(1), known=True)
    quick(monkeypatch, lasting_seconds=0.2)
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 0.0)
    monkeypatch.setattr(submits, "_PROOF_HOLDS_SECONDS", 0.3)
    emu.add_fault("query:status,status=not_found,times=4")
    shutil.rmtree(works.out)
    tried: list[str] = []

    def inspect(wanted: Any) -> Any:
        tried.append(wanted.key)
        raise JimengInputStoreError("s3://inputs: 503")

    fates = works.run(items(emu, range(1)), "run-2", tools={"inspect": inspect})
    assert [str(each.outcome) for each in fates] == ["reused"]
    assert len(tried) > 1
    assert works.accepted == 1


@pytest.fixture
def a_pass(works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return one pass towards a task, for a content that was given up and that the vendor has after all."""
    works.policies = Policies(on_missing_output="resubmit")
    give_up(works, range(1), known=True)
    quick(monkeypatch)
    tools = works.tools([], Provenance("dag", "run-2", "batch"))
    wanted = tools.want(items(emu, range(1))[0])
    return lambda lost: tools.ensure(wanted, supersede=None, budget=None, watched=tuple, lost=lost)


def queries(works: Works) -> int:
    return int(works.emu.ledger()["totals"]["queries"])


def test_a_row_that_was_just_proven_lost_is_not_asked_about_again(works: Works, a_pass: Any) -> None:
    lost, asked = works.ledger.get(1), queries(works)
    assert isinstance(got := a_pass(lost), InHand)
    assert (got.record.attempt, got.reused) == (2, False)
    assert (works.accepted, queries(works)) == (2, asked)


def test_nor_is_one_whose_second_payment_was_put_off_by_the_vendor(works: Works, a_pass: Any) -> None:
    lost, asked = works.ledger.get(1), queries(works)
    for _ in range(3):
        works.emu.add_fault("submit:50430,times=1")
        put_off = a_pass(lost)
        assert isinstance(put_off, Waiting)
        assert put_off.reason == "cooldown"
        lost = put_off.lost
        time.sleep((put_off.retry_after or 0.0) + 0.1)
    assert isinstance(a_pass(lost), InHand)
    assert (works.accepted, queries(works)) == (2, asked)


def test_one_that_came_back_since_and_was_given_up_again_is_asked_about(works: Works, a_pass: Any) -> None:
    lost = works.ledger.get(1)
    assert lost is not None
    back = works.ledger.record_succeeded(lost)
    again = works.ledger.record_expired(back, message="gone again")
    assert not is_still_lost(again, lost)
    assert not is_still_lost(back, lost)
    assert not is_still_lost(lost, again)
    assert not is_still_lost(lost, None)
    assert isinstance(got := a_pass(lost), InHand)
    assert got.reused
    assert works.accepted == 1
