# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The moves of a task row: compare-and-set on its revision, within the table of legal moves.

A commit can fail after it was applied, so each move can be repeated: who finds its own outcome gets the row
as it is. Moves that may free a slot lock the scope's row of limits first and call the next in the queue last.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from airflow_provider_jimeng.ledger.engine import clock, read_clock
from airflow_provider_jimeng.ledger.limits import Limits, call_heads, lock_scope, remark, storable
from airflow_provider_jimeng.ledger.records import LostRace, TaskRecord, TooEarly
from airflow_provider_jimeng.ledger.rows import must_get, must_update, update_task
from airflow_provider_jimeng.ledger.schema import tasks
from airflow_provider_jimeng.ledger.states import TaskState, may_move

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Connection

__all__ = [
    "asked_again",
    "asked_at",
    "begin_send",
    "record_expired",
    "record_failed",
    "record_rejected",
    "record_succeeded",
    "record_unknown",
    "release",
]

_S = TaskState
_ASKED_AGAIN = "asked for again by try"


def begin_send(conn: Connection, record: TaskRecord, token: str) -> TaskRecord:
    """
    Allow one send, if the intent is still the caller's and still fresh by the database's clock.

    :param token: names this wish to send; who repeats it with the same token is told that it was granted.
    """
    now: Any = clock(conn)
    fresh = now - func.coalesce(tasks.c.sent_at, tasks.c.created_at) <= tasks.c.send_deadline
    mine = (tasks.c.state == str(_S.INTENT), fresh)
    granted = update_task(
        conn,
        record.id,
        *mine,
        tasks.c.revision == record.revision,
        sent_at=now,
        send_count=tasks.c.send_count + 1,
        revision=tasks.c.revision + 1,
        send_token=token,
    )
    if granted is not None:
        return granted
    before = select(tasks.c.id).where(tasks.c.id == record.id, *mine, tasks.c.send_token == token)
    row = must_get(conn, record.id)
    if conn.execute(before).first() is None:
        raise LostRace(
            f"The intent may not be sent any more: it is {row.state}, revision {row.revision} (seen: "
            f"{record.revision}), or older than {record.send_deadline:g} s. Nothing was sent. "
            "Look the content up again.",
            content_key=record.content_key,
            task_id=row.task_id,
        )
    return row


def change(conn: Connection, row: TaskRecord, target: TaskState, now: float, **values: Any) -> TaskRecord:
    """Move a locked row, if the table has the move."""
    if not may_move(row.state, target):
        raise LostRace(
            f"The ledger's row is {row.state} and can't become {target}; nothing was changed. "
            "Look it up again.",
            content_key=row.content_key,
            task_id=row.task_id,
        )
    if target in (_S.FAILED, _S.EXPIRED, _S.REJECTED, _S.RELEASED):
        values["live_key"] = None
    if row.state is _S.EXPIRED:
        values.update(live_key=_free_key(conn, row), possibly_billed=row.extra)
    if row.state is _S.SUBMITTED:
        values.update(finished_at=now, elapsed=max(0.0, now - (row.submitted_at or now)))
    return must_update(conn, row.id, state=str(target), revision=row.revision + 1, **values)


def _free_key(conn: Connection, row: TaskRecord) -> str:
    """Return the content's key for a row that comes back, if no other row stands for the content by now."""
    taken = (tasks.c.live_key == row.content_key, tasks.c.id != row.id)
    if conn.execute(select(tasks.c.id).where(*taken)).first() is not None:
        raise LostRace(
            "A newer attempt stands for this content; nothing was changed. Look it up again.",
            content_key=row.content_key,
            task_id=row.task_id,
        )
    return row.content_key


def open_row(conn: Connection, record: TaskRecord, done: Collection[TaskState]) -> tuple[TaskRecord, bool]:
    """
    Lock a row and tell whether it already stands where the caller wants it.

    :raises LostRace: it does not, and it is no longer the revision that the caller saw.
    """
    row = must_get(conn, record.id, lock=True)
    if row.state in done:
        return row, True
    if row.revision != record.revision:
        raise LostRace(
            f"The ledger's row is {row.state}, revision {row.revision}, and no longer as it was read "
            f"(revision {record.revision}); nothing was changed. Look it up again.",
            content_key=row.content_key,
            task_id=row.task_id,
        )
    return row, False


def _verdict(
    conn: Connection,
    record: TaskRecord,
    target: TaskState,
    done: Collection[TaskState],
    **values: Any,
) -> TaskRecord:
    limits_row: Limits = lock_scope(conn, record.scope)
    row, already = open_row(conn, record, done)
    if already:
        return row
    now = read_clock(conn)
    moved = change(conn, row, target, now, **values)
    call_heads(conn, limits_row, now)
    return moved


def record_succeeded(
    conn: Connection,
    record: TaskRecord,
    *,
    request_id: str | None,
    code: int | None,
    processing: float | None,
) -> TaskRecord:
    """
    Write the vendor's good verdict.

    :raises LostRace: the row stands elsewhere; or it had expired, and a newer attempt stands for its content.
    """
    values = {
        "request_id": request_id or record.request_id,
        "code": code,
        "processing_seconds": processing,
    }
    return _verdict(conn, record, _S.SUCCEEDED, (_S.SUCCEEDED, _S.LANDED), message="", **values)


def record_failed(
    conn: Connection,
    record: TaskRecord,
    *,
    code: int | None,
    message: str,
    request_id: str | None,
    new_attempt: bool,
) -> TaskRecord:
    """Write the vendor's bad verdict; it is not billed."""
    return _verdict(
        conn,
        record,
        _S.FAILED,
        (_S.FAILED,),
        code=code,
        message=storable(message),
        request_id=request_id or record.request_id,
        new_attempt_allowed=new_attempt,
        possibly_billed=False,
    )


def record_expired(conn: Connection, record: TaskRecord, *, code: int | None, message: str) -> TaskRecord:
    """Write that the vendor no longer has the result; it may have been billed."""
    return _verdict(
        conn,
        record,
        _S.EXPIRED,
        (_S.EXPIRED,),
        code=code,
        message=storable(message),
        possibly_billed=True,
    )


def record_unknown(
    conn: Connection, record: TaskRecord, *, message: str, code: int | None, request_id: str | None
) -> TaskRecord:
    """Write that nobody knows whether the send created a task; its slot counts as busy for a while."""
    values = {"message": storable(message), "code": code, "request_id": request_id}
    return _verdict(
        conn, record, _S.UNKNOWN, (_S.UNKNOWN, _S.RELEASED), possibly_billed=record.send_count > 0, **values
    )


def record_rejected(
    conn: Connection, record: TaskRecord, *, code: int | None, message: str, request_id: str | None
) -> TaskRecord:
    """
    Write that the vendor created nothing.

    The owner's answer may come after others took it for silent and made an ``unknown`` of its row. It is
    certain knowledge about the row's only open send, so the row is released without a person.
    """
    limits_row = lock_scope(conn, record.scope)
    row = must_get(conn, record.id, lock=True)
    now = read_clock(conn)
    values = {"code": code, "message": storable(message), "request_id": request_id, "possibly_billed": False}
    if row.state is _S.UNKNOWN and row.owner == record.owner and row.send_count == record.send_count:
        note = remark(row.note, now, "released by a late answer: the vendor created nothing")
        moved = change(conn, row, _S.RELEASED, now, note=note, **values)
    else:
        row, already = open_row(conn, record, (_S.REJECTED, _S.RELEASED))
        if already:
            return row
        moved = change(conn, row, _S.REJECTED, now, finished_at=now, **values)
    call_heads(conn, limits_row, now)
    return moved


def release(
    conn: Connection, record_id: int, *, reason: str, by: str, min_age_seconds: float | None
) -> TaskRecord:
    """Give an unknown free for another attempt; it stays possibly billed, and a late id is still taken."""
    seen = must_get(conn, record_id)
    limits_row = lock_scope(conn, seen.scope)
    row = must_get(conn, record_id, lock=True)
    if row.state is _S.RELEASED:
        return row
    now = read_clock(conn)
    missing = (min_age_seconds or 0.0) - (now - row.base)
    if row.state is _S.UNKNOWN and min_age_seconds is not None and missing > 0:
        error = TooEarly(
            f"The send may still be on its way: it can be released in {missing:.1f} s. Nothing was changed.",
            content_key=row.content_key,
        )
        error.retry_after_seconds = missing
        raise error
    note = remark(row.note, now, f"released by {by}: {reason}")
    moved = change(conn, row, _S.RELEASED, now, note=note)
    call_heads(conn, limits_row, now)
    return moved


def asked_again(conn: Connection, record: TaskRecord, try_number: int) -> None:
    """
    Write that a later try of its own task instance goes on with a row.

    Its revision stays: whoever is about to move it is right to.
    """
    row = must_get(conn, record.id, lock=True)
    if row.provenance.try_number < try_number:
        note = remark(row.note, read_clock(conn), f"{_ASKED_AGAIN} {try_number}")
        update_task(conn, row.id, try_number=try_number, note=note)


def asked_at(row: TaskRecord) -> float:
    """Return when a try of its task instance last began a row, or went on with it, in epoch seconds."""
    seconds = [row.created_at]
    for line in row.note.splitlines():
        when, _, words = line.partition(" ")
        if words.startswith(_ASKED_AGAIN):
            # A note leaves out the fractions.
            seconds.append(dt.datetime.fromisoformat(when).timestamp() + 1.0)
    return max(seconds)
