# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The tables, and how they come to be.

Long texts that are looked up (URIs, task ids, attempt scopes) have a column with their SHA-256 next to them:
MySQL indexes 3072 bytes at most, and an id from the vendor must fit whatever its length.
"""

from __future__ import annotations

import hashlib
import uuid
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects.mysql import LONGTEXT

from airflow_provider_jimeng.exceptions import JimengLedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import Connection

__all__ = [
    "MIGRATIONS",
    "SCHEMA_VERSION",
    "create_or_migrate",
    "digest",
    "landings",
    "limits",
    "meta",
    "ready_uuid",
    "tasks",
    "waiters",
]

SCHEMA_VERSION = 1

#: What turns the schema of a version into that of the next; run under the creation lock.
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = MappingProxyType({})

#: Any fixed number will do, as long as nobody else on the server takes it ("jimeng" in ASCII).
_LOCK_NUMBER = 0x6A696D656E67
_LOCK_NAME = "jimeng_ledger_schema"

metadata = MetaData()

_ID = BigInteger().with_variant(Integer(), "sqlite")
_LONG = Text().with_variant(LONGTEXT(), "mysql").with_variant(LONGTEXT(), "mariadb")
#: Seconds since the epoch: double precision everywhere.
_TIME = Float(53)
_DIGEST = String(64)
_TABLE: dict[str, Any] = {
    # A row's number is never given twice: tickets are queued by it.
    "sqlite_autoincrement": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}

_PLAIN_TABLE = {key: value for key, value in _TABLE.items() if key != "sqlite_autoincrement"}


def _scope_columns(*, primary_key: bool = False) -> list[Column[str]]:
    return [
        Column("account", String(190), nullable=False, primary_key=primary_key),
        Column("endpoint", String(255), nullable=False, primary_key=primary_key),
        Column("req_key", String(128), nullable=False, primary_key=primary_key),
    ]


tasks = Table(
    "jimeng_tasks",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("content_key", String(80), nullable=False),
    # The content key while the row is live, NULL otherwise: at most one live row per key.
    Column("live_key", String(80), nullable=True, unique=True),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("revision", Integer, nullable=False),
    *_scope_columns(),
    Column("inputs", _LONG, nullable=False),
    Column("variant", BigInteger, nullable=False),
    Column("force_new", _LONG, nullable=True),
    Column("owner", Text, nullable=False),
    Column("dag_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("airflow_task_id", Text, nullable=False),
    Column("map_index", Integer, nullable=False),
    Column("try_number", Integer, nullable=False),
    Column("attempt_digest", _DIGEST, nullable=False),
    Column("task_id", Text, nullable=True),
    Column("task_digest", _DIGEST, nullable=True),
    Column("request_id", Text, nullable=True),
    Column("code", BigInteger, nullable=True),
    Column("message", Text, nullable=False),
    Column("new_attempt_allowed", Boolean, nullable=False),
    Column("possibly_billed", Boolean, nullable=False),
    Column("extra", Boolean, nullable=False),
    Column("superseded", Boolean, nullable=False),
    Column("origin_id", BigInteger, nullable=True),
    Column("created_at", _TIME, nullable=False),
    Column("sent_at", _TIME, nullable=True),
    Column("send_count", Integer, nullable=False),
    Column("send_token", String(32), nullable=True),
    Column("send_deadline", _TIME, nullable=False),
    Column("expected_seconds", _TIME, nullable=False),
    Column("submitted_at", _TIME, nullable=True),
    Column("finished_at", _TIME, nullable=True),
    Column("landed_at", _TIME, nullable=True),
    Column("elapsed", _TIME, nullable=True),
    Column("processing_seconds", _TIME, nullable=True),
    Column("validators", _LONG, nullable=True),
    Column("note", _LONG, nullable=False),
    UniqueConstraint("content_key", "attempt", name="jimeng_tasks_attempt"),
    # It also answers the counts per scope and state by itself, without a look at the rows.
    Index("jimeng_tasks_scope", "account", "endpoint", "req_key", "state", "possibly_billed"),
    # The last successes of a scope, which every claim looks at for what a task takes.
    Index(
        "jimeng_tasks_recent",
        "account",
        "endpoint",
        "req_key",
        "state",
        "finished_at",
        "processing_seconds",
    ),
    Index("jimeng_tasks_day", "account", "created_at"),
    # Pages of a list are read per state, newest first.
    Index("jimeng_tasks_state", "state", "created_at"),
    Index("jimeng_tasks_account_state", "account", "state", "created_at"),
    Index(
        "jimeng_tasks_dag",
        "dag_id",
        "state",
        "created_at",
        mysql_length={"dag_id": 190},
        mariadb_length={"dag_id": 190},
    ),
    Index("jimeng_tasks_provenance", "attempt_digest"),
    Index("jimeng_tasks_vendor", "task_digest"),
    **_TABLE,
)

landings = Table(
    "jimeng_landings",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("content_key", String(80), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("uri", _LONG, nullable=False),
    Column("uri_digest", _DIGEST, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=True),
    Column("sha256", _DIGEST, nullable=False, index=True),
    Column("content_type", Text, nullable=True),
    Column("landed_at", _TIME, nullable=False),
    **_TABLE,
)

#: One row per scope, and one per account (endpoint and req_key empty) that carries the pause switch.
limits = Table(
    "jimeng_limits",
    metadata,
    *_scope_columns(primary_key=True),
    Column("configured", Integer, nullable=True),
    Column("proven", Integer, nullable=False),
    Column("ceiling", Integer, nullable=True),
    Column("probe_after", _TIME, nullable=True),
    Column("refusals", Integer, nullable=False),
    Column("cooldown_until", _TIME, nullable=True),
    Column("cooldown_streak", Integer, nullable=False),
    Column("called_at", _TIME, nullable=True),
    Column("breaker", Text, nullable=True),
    Column("paused", Text, nullable=True),
    Column("note", _LONG, nullable=False),
    **_PLAIN_TABLE,
)

waiters = Table(
    "jimeng_waiters",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    *_scope_columns(),
    Column("waiter", Text, nullable=False),
    Column("waiter_digest", _DIGEST, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("called_at", _TIME, nullable=True),
    UniqueConstraint("account", "endpoint", "req_key", "waiter_digest", name="jimeng_waiters_once"),
    **_TABLE,
)

meta = Table(
    "jimeng_meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    **_PLAIN_TABLE,
)


def digest(value: str) -> str:
    """Return the look-up column's value for a long text."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _read_meta(conn: Connection) -> dict[str, str] | None:
    if not inspect(conn).has_table(meta.name):
        return None
    return {row[0]: row[1] for row in conn.execute(select(meta.c.name, meta.c.value))}


def _version_of(found: Mapping[str, str]) -> int:
    try:
        version = int(found["schema_version"])
        uuid.UUID(found["uuid"])
    except (KeyError, ValueError):
        raise JimengLedgerError(
            f"The ledger's table {meta.name} is damaged: it names no schema version or no UUID. Nothing was "
            "submitted. Restore the ledger from a backup; don't start an empty one beside paid tasks."
        ) from None
    if version > SCHEMA_VERSION:
        raise JimengLedgerError(
            f"The ledger was written by a newer release (schema {version}, this release knows "
            f"{SCHEMA_VERSION}). Nothing was submitted. Upgrade airflow-provider-jimeng here."
        )
    return version


def ready_uuid(conn: Connection) -> str | None:
    """
    Return the ledger's UUID if its schema is this release's; ``None`` if it must be created or migrated.

    :raises JimengLedgerError: the ledger is damaged, or a newer release wrote it.
    """
    found = _read_meta(conn)
    # MySQL shows a table before its rows: who is told so looks again under the lock.
    if not found or _version_of(found) < SCHEMA_VERSION:
        return None
    return found["uuid"]


def create_or_migrate(conn: Connection) -> str:
    """
    Bring the schema to this release's version and return the ledger's UUID; safe when many do so at once.

    SQLite is locked by its write transaction, PostgreSQL by an advisory lock of the transaction, MySQL (whose
    DDL commits by itself) by a named lock.

    :raises JimengLedgerError: as :func:`ready_uuid`.
    """
    dialect = conn.dialect.name
    if dialect == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
    if dialect not in ("mysql", "mariadb"):
        return _create_or_migrate(conn)
    conn.execute(text("SELECT GET_LOCK(:name, 60)"), {"name": _LOCK_NAME})
    try:
        return _create_or_migrate(conn)
    finally:
        conn.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK_NAME})


def _create_or_migrate(conn: Connection) -> str:
    found = _read_meta(conn)
    if found is None:
        # The table that says "ready" comes last.
        metadata.create_all(conn, tables=[tasks, landings, limits, waiters])
        metadata.create_all(conn, tables=[meta])
        found = {"schema_version": str(SCHEMA_VERSION), "uuid": str(uuid.uuid4())}
        conn.execute(insert(meta), [{"name": name, "value": value} for name, value in found.items()])
    for version in range(_version_of(found), SCHEMA_VERSION):
        MIGRATIONS[version](conn)
        conn.execute(
            update(meta).where(meta.c.name == "schema_version").values(value=str(version + 1)),
        )
    return found["uuid"]
