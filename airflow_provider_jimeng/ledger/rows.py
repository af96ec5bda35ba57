# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Rows to records and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, select

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.records import LandingRecord, LostRace, Provenance, Scope, TaskRecord
from airflow_provider_jimeng.ledger.schema import digest, tasks
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["get", "in_scope", "insert_task", "landing_record", "must_get", "new_id", "task_record"]

_PLAIN = [name for name in TaskRecord.__dataclass_fields__ if name not in ("state", "scope", "provenance")]


def task_record(row: Any) -> TaskRecord:
    """Return the record of a row of ``tasks``."""
    values = row._mapping
    try:
        state = TaskState(values["state"])
    except ValueError:
        raise JimengLedgerError(
            f"Row {values['id']} of the ledger is in a state that this release does not know "
            f"({values['state']!r}). Nothing was submitted. Upgrade airflow-provider-jimeng here."
        ) from None
    return TaskRecord(
        state=state,
        scope=Scope(values["account"], values["endpoint"], values["req_key"]),
        provenance=Provenance(
            dag_id=values["dag_id"],
            run_id=values["run_id"],
            task_id=values["airflow_task_id"],
            map_index=values["map_index"],
            try_number=values["try_number"],
        ),
        **{name: values[name] for name in _PLAIN},
    )


def landing_record(row: Any) -> LandingRecord:
    """Return the record of a row of ``landings``."""
    values = row._mapping
    return LandingRecord(**{name: values[name] for name in LandingRecord.__dataclass_fields__})


def in_scope(table: Any, scope: Scope) -> ColumnElement[bool]:
    """Return the condition that a row of any table belongs to a scope."""
    return and_(
        table.c.account == scope.account,
        table.c.endpoint == scope.endpoint,
        table.c.req_key == scope.req_key,
    )


def get(conn: Connection, record_id: int, *, lock: bool = False) -> TaskRecord | None:
    """Return a row by its number; ``lock`` keeps others from moving it until the transaction ends."""
    query = select(tasks).where(tasks.c.id == record_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return None if row is None else task_record(row)


def must_get(conn: Connection, record_id: int, *, lock: bool = False) -> TaskRecord:
    """
    Return a row that has to be there.

    :raises LostRace: it is not: somebody pruned or restored the ledger.
    """
    found = get(conn, record_id, lock=lock)
    if found is None:
        raise LostRace(
            f"Row {record_id} of the ledger is gone; nothing was changed. Look whether somebody pruned or "
            "restored the ledger."
        )
    return found


def new_id(done: Any) -> int:
    """Return the number that an insert gave."""
    return int(done.inserted_primary_key[0])


def insert_task(
    conn: Connection,
    *,
    scope: Scope,
    provenance: Provenance,
    state: TaskState,
    content_key: str,
    attempt: int | None = None,
    **values: Any,
) -> TaskRecord:
    """
    Insert a row as its content's newest attempt; the caller holds the lock of the scope's limits.

    :param attempt: its number, where the caller knows it.
    """
    if attempt is None:
        newest = select(func.max(tasks.c.attempt)).where(tasks.c.content_key == content_key)
        attempt = int(conn.execute(newest).scalar() or 0) + 1
    row = {
        "content_key": content_key,
        "attempt": attempt,
        "state": str(state),
        "revision": 1,
        "account": scope.account,
        "endpoint": scope.endpoint,
        "req_key": scope.req_key,
        "dag_id": provenance.dag_id,
        "run_id": provenance.run_id,
        "airflow_task_id": provenance.task_id,
        "map_index": provenance.map_index,
        "try_number": provenance.try_number,
        "attempt_digest": digest(provenance.attempt_scope),
        "message": "",
        "new_attempt_allowed": False,
        "possibly_billed": False,
        "extra": False,
        "superseded": False,
        "send_count": 0,
        "note": "",
    }
    done = conn.execute(insert(tasks).values(**{**row, **values}))
    return must_get(conn, new_id(done))
