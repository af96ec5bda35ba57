# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a session with the database is opened with, and what is said when it breaks."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from airflow_provider_jimeng.exceptions import JimengLedgerError, JimengLedgerUnavailableError
from airflow_provider_jimeng.ledger.engine import IDLE_SECONDS, LOCK_SECONDS, Database, database_for

from tests.ledger.kit import unique
from tests.ledger.test_engine import everything_said

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def test_an_error_shows_no_values_of_the_statement(ledger_url: str):
    query, value = text("SELECT 1 FROM no_such_table WHERE x = :x"), unique()
    with pytest.raises(JimengLedgerError, match="no_such_table") as caught:
        database_for(ledger_url).read(lambda conn: conn.execute(query, {"x": value}))
    assert value not in everything_said(caught.value)


def test_a_ledger_that_is_there_is_opened_beside_a_writer(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    known = database_for(url).uuid()
    writer = sqlite3.connect(tmp_path / "ledger.db")
    writer.execute("BEGIN IMMEDIATE")
    try:
        began = time.monotonic()
        another = Database(url)
        assert (another.uuid(), another.holds_ledger()) == (known, True)
        assert time.monotonic() - began < LOCK_SECONDS / 2
        another.dispose()
    finally:
        writer.rollback()
        writer.close()


def test_a_server_is_told_how_long_locks_are_waited_for_and_kept(postgres_database: str):
    database = database_for(postgres_database)

    def settings(conn: Connection) -> list[str]:
        names = ("lock_timeout", "idle_in_transaction_session_timeout")
        return [str(conn.exec_driver_sql(f"SHOW {name}").scalar()) for name in names]

    assert database.write(settings) == [f"{LOCK_SECONDS}s", f"{IDLE_SECONDS}s"]
    assert database.read(settings) == ["0", "0"]


@pytest.mark.parametrize(
    ("error", "waiting_helps"),
    [
        (OperationalError("s", {}, Exception("server closed the connection unexpectedly")), True),
        (InterfaceError("s", {}, Exception("connection already closed")), True),
        (OperationalError("s", {}, Exception("password authentication failed for user")), False),
        (OperationalError("s", {}, Exception('database "ledger" does not exist')), False),
        (OperationalError("s", {}, Exception("Access denied for user")), False),
        (ProgrammingError("s", {}, Exception("syntax error")), False),
    ],
)
def test_only_a_database_that_is_away_is_worth_waiting_for(
    tmp_path: Path, error: Exception, waiting_helps: bool
):
    database = Database(f"sqlite:///{tmp_path}/ledger.db")
    assert isinstance(database._translated(error), JimengLedgerUnavailableError) == waiting_helps
    database.dispose()
