# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The questions that change nothing."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, func, or_, select

from airflow_provider_jimeng.ledger.rows import in_scope, landing_record, task_record
from airflow_provider_jimeng.ledger.schema import digest, landings, tasks
from airflow_provider_jimeng.ledger.states import LIVE, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement

    from airflow_provider_jimeng.ledger.records import LandingRecord, Scope, TaskRecord

__all__ = [
    "attempts_in",
    "by_task_id",
    "history",
    "landing_at",
    "landings_of",
    "landings_with",
    "latest",
    "new_submits_since",
    "spent_in",
    "submits_in",
    "typical_seconds",
]

_HISTORY = 20


def came_to_nothing() -> ColumnElement[bool]:
    """Return the condition that a row certainly created no task: refused, or given up before it was sent."""
    given_up = and_(tasks.c.state == str(TaskState.RELEASED), ~tasks.c.possibly_billed)
    return or_(tasks.c.state == str(TaskState.REJECTED), given_up)


def _latest() -> Select[Any]:
    standing = and_(tasks.c.extra, ~tasks.c.superseded, tasks.c.state.in_([str(state) for state in LIVE]))
    rank = case((tasks.c.live_key.is_not(None), 0), (standing, 1), (came_to_nothing(), 3), else_=2)
    query = select(tasks).where(tasks.c.content_key == bindparam("content"))
    return query.order_by(rank, tasks.c.attempt.desc()).limit(1)


_LATEST = _latest()


def latest(conn: Connection, content_key: str) -> TaskRecord | None:
    """
    Return what stands for a content now.

    The live row; else a further id of it that still stands for paid work; else its newest attempt, of which
    those that certainly created nothing come last: they don't hide a verdict or a result that was paid for.
    """
    row = conn.execute(_LATEST, {"content": content_key}).first()
    return None if row is None else task_record(row)


def history(conn: Connection, content_key: str) -> list[TaskRecord]:
    """Return every attempt at a content, oldest first."""
    query = select(tasks).where(tasks.c.content_key == content_key).order_by(tasks.c.attempt)
    return [task_record(row) for row in conn.execute(query)]


def by_task_id(conn: Connection, task_id: str, scope: Scope | None) -> TaskRecord | None:
    """Return the row that keeps a vendor's id, the newest where several do."""
    query = select(tasks).where(tasks.c.task_digest == digest(task_id))
    if scope is not None:
        query = query.where(in_scope(tasks, scope))
    row = conn.execute(query.order_by(tasks.c.id.desc()).limit(1)).first()
    return None if row is None else task_record(row)


def landings_of(conn: Connection, content_key: str) -> list[LandingRecord]:
    """Return where a content's results lie, newest first."""
    query = select(landings).where(landings.c.content_key == content_key).order_by(landings.c.id.desc())
    return [landing_record(row) for row in conn.execute(query)]


def landings_with(conn: Connection, sha256: str) -> list[LandingRecord]:
    """Return every landing of the same bytes."""
    query = select(landings).where(landings.c.sha256 == sha256)
    return [landing_record(row) for row in conn.execute(query)]


def landing_at(conn: Connection, uri: str, *, lock: bool = False) -> LandingRecord | None:
    """Return what lies at a place, as far as this product put it there."""
    query = select(landings).where(landings.c.uri_digest == digest(uri))
    row = conn.execute(query.with_for_update() if lock else query).first()
    return None if row is None else landing_record(row)


def _count(conn: Connection, conditions: Iterable[ColumnElement[bool]]) -> int:
    # What certainly created nothing cost nothing; a row that only keeps a further id is no submit of its own.
    counted = and_(~came_to_nothing(), tasks.c.origin_id.is_(None), *conditions)
    return int(conn.execute(select(func.count()).select_from(tasks).where(counted)).scalar_one())


def attempts_in(conn: Connection, content_key: str, attempt_scope: str) -> int:
    """Return how many attempts at a content one task instance made, rejected ones aside."""
    return _count(conn, (tasks.c.content_key == content_key, tasks.c.attempt_digest == digest(attempt_scope)))


def spent_in(conn: Connection, attempt_scope: str) -> int:
    """Return how many submits one task instance made, over all contents."""
    return _count(conn, (tasks.c.attempt_digest == digest(attempt_scope),))


def new_submits_since(conn: Connection, account: str, since: float) -> int:
    """Return how many submits an account made since a time, over all DAGs."""
    return _count(conn, (tasks.c.account == account, tasks.c.created_at >= since))


def submits_in(conn: Connection, scope: Scope, since: float) -> int:
    """Return how many of those an account made in one scope."""
    return _count(conn, (in_scope(tasks, scope), tasks.c.created_at >= since))


def typical_seconds(conn: Connection, scope: Scope) -> float | None:
    """Return the median processing time of the last 20 successes that were watched, ``None`` without any."""
    # One walk per state: of both at once a database sorts every success there ever was.
    found: list[tuple[float, float]] = []
    for state in (TaskState.SUCCEEDED, TaskState.LANDED):
        query = (
            select(tasks.c.finished_at, tasks.c.processing_seconds)
            .where(in_scope(tasks, scope), tasks.c.state == str(state))
            .where(tasks.c.processing_seconds.is_not(None))
            .order_by(tasks.c.finished_at.desc())
            .limit(_HISTORY)
        )
        found += [(float(row[0]), float(row[1])) for row in conn.execute(query)]
    seconds = [taken for _, taken in sorted(found, reverse=True)[:_HISTORY]]
    return statistics.median(seconds) if seconds else None
