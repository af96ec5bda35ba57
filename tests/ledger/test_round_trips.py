# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a submit asks of the ledger's database, counted: a round trip is a millisecond somewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from airflow_provider_jimeng.ledger import engine as databases
from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.occupancy import crowd
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

Counting = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def counting(bench: Bench) -> Counting:
    """Return what lists the statements that run while it is open."""
    engine = database_for(bench.url)._engine

    @contextmanager
    def open_list() -> Iterator[list[str]]:
        seen: list[str] = []

        def count(conn: Any, cursor: Any, statement: str, *_: object) -> None:
            if not statement.startswith("BEGIN"):
                seen.append(statement)

        event.listen(engine, "before_cursor_execute", count)
        try:
            yield seen
        finally:
            event.remove(engine, "before_cursor_execute", count)

    return open_list


def test_a_submit_takes_thirteen_statements(bench: Bench, counting: Counting):
    """Ten less than when each look and each written row was a statement of its own."""
    # The first of an account makes its rows of limits, and learns that one slot works.
    first = bench.ledger.begin_send(bench.claimed())
    bench.ledger.record_succeeded(bench.ledger.record_created(first, unique()))
    with counting() as claim:
        record = bench.claimed()
    with counting() as send:
        record = bench.ledger.begin_send(record)
    with counting() as created:
        record = bench.ledger.record_created(record, unique())
    assert record.state is TaskState.SUBMITTED
    # A server is also told how long to wait for locks, and tells what it wrote; SQLite is asked for it.
    assert [len(each) for each in (claim, send, created)] == [6, 2, 5]


def test_it_takes_no_more_when_the_account_is_busy(bench: Bench, counting: Counting):
    """Holders are counted by the database, however many there are."""
    for _ in range(30):
        bench.ledger.record_created(bench.ledger.begin_send(bench.claimed(configured_limit=100)), unique())
    with counting() as seen:
        bench.ledger.begin_send(bench.claimed(configured_limit=100))
    assert len(seen) == 8


def test_which_ledger_it_is_is_asked_once(bench: Bench, counting: Counting):
    _ = bench.ledger.uuid
    with counting() as seen:
        _ = bench.ledger.uuid
    assert seen == []


def test_a_statement_that_is_built_once_asks_todays_clock(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """Whoever puts another clock in (a simulation) does not leave it to those who come after."""
    database = database_for(bench.url)
    with monkeypatch.context() as patch:
        patch.setitem(databases._CLOCKS, bench.url.partition(":")[0].partition("+")[0], "123.5")
        assert database.read(lambda conn: crowd(conn, bench.scope).now) == 123.5
    assert database.read(lambda conn: crowd(conn, bench.scope).now) > 1.7e9
