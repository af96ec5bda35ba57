# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How full a scope is: slots are derived from its rows, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, literal_column, select

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.ledger.engine import IDLE_SECONDS, clock_words
from airflow_provider_jimeng.ledger.rows import bound_scope, in_scope, scope_values, task_record
from airflow_provider_jimeng.ledger.schema import tasks, waiters
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement

    from airflow_provider_jimeng.ledger.records import Scope, TaskRecord

__all__ = ["Crowd", "Occupancy", "count_holders", "count_running", "crowd", "occupancy"]

#: An unknown counts as busy for this many times the expected processing.
UNKNOWN_FACTOR = 1.5
_OPEN = [str(TaskState.INTENT), str(TaskState.SUBMITTED), str(TaskState.UNKNOWN)]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """
    Who holds the slots of a scope, as derived from its rows.

    :param holders: oldest first.
    :param aged_at: when the last one stopped counting by age alone.
    """

    holders: tuple[TaskRecord, ...]
    aged_at: float | None


def _holds_until(record: TaskRecord) -> float:
    if record.state is TaskState.SUBMITTED:
        return (record.submitted_at or record.created_at) + TASK_LIFETIME_SECONDS
    if record.send_count == 0:
        # Nothing was sent, and past its deadline nothing can be any more (`moves.begin_send`): an unknown is
        # past it. Of an intent the permission may have been given at the last moment and not be visible yet,
        # for as long as a session keeps what it has not committed. A claim need not wait for that: its first
        # step makes an unknown of the row, or waits for who holds it (`claim.settle_stale`).
        visible = IDLE_SECONDS if record.state is TaskState.INTENT else 0.0
        return record.base + record.send_deadline + visible
    unknown = UNKNOWN_FACTOR * record.expected_seconds
    if record.state is TaskState.UNKNOWN:
        return record.base + unknown
    # The next claim makes an unknown of a stale intent: who only reads must see the slot come free all the
    # same.
    return record.base + max(record.send_deadline, unknown)


def occupancy(conn: Connection, scope: Scope, now: float) -> Occupancy:
    """Derive who holds the slots of a scope."""
    query = select(tasks).where(in_scope(tasks, scope), tasks.c.state.in_(_OPEN)).order_by(tasks.c.id)
    rows = [task_record(row) for row in conn.execute(query)]
    holders = tuple(row for row in rows if now < _holds_until(row))
    aged = [until for until in map(_holds_until, rows) if until <= now]
    return Occupancy(holders, max(aged, default=None))


@dataclass(frozen=True, slots=True)
class Crowd:
    """How full a scope is, at one moment of the database's clock (read after the locks were taken)."""

    now: float
    counted: int
    queued: bool


def crowd(conn: Connection, scope: Scope, *, running: bool = False) -> Crowd:
    """
    Read the clock, count, and tell whether anybody waits, in one round trip, after the locks were taken.

    :param running: count what is known to run at the vendor; else all that hold a slot.
    """
    row = conn.execute(_crowding(clock_words(conn), running), scope_values(scope)).one()
    return Crowd(float(row[0]), int(row[1]), bool(row[2]))


@cache
def _crowding(clock: str, running: bool) -> Select[Any]:
    now: Any = literal_column(clock)
    counted = _running(now) if running else _holding(now)
    count = select(func.count()).select_from(tasks).where(counted).scalar_subquery()
    return select(now, count, select(waiters.c.id).where(bound_scope(waiters)).exists())


def _count(conn: Connection, scope: Scope, counted: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(tasks).where(counted)
    return int(conn.execute(query, scope_values(scope)).scalar_one())


def count_holders(conn: Connection, scope: Scope, now: float) -> int:
    """Count what :func:`occupancy` lists, where nobody needs the list: an account may have thousands."""
    return _count(conn, scope, _holding(now))


def count_running(conn: Connection, scope: Scope, now: float) -> int:
    """Count the tasks of a scope that are known to run at the vendor."""
    return _count(conn, scope, _running(now))


def _holding(now: Any) -> ColumnElement[bool]:
    unknown = UNKNOWN_FACTOR * tasks.c.expected_seconds
    sent = func.coalesce(tasks.c.sent_at, tasks.c.created_at)
    longer = case((tasks.c.send_deadline > unknown, tasks.c.send_deadline), else_=unknown)
    is_unknown = tasks.c.state == str(TaskState.UNKNOWN)
    # As in `_holds_until`, case by case.
    until = case(
        (tasks.c.state == str(TaskState.SUBMITTED), _submitted_until()),
        (and_(tasks.c.send_count == 0, is_unknown), sent + tasks.c.send_deadline),
        (tasks.c.send_count == 0, sent + tasks.c.send_deadline + IDLE_SECONDS),
        (is_unknown, sent + unknown),
        else_=sent + longer,
    )
    return and_(bound_scope(tasks), tasks.c.state.in_(_OPEN), until > now)


def _running(now: Any) -> ColumnElement[bool]:
    return and_(bound_scope(tasks), tasks.c.state == str(TaskState.SUBMITTED), _submitted_until() > now)


def _submitted_until() -> ColumnElement[float]:
    return func.coalesce(tasks.c.submitted_at, tasks.c.created_at) + TASK_LIFETIME_SECONDS
