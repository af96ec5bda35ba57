# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a submit asks of the ledger's database, counted: a round trip is a millisecond somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.ledger import engine as databases
from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.occupancy import crowd
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

if TYPE_CHECKING:
    import pytest


def test_a_submit_takes_thirteen_statements(bench: Bench):
    """Ten less than when each look and each written row was a statement of its own."""
    # The first of an account makes its rows of limits, and learns that one slot works.
    first = bench.ledger.begin_send(bench.claimed())
    bench.ledger.record_succeeded(bench.ledger.record_created(first, unique()))
    with bench.statements() as claim:
        record = bench.claimed()
    with bench.statements() as send:
        record = bench.ledger.begin_send(record)
    with bench.statements() as created:
        record = bench.ledger.record_created(record, unique())
    assert record.state is TaskState.SUBMITTED
    # A server is also told how long to wait for locks, and tells what it wrote; SQLite is asked for it.
    assert [len(each) for each in (claim, send, created)] == [6, 2, 5]


def test_it_takes_no_more_when_the_account_is_busy(bench: Bench):
    """Holders are counted by the database, however many there are."""
    for _ in range(30):
        bench.ledger.record_created(bench.ledger.begin_send(bench.claimed(configured_limit=100)), unique())
    with bench.statements() as seen:
        bench.ledger.begin_send(bench.claimed(configured_limit=100))
    assert len(seen) == 8


def test_which_ledger_it_is_is_asked_once(bench: Bench):
    _ = bench.ledger.uuid
    with bench.statements() as seen:
        _ = bench.ledger.uuid
    assert seen == []


def test_a_statement_that_is_built_once_asks_todays_clock(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """Whoever puts another clock in (a simulation) does not leave it to those who come after."""
    database = database_for(bench.url)
    with monkeypatch.context() as patch:
        patch.setitem(databases._CLOCKS, bench.url.partition(":")[0].partition("+")[0], "123.5")
        assert database.read(lambda conn: crowd(conn, bench.scope).now) == 123.5
    assert database.read(lambda conn: crowd(conn, bench.scope).now) > 1.7e9
