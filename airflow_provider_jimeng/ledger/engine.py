# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
One database, as a place where a piece of work happens entirely or not at all.

Everything that differs between SQLite, PostgreSQL and MySQL is here (and in the creation lock of
:mod:`~airflow_provider_jimeng.ledger.schema`): transactions, the clock, what is worth another try, what may
be said about a failure.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, quote_plus

from sqlalchemy import create_engine, event, inspect, literal_column, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.pool import QueuePool

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengLedgerError,
    JimengLedgerUnavailableError,
)
from airflow_provider_jimeng.ledger import schema
from airflow_provider_jimeng.ledger.keys import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.sql.elements import ColumnElement

log = logging.getLogger(__name__)

__all__ = ["Database", "clock", "clock_words", "database_for", "read_clock", "tells_what_it_wrote"]

_T = TypeVar("_T")

#: How long a lock is waited for, by SQLite and by PostgreSQL.
LOCK_SECONDS = 30
#: A PostgreSQL session that stops in the middle of a move (a suspended process) loses its locks after this
#: time: everybody's submits wait for them, and a move takes milliseconds.
IDLE_SECONDS = 5
#: Tries of one piece of work, and the time after which no further one is begun.
TRIES = 6
TRY_SECONDS = 60.0

#: Serialization failure, deadlock, lock timeout; the server ended the session, or is starting or out of
#: sessions.
_PASSING_SQLSTATES = frozenset(
    {"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "25P03", "53300", "08000", "08003", "08006"}
)
#: Lock wait timeout, deadlock, lost connection.
_PASSING_MYSQL = frozenset({1205, 1213, 2006, 2013, 2055})

_CLOCKS = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    # Not now(), which is when the transaction began: before it waited for its locks.
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)",
    # UTC_TIMESTAMP and not UNIX_TIMESTAMP(): a session's time zone may have an hour twice a year.
    "mysql": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) / 1e6)",
}
_CLOCKS["mariadb"] = _CLOCKS["mysql"]

#: Drivers in the order of preference where a URL names none; SQLAlchemy's own default differs by release.
_DRIVERS = {
    "postgresql": (("psycopg2", "psycopg2"), ("psycopg", "psycopg")),
    "mysql": (("MySQLdb", "mysqldb"), ("pymysql", "pymysql")),
    "mariadb": (("MySQLdb", "mysqldb"), ("pymysql", "pymysql")),
}


def clock(conn: Connection) -> ColumnElement[float]:
    """Return the SQL expression for the database's clock: epoch seconds with at least milliseconds."""
    return literal_column(clock_words(conn))


def clock_words(conn: Connection) -> str:
    """Return the words of :func:`clock`: what a statement that is built once is built for."""
    return _CLOCKS[conn.dialect.name]


def read_clock(conn: Connection) -> float:
    """Return the database's clock. Read it after the locks were taken: waiting takes time."""
    return float(conn.execute(select(clock(conn))).scalar_one())


def tells_what_it_wrote(conn: Connection) -> bool:
    """
    Tell whether an insert or update can return its rows, which saves the round trip of reading them.

    MySQL can't, and SQLAlchemy 1.4 can't on SQLite, where there is no round trip to save.
    """
    return conn.dialect.name == "postgresql"


def _with_driver(url: URL) -> URL:
    name = "postgresql" if url.drivername == "postgres" else url.drivername
    for module, driver in _DRIVERS.get(name, ()):
        if importlib.util.find_spec(module) is not None:
            return url.set(drivername=f"{name}+{driver}")
    return url.set(drivername=name)


def _parse(url: str) -> URL:
    try:
        parsed = _with_driver(make_url(url))
        backend = parsed.get_backend_name()
    except (SQLAlchemyError, ValueError):
        raise JimengLedgerError(
            "The ledger's URL is not one that SQLAlchemy can read (it is not shown: it may hold a password). "
            "Nothing was submitted. Correct [jimeng] ledger_url, or the connection of ledger_conn_id."
        ) from None
    if backend not in _CLOCKS:
        raise JimengLedgerError(
            f"The ledger can't be kept in a database of the kind {backend!r}. Nothing was submitted. "
            "Use PostgreSQL, MySQL or SQLite."
        )
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise JimengLedgerError(
            "A ledger in memory forgets every payment with its process. Nothing was submitted. "
            "Use sqlite:////absolute/path.db, PostgreSQL or MySQL."
        )
    return parsed


def _set_up_postgresql(dbapi_connection: Any, _: Any) -> None:
    """
    Have commits wait for the disk, whatever the server's default is.

    A server that is set to answer earlier forgets the last moments when it is killed: an intent whose submit
    went out, or the id of a paid task.
    """
    cursor = dbapi_connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    # What was set in a transaction that is rolled back is as it was.
    dbapi_connection.commit()


def _leave_as_it_is(dbapi_connection: Any, _: Any) -> None:
    """Take the server's own word for durability: MySQL has no setting of a session for it."""


_SET_UP = {"postgresql": _set_up_postgresql}


def _keep_private(file: str) -> None:
    """
    Make a new ledger's file for its owner and, as the umask has it, its group; tell of one that all can open.

    It says what was asked for, when and for how much; who can write it can make others pay twice. What SQLite
    puts beside it gets the same mode. A mode that somebody chose is left alone.
    """
    with contextlib.suppress(OSError):
        try:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660))
        except FileExistsError:
            mode = os.stat(file).st_mode & 0o777
            if mode & 0o007:
                log.warning(
                    "Every user of this machine can open the ledger %s (mode %03o); chmod o-rwx closes it.",
                    file,
                    mode,
                )


def _set_up_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # Transactions are begun by _begin_sqlite, not by the driver's guess.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    # A deferred transaction that turns into a writer later fails instead of waiting.
    write = conn.get_execution_options().get("jimeng_write", False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        engine = create_engine(
            url,
            poolclass=QueuePool,
            connect_args={"check_same_thread": False, "timeout": LOCK_SECONDS},
            hide_parameters=True,
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # No look whether a pooled connection lives: one that died breaks at its first statement, before anything
    # was done, and the work is then run again on a fresh one. A look is a round trip for every move.
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_recycle=1800,
        connect_args={"connect_timeout": 10},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _SET_UP.get(engine.dialect.name, _leave_as_it_is))
    return engine


def _passing(error: Exception) -> bool:
    """Tell whether the same work may succeed in a moment; repeating an applied move does no harm."""
    if isinstance(error, IntegrityError):
        return True  # a twin wrote the same row at the same moment: the next look sees it
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    orig: Any = error.orig
    if (getattr(orig, "pgcode", None) or getattr(orig, "sqlstate", None)) in _PASSING_SQLSTATES:
        return True
    if str(getattr(orig, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return True
    return bool(orig.args) and orig.args[0] in _PASSING_MYSQL


def _is_refused(words: str) -> bool:
    """Tell whether a server answered and won't have us, which no waiting changes."""
    return "authentication failed" in words or "does not exist" in words or "Access denied" in words


def _pause(number: int) -> None:
    # Nobody can tell when the other side is ready again; the jitter keeps twins apart.
    time.sleep(0.02 * 2**number * (0.5 + random.random()))  # noqa: S311 - jitter may be guessed


class Database:
    """
    One database in one process; thread-safe.

    :param url: a SQLAlchemy URL.
    :raises JimengLedgerError: the URL can't be read, or names a database that can't keep a ledger.
    """

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        try:
            self._engine = _engine(self._url)
        except ImportError as error:
            raise JimengLedgerError(
                f"The driver of the ledger's database is not installed ({error}). Nothing was submitted. "
                "For PostgreSQL install airflow-provider-jimeng[postgres]."
            ) from None
        self._preparing = threading.Lock()
        self._uuid: str | None = None

    @property
    def place(self) -> str:
        """Which database this is, fit for a log: no user, no password, no options."""
        url = self._url
        return redact_text(f"{url.get_backend_name()}://{url.host or ''}/{url.database or ''}")

    def uuid(self) -> str:
        """Return the ledger's UUID; creates or migrates the schema on first use."""
        with self._preparing:
            if self._uuid is None and self._url.get_backend_name() == "sqlite":
                _keep_private(str(self._url.database))
            if self._uuid is None:
                self._uuid = self._run(schema.ready_uuid, write=False)
            if self._uuid is None:
                self._uuid = self._run(schema.create_or_migrate, write=True)
            return self._uuid

    def holds_ledger(self) -> bool:
        """Tell whether a ledger was ever made here. Unlike everything else, this makes none."""
        file = self._url.database
        if self._url.get_backend_name() == "sqlite" and not os.path.exists(str(file)):
            return False
        return self._run(lambda conn: inspect(conn).has_table(schema.meta.name), write=False)

    def is_ready(self) -> bool:
        """Tell whether a ledger of this release is here. This makes none and migrates none."""
        if not self.holds_ledger():
            return False
        with self._preparing:
            self._uuid = self._uuid or self._run(schema.ready_uuid, write=False)
            return self._uuid is not None

    def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run work that changes nothing, in one transaction."""
        self.uuid()
        return self._run(work, write=False)

    def write(self, work: Callable[[Connection], _T]) -> _T:
        """
        Run work in one transaction that is durable when this returns.

        Work may run several times: a deadlock, a lost session or a commit whose answer got lost is tried
        again. So it must be a compare-and-set, or find what it did before.
        """
        self.uuid()
        return self._run(work, write=True)

    def dispose(self) -> None:
        """Close the idle connections."""
        self._engine.dispose()

    def _run(self, work: Callable[[Connection], _T], *, write: bool) -> _T:
        last_start = time.monotonic() + TRY_SECONDS
        number = 0
        while True:
            number += 1
            try:
                return self._once(work, write=write)
            except JimengError:
                raise
            except (SQLAlchemyError, ValueError, OSError) as error:
                if number == TRIES or not _passing(error) or time.monotonic() > last_start:
                    raise self._translated(error) from None
            _pause(number)

    def _once(self, work: Callable[[Connection], _T], *, write: bool) -> _T:
        with self._engine.connect() as plain:
            conn = plain.execution_options(jimeng_write=write)
            with conn.begin():
                if write and conn.dialect.name == "postgresql":
                    conn.exec_driver_sql(
                        f"SELECT set_config('lock_timeout', '{LOCK_SECONDS * 1000}', true), "
                        f"set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS * 1000}', true)"
                    )
                return work(conn)

    def _translated(self, error: Exception) -> JimengLedgerError:
        orig = getattr(error, "orig", None) or error
        words = redact_text(" ".join(str(orig).split()))[:500]
        for secret in self._secrets():
            words = words.replace(secret, "***")
        away = isinstance(error, (OperationalError, InterfaceError)) and not _is_refused(words)
        kind = JimengLedgerUnavailableError if away else JimengLedgerError
        return kind(
            f"The ledger ({self.place}) can't be read or written: {type(orig).__name__}: {words}. "
            "No submit starts until it answers; what was submitted before stays with the vendor and is found "
            "again. Check the database, then run the task again."
        )

    def _secrets(self) -> Collection[str]:
        password = self._url.password
        if not password:
            return ()
        return (str(password), quote(str(password), safe=""), quote_plus(str(password)))


class _Registry:
    """The databases of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.databases: dict[str, Database] = {}

    def before_fork(self) -> None:
        for database in list(self.databases.values()):
            database.dispose()

    def after_fork(self) -> None:
        # Another thread may have held the lock at that moment, and may have had connections in use: they are
        # the parent's, and stay referenced so that nobody closes them here.
        self._parents = self.databases
        self.lock = threading.Lock()
        self.databases = {}


_registry = _Registry()
os.register_at_fork(before=_registry.before_fork, after_in_child=_registry.after_fork)


def database_for(url: str) -> Database:
    """Return this process's one :class:`Database` for a URL; a forked child gets one of its own."""
    with _registry.lock:
        if url not in _registry.databases:
            _registry.databases[url] = Database(url)
        return _registry.databases[url]
