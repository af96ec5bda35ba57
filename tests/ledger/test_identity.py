# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Which ledger this is, and how far it has come, on every kind of database."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, update

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.engine import Database
from airflow_provider_jimeng.ledger.identity import advance
from airflow_provider_jimeng.ledger.schema import meta
from airflow_provider_jimeng.ledger.store import Ledger

if TYPE_CHECKING:
    from tests.ledger.kit import Bench

OTHER = "0" * 8 + "-0000-4000-8000-" + "0" * 12


@pytest.fixture
def fresh(empty_url: str):
    ledger = Ledger(empty_url)
    yield ledger
    ledger.close()


def test_a_ledger_begins_at_mark_nought_and_each_note_takes_a_greater_one(fresh: Ledger):
    assert (fresh.identity().uuid, fresh.identity().mark) == (fresh.uuid, 0)
    assert [fresh.advance().mark for _ in range(3)] == [1, 2, 3]
    assert fresh.identity().mark == 3
    assert abs(fresh.identity().now - fresh.now()) < 5


def test_marks_that_are_taken_at_once_are_all_different(fresh: Ledger, empty_url: str):
    marks: list[int] = []

    def take() -> None:
        # An engine of its own, as another process has.
        own = Database(empty_url)
        marks.extend(own.write(advance).mark for _ in range(5))
        own.dispose()

    assert fresh.uuid
    threads = [threading.Thread(target=take) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(marks) == list(range(1, 21))


def test_another_ledgers_place_is_taken_with_who_and_why(fresh: Ledger):
    before = fresh.identity()
    assert "another ledger" in (before.objection(OTHER, 0) or "")

    now = fresh.take_over(OTHER, by="me@here", reason="the disk was new")
    assert (now.uuid, now.mark) == (before.uuid, before.mark)
    assert now.took_over[OTHER].endswith("by me@here: the disk was new")
    assert now.objection(OTHER, 10**9) is None
    assert now.objection(str(uuid.uuid4()), 0) is not None

    again = fresh.take_over(OTHER, by="you", reason="twice")
    assert [line.partition("by ")[2] for line in again.took_over[OTHER].splitlines()] == [
        "me@here: the disk was new",
        "you: twice",
    ]


def test_a_restored_ledger_that_goes_on_is_another_from_then_on(fresh: Ledger):
    fresh.advance()
    lost = fresh.identity()
    assert lost.objection(lost.uuid, 1) is None
    assert "restored from a backup" in (lost.objection(lost.uuid, 2) or "")

    now = fresh.take_over(lost.uuid, by="me", reason="the backup is all there is")
    assert now.uuid != lost.uuid
    assert now.mark == 1
    assert now.objection(lost.uuid, 2) is None
    assert (fresh.identity().uuid, fresh.identity().took_over) == (now.uuid, now.took_over)
    # The older copy, were it to come back, is stopped by what the new one notes.
    assert "another ledger" in (lost.objection(now.uuid, 1) or "")


def test_a_damaged_mark_is_an_error_and_never_a_fresh_start(bench: Bench):
    bench.ledger.advance()
    bench.write(update(meta).where(meta.c.name == "mark").values(value="many"))
    try:
        for ask in (bench.ledger.identity, bench.ledger.advance):
            with pytest.raises(JimengLedgerError, match="damaged"):
                ask()
    finally:
        # The tests on a server share this ledger.
        bench.write(delete(meta).where(meta.c.name == "mark"))


def test_another_password_is_another_address():
    first, second = (f"postgresql+psycopg2://u:{word}@127.0.0.1:1/ledger" for word in ("one", "two"))
    ledger = Ledger(first)
    assert ledger.is_at(first)
    assert not ledger.is_at(second)
