# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One database: URLs, failures and what is said about them, transactions, forks."""

from __future__ import annotations

import importlib.util
import os
import socket
import sqlite3
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.engine import Database, database_for
from airflow_provider_jimeng.ledger.store import Ledger

from tests.ledger.kit import Bench

SECRET = "p@ss/w%rd"
QUOTED = "p%40ss%2Fw%25rd"


def everything_said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql://u:{QUOTED}@127.0.0.1:notaport/db", "can read"),
        (f"no url {SECRET}", "can read"),
        (f"nosuchdialect://u:{QUOTED}@h/db", "'nosuchdialect'"),
        (f"oracle://u:{QUOTED}@h/db", "'oracle'"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_a_url_that_can_not_hold_a_ledger_is_refused_without_showing_it(url: str, words: str):
    with pytest.raises(JimengLedgerError, match=words) as caught:
        Database(url)
    assert SECRET not in str(caught.value)
    assert QUOTED not in str(caught.value)
    assert "Nothing was submitted" in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    def none(*args: Any, **kwargs: Any) -> None:
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr(engine, "create_engine", none)
    with pytest.raises(JimengLedgerError, match=r"'psycopg'.*airflow-provider-jimeng\[postgres\]"):
        Database("postgresql://u@h/db")


@pytest.mark.parametrize(
    ("url", "installed", "driver"),
    [
        ("postgres://u@h/db", {"psycopg2", "psycopg"}, "postgresql+psycopg2"),
        ("postgresql://u@h/db", {"psycopg"}, "postgresql+psycopg"),
        ("postgresql://u@h/db", set(), "postgresql"),
        ("postgresql+psycopg2://u@h/db", {"psycopg"}, "postgresql+psycopg2"),
        ("mysql://u@h/db", {"pymysql"}, "mysql+pymysql"),
        ("mysql://u@h/db", {"MySQLdb", "pymysql"}, "mysql+mysqldb"),
        ("mariadb://u@h/db", {"pymysql"}, "mariadb+pymysql"),
        ("sqlite:////x.db", set(), "sqlite"),
    ],
)
def test_a_url_without_a_driver_gets_one_that_is_installed(
    monkeypatch: pytest.MonkeyPatch, url: str, installed: set[str], driver: str
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    assert engine._with_driver(make_url(url)).drivername == driver


def test_an_unreachable_server_is_an_error_without_the_password():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and never listened on
        port = nobody.getsockname()[1]
        ledger = Ledger(f"postgresql+psycopg2://someone:{QUOTED}@127.0.0.1:{port}/db")
        for ask in (lambda: ledger.latest("key"), lambda: ledger.uuid, lambda: ledger.now()):
            with pytest.raises(
                JimengLedgerError, match=r"\(postgresql://127.0.0.1/db\) can't be read"
            ) as caught:
                ask()
            said = everything_said(caught.value)
            assert "No submit starts" in said
            assert SECRET not in said
            assert QUOTED not in said


def test_a_password_in_the_drivers_own_words_is_hidden(tmp_path: Path):
    database = Database(f"postgresql+psycopg2://u:{QUOTED}@127.0.0.1/db?sslpassword=x")
    error = OperationalError(
        "SELECT", {}, Exception(f"dsn={SECRET} or {QUOTED}; postgresql://u:other@h/db?a=b")
    )
    said = str(database._translated(error))
    assert "dsn=*** or ***; postgresql://h/db" in said
    assert "other" not in said
    assert database.place == "postgresql://127.0.0.1/db"
    database.dispose()


@pytest.mark.parametrize("kind", ["folder missing", "no database", "read only"])
def test_a_file_that_can_not_be_a_ledger_is_an_error_and_never_an_empty_answer(tmp_path: Path, kind: str):
    path = tmp_path / "ledger.db"
    if kind == "folder missing":
        path = tmp_path / "nowhere" / "ledger.db"
    elif kind == "no database":
        path.write_bytes(b"this is not a database, and long enough to tell" * 40)
    else:
        path = tmp_path  # a folder: nobody, not even root, can write it as a file
    with pytest.raises(JimengLedgerError, match="can't be read or written"):
        Ledger(f"sqlite:///{path}").latest("key")


def test_a_file_that_breaks_while_in_use_is_an_error_and_never_an_empty_answer(tmp_path: Path):
    path = tmp_path / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    assert ledger.latest("key") is None
    ledger.close()
    path.write_bytes(b"overwritten" * 1000)
    with pytest.raises(JimengLedgerError):
        ledger.latest("key")


def test_sqlite_keeps_what_it_was_told_through_a_power_cut(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/ledger.db")

    def pragmas(conn: Any) -> list[Any]:
        return [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    names = ("journal_mode", "synchronous", "busy_timeout")
    for _ in range(2):
        assert database.read(pragmas) == ["wal", 2, 30000]
        database.dispose()


def test_a_write_waits_for_another_and_a_read_does_not(ledger_url: str):
    bench = Bench(ledger_url)
    bench.claimed()
    database, entered, leave, order = database_for(ledger_url), threading.Event(), threading.Event(), []

    def slow(conn: Any) -> None:
        from airflow_provider_jimeng.ledger.limits import lock_account

        lock_account(conn, bench.scope.account)
        entered.set()
        leave.wait(20)
        order.append("slow")

    def claim() -> None:
        bench.claimed()
        order.append("claim")

    first = threading.Thread(target=lambda: database.write(slow))
    first.start()
    assert entered.wait(20)
    second = threading.Thread(target=claim)
    second.start()
    assert len(bench.rows()) == 1  # a reader is not held up
    leave.set()
    first.join(20)
    second.join(20)
    assert order == ["slow", "claim"]


class Coded(Exception):
    def __init__(self, *args: Any, pgcode: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.pgcode = pgcode
        self.sqlstate = sqlstate


def sqlite_error(name: str) -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (OperationalError("s", {}, Coded("deadlock", pgcode="40P01")), True),
        (OperationalError("s", {}, Coded("serialize", sqlstate="40001")), True),
        (OperationalError("s", {}, Coded("idle", pgcode="25P03")), True),
        (OperationalError("s", {}, Coded("no such table", pgcode="42P01")), False),
        (OperationalError("s", {}, sqlite_error("SQLITE_BUSY_SNAPSHOT")), True),
        (OperationalError("s", {}, sqlite_error("SQLITE_LOCKED")), True),
        (OperationalError("s", {}, sqlite_error("SQLITE_FULL")), False),
        (OperationalError("s", {}, Coded(1213, "Deadlock found")), True),
        (OperationalError("s", {}, Coded(1045, "Access denied")), False),
        (OperationalError("s", {}, Coded()), False),
        (IntegrityError("s", {}, Coded("unique", pgcode="23505")), True),
        (DBAPIError("s", {}, Coded("gone"), connection_invalidated=True), True),
        (ValueError("no"), False),
    ],
    ids=lambda value: str(getattr(value, "orig", value)),
)
def test_only_what_may_pass_is_tried_again(error: Exception, passing: bool):
    assert engine._passing(error) is passing


def test_work_that_meets_a_deadlock_is_done_again_and_only_for_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    database, tries = Database(f"sqlite:///{tmp_path}/ledger.db"), []
    deadlock = OperationalError("s", {}, Coded("deadlock", pgcode="40P01"))

    def work(conn: Any) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise deadlock
        return "done"

    assert database.write(work) == "done"
    assert len(tries) == 3
    monkeypatch.setattr(engine, "TRY_SECONDS", -1.0)
    tries.clear()
    with pytest.raises(JimengLedgerError, match="deadlock"):
        database.write(work)
    assert len(tries) == 1
    database.dispose()


def test_one_database_per_process_and_url(tmp_path: Path):
    first, second = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    assert database_for(first) is database_for(first)
    assert database_for(first) is not database_for(second)
    assert Ledger(first).place == f"sqlite:///{tmp_path}/a.db"


def test_many_threads_share_a_ledger(ledger_url: str):
    bench, failures = Bench(ledger_url), []

    def work() -> None:
        try:
            for _ in range(3):
                bench.landed(configured_limit=100)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert failures == []
    assert [row.state for row in bench.rows()] == ["landed"] * 18


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(ledger_url: str):
    bench = Bench(ledger_url)
    before = bench.claimed(configured_limit=None)
    parents = database_for(ledger_url)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fresh = database_for(ledger_url) is not parents
            seen = bench.ledger.get(before.id) == before
            bench.ledger.begin_send(before)
            code = 0 if fresh and seen else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert database_for(ledger_url) is parents
    assert bench.now(before).send_count == 1
    assert bench.ledger.record_created(before, "still works").task_id == "still works"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_opens_a_ledger_does_not_hang_the_child(ledger_url: str):
    bench = Bench(ledger_url)
    bench.ledger.now()
    with engine._registry.lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                bench.ledger.now()
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_looking_whether_there_is_a_ledger_makes_none(empty_url: str):
    database = database_for(empty_url)
    for _ in range(2):
        assert not database.holds_ledger()
    database.uuid()
    assert database.holds_ledger()
    database.dispose()


def test_commits_wait_for_the_disk_though_the_server_is_set_not_to(postgres_database: str) -> None:
    admin = create_engine(postgres_database, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        name = make_url(postgres_database).database
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    admin.dispose()
    with create_engine(postgres_database).connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "off"

    database = Database(postgres_database)

    def setting(connection: Connection) -> str:
        return str(connection.execute(text("SHOW synchronous_commit")).scalar())

    assert database.read(setting) == "on"
    assert database.write(setting) == "on"
    database.dispose()


def test_connections_that_the_server_ended_meanwhile_cost_nothing_but_a_second_try(
    postgres_database: str,
) -> None:
    database = Database(postgres_database)
    database.uuid()
    gate = threading.Barrier(4)

    def at_once(connection: Connection) -> int:
        gate.wait(10)
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    with ThreadPoolExecutor(4) as pool:
        pids = set(pool.map(lambda _: database.read(at_once), range(4)))
    assert len(pids) == 4, "the pool has four idle connections"
    admin = create_engine(postgres_database, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for pid in pids:
            assert connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid}).scalar()
        connection.execute(text("CREATE TABLE counted (n integer)"))
    tries = 0

    def count(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        connection.execute(text("INSERT INTO counted VALUES (1)"))

    database.write(count)
    assert tries == 1, "what was ended broke before the work began"
    with admin.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM counted")).scalar() == 1
    admin.dispose()
    database.dispose()
