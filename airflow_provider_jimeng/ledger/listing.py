# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Rows by the page, for people and exports; each page costs the same in a ledger of any size.

Pages are asked for per state and merged: with an index on (state, time) the database walks straight to the
place, whatever else is in the table, and never sorts.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from airflow_provider_jimeng.ledger.engine import clock, read_clock
from airflow_provider_jimeng.ledger.parts import content_of
from airflow_provider_jimeng.ledger.rows import landing_record, task_record
from airflow_provider_jimeng.ledger.schema import landings, limits, tasks
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement

    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord

__all__ = [
    "Page",
    "Wanted",
    "accounts",
    "has_fallen_silent",
    "landings_by_key",
    "newest_first",
    "with_key_prefix",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    Which rows; what is ``None`` does not matter.

    :param states: an ``unknown`` in them also asks for intents whose owner fell silent: the next claim makes
        unknowns of those.
    :param older_than: seconds since the row was made, by the database's clock.
    :param newer_than: the same.
    """

    states: frozenset[TaskState] | None = None
    account: str | None = None
    dag_id: str | None = None
    older_than: float | None = None
    newer_than: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some rows.

    :param now: the database's clock when they were read.
    :param more: whether there are more behind them.
    """

    now: float
    records: tuple[TaskRecord, ...]
    more: bool


def has_fallen_silent(record: TaskRecord, now: float) -> bool:
    """Tell whether a row is an intent whose owner had the time to tell how its send ended, and didn't."""
    return record.state is TaskState.INTENT and now - record.base > record.send_deadline


def _silent(now: Any) -> ColumnElement[bool]:
    base: Any = func.coalesce(tasks.c.sent_at, tasks.c.created_at)
    found: ColumnElement[bool] = now - base > tasks.c.send_deadline
    return found


def _conditions(wanted: Wanted, now: float) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.account is not None:
        found.append(tasks.c.account == wanted.account)
    if wanted.dag_id is not None:
        found.append(tasks.c.dag_id == wanted.dag_id)
    if wanted.older_than is not None:
        found.append(tasks.c.created_at < now - wanted.older_than)
    if wanted.newer_than is not None:
        found.append(tasks.c.created_at >= now - wanted.newer_than)
    return found


def _per_state(conn: Connection, wanted: Wanted) -> list[ColumnElement[bool]]:
    """Return a condition per index walk; together they are the wanted states."""
    states = wanted.states or frozenset(TaskState)
    walks: list[ColumnElement[bool]] = [tasks.c.state == str(state) for state in sorted(states)]
    if TaskState.UNKNOWN in states and TaskState.INTENT not in states:
        walks.append(and_(tasks.c.state == str(TaskState.INTENT), _silent(clock(conn))))
    return walks


def newest_first(conn: Connection, wanted: Wanted, *, after: tuple[float, int] | None, limit: int) -> Page:
    """
    Return a page, newest rows first; a walk over all pages meets each row that was there exactly once.

    :param after: when the last row of the page before was made, and its number.
    """
    now = read_clock(conn)
    conditions = _conditions(wanted, now)
    if after is not None:
        created_at, number = after
        conditions += [
            tasks.c.created_at <= created_at,
            or_(tasks.c.created_at < created_at, tasks.c.id < number),
        ]
    plain = select(tasks).order_by(tasks.c.created_at.desc(), tasks.c.id.desc()).limit(limit + 1)
    walks = [conn.execute(plain.where(walk, *conditions)) for walk in _per_state(conn, wanted)]
    merged = heapq.merge(*walks, key=lambda row: (row.created_at, row.id), reverse=True)
    found = list(itertools.islice(merged, limit + 1))
    return Page(now, tuple(task_record(row) for row in found[:limit]), len(found) > limit)


def with_key_prefix(conn: Connection, prefix: str, limit: int) -> list[str]:
    """Return the content keys that begin with some hexadecimal digits."""
    query = (
        select(tasks.c.content_key)
        .where(tasks.c.content_key >= prefix, tasks.c.content_key < f"{prefix}g")
        .order_by(tasks.c.content_key)
        .distinct()
        .limit(limit)
    )
    return [str(row[0]) for row in conn.execute(query)]


def accounts(conn: Connection) -> list[str]:
    """Return the accounts that ever claimed, or were ever paused."""
    query = select(limits.c.account).distinct().order_by(limits.c.account)
    return [str(row[0]) for row in conn.execute(query)]


def landings_by_key(
    conn: Connection, keys: Collection[str]
) -> dict[tuple[str, int], Sequence[LandingRecord]]:
    """
    Return the landings of some contents, by content key and attempt, oldest first.

    :param keys: as :func:`.parts.keys_of` makes them; what a task made further stands with its content.
    """
    query = select(landings).where(landings.c.content_key.in_(sorted(set(keys)))).order_by(landings.c.id)
    found: dict[tuple[str, int], list[LandingRecord]] = {}
    for row in conn.execute(query):
        landing = landing_record(row)
        found.setdefault((content_of(landing.content_key), landing.attempt), []).append(landing)
    return dict(found)
