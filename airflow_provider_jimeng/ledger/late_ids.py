# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Ids are never refused and never dropped: a task id is money, whenever it arrives.

In time it makes a ``submitted`` of the intent. Late, it does the same to an ``unknown`` or a released row;
where a newer attempt stands for the content by then, that row is an extra one. Where the row can't take it
(it has another id, or is closed), a further row keeps it. Extra rows are possibly billed, hold a slot and are
harvested like any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from airflow_provider_jimeng.ledger.engine import read_clock
from airflow_provider_jimeng.ledger.limits import (
    Limits,
    call_heads,
    lock_scope,
    remark,
    save_limits,
)
from airflow_provider_jimeng.ledger.occupancy import crowd
from airflow_provider_jimeng.ledger.records import LostRace, TaskRecord
from airflow_provider_jimeng.ledger.rows import insert_task, must_get, must_update, task_record
from airflow_provider_jimeng.ledger.schema import digest, tasks
from airflow_provider_jimeng.ledger.states import TaskState, may_move
from airflow_provider_jimeng.ledger.views import by_task_id
from airflow_provider_jimeng.policy.slots import CoolDown, after_acceptance

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = ["adopt", "record_created"]


def record_created(
    conn: Connection, record: TaskRecord, *, task_id: str, request_id: str | None
) -> TaskRecord:
    """Keep the id that the vendor gave for a row; see :meth:`.store.Ledger.record_created`."""
    limits_row = lock_scope(conn, record.scope)
    rows, taken = _lock_beside(conn, record, task_id)
    kept = next((each for each in rows if each.task_id == task_id), None)
    if kept is not None:
        return kept
    seen = crowd(conn, record.scope, running=True)
    now = seen.now
    row = next((each for each in rows if each.id == record.id), None)
    in_time = row is not None and row.state is TaskState.INTENT
    words = "" if in_time else "a late answer brought the id"
    if row is not None and may_move(row.state, TaskState.SUBMITTED):
        moved = _take(conn, row, task_id, request_id, now, words, extra=taken)
    else:
        moved = _keep_beside(conn, row or record, task_id, request_id, now)
    if in_time:
        before, running = limits_row, seen.counted + 1
        limits_row = replace(
            limits_row,
            learned=after_acceptance(limits_row.learned, running),
            cool=replace(limits_row.cool, streak=0),
        )
        if limits_row.breaker is not None:
            note = remark(limits_row.note, now, "breaker cleared: the vendor accepted a submit")
            limits_row = replace(limits_row, cool=CoolDown(), breaker=None, note=note)
        if limits_row != before:
            save_limits(conn, limits_row)
    if seen.queued:
        call_heads(conn, limits_row, now)
    return moved


def adopt(conn: Connection, record_id: int, task_id: str, by: str) -> TaskRecord:
    """Write an id that a person found for a row."""
    seen = must_get(conn, record_id)
    limits_row: Limits = lock_scope(conn, seen.scope)
    row = must_get(conn, record_id, lock=True)
    if row.task_id == task_id:
        return row
    other = by_task_id(conn, task_id, row.scope)
    if other is not None:
        raise LostRace(
            f"The id is already kept by row {other.id}; nothing was changed. Look that row up.",
            task_id=task_id,
            content_key=other.content_key,
        )
    if not may_move(row.state, TaskState.SUBMITTED):
        raise LostRace(
            f"The row is {row.state} and takes no id; nothing was changed. Only an intent, an unknown or a "
            "released row can adopt one.",
            task_id=row.task_id,
            content_key=row.content_key,
        )
    now = read_clock(conn)
    extra = _is_taken(conn, row)
    moved = _take(conn, row, task_id, None, now, f"id adopted by {by}", extra=extra)
    call_heads(conn, limits_row, now)
    return moved


def _lock_beside(conn: Connection, record: TaskRecord, task_id: str) -> tuple[list[TaskRecord], bool]:
    """
    Lock, of a content's rows, the one that was sent, the live one, and those that keep the id already.

    InnoDB locks all that it reads, so every row of the content: who deletes old ones at that moment is waited
    for, or one of both is tried again.

    :return: them, oldest first, and whether the live one is another than the one that was sent.
    """
    which = or_(
        tasks.c.id == record.id, tasks.c.live_key.is_not(None), tasks.c.task_digest == digest(task_id)
    )
    query = select(tasks).where(tasks.c.content_key == record.content_key, which).order_by(tasks.c.id)
    found = conn.execute(query.with_for_update()).all()
    taken = any(row._mapping["live_key"] is not None and row._mapping["id"] != record.id for row in found)
    return [task_record(row) for row in found], taken


def _is_taken(conn: Connection, row: TaskRecord) -> bool:
    """Tell whether another row is the content's live one."""
    taken = (tasks.c.live_key == row.content_key, tasks.c.id != row.id)
    return conn.execute(select(tasks.c.id).where(*taken)).first() is not None


def _take(
    conn: Connection,
    row: TaskRecord,
    task_id: str,
    request_id: str | None,
    now: float,
    words: str,
    *,
    extra: bool,
) -> TaskRecord:
    values: dict[str, Any] = {
        "state": str(TaskState.SUBMITTED),
        "revision": row.revision + 1,
        "live_key": None if extra else row.content_key,
        "task_id": task_id,
        "task_digest": digest(task_id),
        "request_id": request_id,
        # A late id is as old as its send: the vendor's 12 hours run from there.
        "submitted_at": row.base if words else now,
        "possibly_billed": extra,
        "extra": extra,
        "code": None,
        "message": "",
    }
    if words:
        values["note"] = remark(row.note, now, words)
    return must_update(conn, row.id, **values)


def _keep_beside(
    conn: Connection, origin: TaskRecord, task_id: str, request_id: str | None, now: float
) -> TaskRecord:
    live = conn.execute(select(tasks.c.id).where(tasks.c.live_key == origin.content_key)).first()
    return insert_task(
        conn,
        scope=origin.scope,
        provenance=origin.provenance,
        state=TaskState.SUBMITTED,
        content_key=origin.content_key,
        live_key=None if live is not None else origin.content_key,
        inputs=origin.inputs,
        variant=origin.variant,
        force_new=origin.force_new,
        owner=origin.owner,
        task_id=task_id,
        task_digest=digest(task_id),
        request_id=request_id,
        possibly_billed=True,
        extra=True,
        origin_id=origin.id,
        created_at=origin.created_at,
        sent_at=origin.sent_at,
        send_deadline=origin.send_deadline,
        expected_seconds=origin.expected_seconds,
        submitted_at=origin.base,
        validators=origin.validators,
        note=remark("", now, f"a further id of row {origin.id} ({origin.state})"),
    )
