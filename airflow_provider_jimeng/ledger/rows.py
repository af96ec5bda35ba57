# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Rows to records and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, insert, select, update

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.engine import tells_what_it_wrote
from airflow_provider_jimeng.ledger.records import LandingRecord, LostRace, Provenance, Scope, TaskRecord
from airflow_provider_jimeng.ledger.schema import digest, tasks
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement

__all__ = [
    "bound_scope",
    "get",
    "in_scope",
    "insert_task",
    "landing_record",
    "must_get",
    "must_update",
    "new_id",
    "scope_values",
    "task_record",
    "update_task",
]

_BY_ID = select(tasks).where(tasks.c.id == bindparam("row"))
_LOCKED_BY_ID = _BY_ID.with_for_update()
_INSERT = insert(tasks)
_INSERT_TOLD = _INSERT.returning(tasks)
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


def bound_scope(table: Any) -> ColumnElement[bool]:
    """
    Return :func:`in_scope` for a statement that is built once and run with :func:`scope_values`.

    Building a statement costs about as much as running it; those of a submit are built once in a process.
    """
    return and_(
        table.c.account == bindparam("of_account"),
        table.c.endpoint == bindparam("of_endpoint"),
        table.c.req_key == bindparam("of_req_key"),
    )


def scope_values(scope: Scope) -> dict[str, str]:
    """Return the parameters of :func:`bound_scope`."""
    return {"of_account": scope.account, "of_endpoint": scope.endpoint, "of_req_key": scope.req_key}


def get(conn: Connection, record_id: int, *, lock: bool = False) -> TaskRecord | None:
    """Return a row by its number; ``lock`` keeps others from moving it until the transaction ends."""
    row = conn.execute(_LOCKED_BY_ID if lock else _BY_ID, {"row": record_id}).first()
    return None if row is None else task_record(row)


def must_get(conn: Connection, record_id: int, *, lock: bool = False) -> TaskRecord:
    """
    Return a row that has to be there.

    :raises LostRace: it is not: somebody pruned or restored the ledger.
    """
    return _there(get(conn, record_id, lock=lock), record_id)


def _there(found: TaskRecord | None, record_id: int) -> TaskRecord:
    if found is None:
        raise LostRace(
            f"Row {record_id} of the ledger is gone; nothing was changed. Look whether somebody pruned or "
            "restored the ledger."
        )
    return found


def update_task(
    conn: Connection, record_id: int, *conditions: ColumnElement[bool], **values: Any
) -> TaskRecord | None:
    """Change a row where the conditions hold, and return it as it is then; ``None``: they don't hold."""
    change = update(tasks).where(tasks.c.id == record_id, *conditions).values(**values)
    if tells_what_it_wrote(conn):
        row = conn.execute(change.returning(tasks)).first()
        return None if row is None else task_record(row)
    return get(conn, record_id) if conn.execute(change).rowcount == 1 else None


def must_update(conn: Connection, record_id: int, **values: Any) -> TaskRecord:
    """Change a row that is locked, and return it as it is then."""
    return _there(update_task(conn, record_id, **values), record_id)


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
    if tells_what_it_wrote(conn):
        return task_record(conn.execute(_INSERT_TOLD, {**row, **values}).one())
    return must_get(conn, new_id(conn.execute(_INSERT, {**row, **values})))
