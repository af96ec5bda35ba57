# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What some task instances came to, for people who look at a DAG run while it goes on.

Everything is found by the digest of a task instance, which has an index: a look costs what the run is large,
whatever else the ledger holds.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from airflow_provider_jimeng.ledger.engine import read_clock
from airflow_provider_jimeng.ledger.limits import slot_view
from airflow_provider_jimeng.ledger.records import Scope
from airflow_provider_jimeng.ledger.rows import in_scope, task_record
from airflow_provider_jimeng.ledger.schema import digest, limits, tasks
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement

    from airflow_provider_jimeng.ledger.records import SlotView, TaskRecord

__all__ = ["RunView", "Trouble", "rows_of_run", "run_view"]

#: Below the most parameters that any supported database takes in one statement (SQLite before 3.32: 999).
_PER_STATEMENT = 500
#: The rate is that of the last so many landings.
_RECENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """
    Contents that came to nothing for the same reason.

    :param message: the vendor's or this product's words.
    :param row: the number of the newest of them.
    """

    state: TaskState
    code: int | None
    message: str
    count: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """
    What some task instances of one DAG run came to, over all their tries.

    :param now: the database's clock.
    :param counts: contents per state of their newest attempt in the run; further ids of a content aside.
    :param submits: submits that the vendor accepted.
    :param refused: submits that the vendor refused; nothing was created by those.
    :param possibly_billed: rows that may have cost money and that no result stands for.
    :param started_at: epoch seconds of the first claim, ``None`` where there was none.
    :param spans: begin and end of each accepted submit in epoch seconds; no end while it runs.
    :param landed_lately: epoch seconds of the last hundred landings, oldest first.
    :param troubles: largest group first.
    :param slots: what each scope that the run used looks like now.
    """

    now: float
    counts: Mapping[TaskState, int]
    submits: int
    refused: int
    possibly_billed: int
    started_at: float | None
    spans: Sequence[tuple[float, float | None]]
    landed_lately: Sequence[float]
    troubles: tuple[Trouble, ...]
    slots: Mapping[Scope, SlotView]


def _in_pieces(scopes: Collection[str]) -> Iterator[ColumnElement[bool]]:
    wanted = sorted({digest(each) for each in scopes})
    for start in range(0, len(wanted), _PER_STATEMENT):
        yield tasks.c.attempt_digest.in_(wanted[start : start + _PER_STATEMENT])


def _newest() -> ColumnElement[bool]:
    """Return the condition that a row is the newest attempt of its content within its task instance."""
    other = tasks.alias()
    newest = (
        select(func.max(other.c.attempt))
        .where(
            other.c.content_key == tasks.c.content_key,
            other.c.attempt_digest == tasks.c.attempt_digest,
            other.c.origin_id.is_(None),
        )
        .scalar_subquery()
    )
    return and_(tasks.c.origin_id.is_(None), tasks.c.attempt == newest)


#: State, code and message of rows that came to nothing.
_Group = tuple[TaskState, int | None, str]
_TROUBLE = (TaskState.FAILED, TaskState.EXPIRED, TaskState.REJECTED, TaskState.UNKNOWN)


@dataclass(slots=True)
class _Sum:
    """What is added up, over the pieces that one statement each takes."""

    counts: Counter[TaskState] = field(default_factory=Counter)
    groups: Counter[_Group] = field(default_factory=Counter)
    newest: dict[_Group, int] = field(default_factory=dict)
    spans: list[tuple[float, float | None]] = field(default_factory=list)
    landed: list[float] = field(default_factory=list)
    scopes: set[Scope] = field(default_factory=set)
    refused: int = 0
    doubtful: int = 0
    started: float | None = None

    def add(self, conn: Connection, mine: ColumnElement[bool]) -> None:
        by_state = select(tasks.c.state, func.count()).where(mine, _newest()).group_by(tasks.c.state)
        for state, number in conn.execute(by_state):
            self.counts[TaskState(state)] += int(number)
        for state, code, message, number, last in conn.execute(_troubles(mine)):
            group = (TaskState(state), code, str(message))
            self.groups[group] += int(number)
            self.newest[group] = max(int(last), self.newest.get(group, 0))
        where = (tasks.c.account, tasks.c.endpoint, tasks.c.req_key)
        self.scopes |= {Scope(*row) for row in conn.execute(select(*where).where(mine).distinct())}
        self._add_times(conn, mine)

    def _add_times(self, conn: Connection, mine: ColumnElement[bool]) -> None:
        times = (tasks.c.created_at, tasks.c.submitted_at, tasks.c.finished_at, tasks.c.landed_at)
        for created, submitted, finished, landed_at, state, billed in conn.execute(
            select(*times, tasks.c.state, tasks.c.possibly_billed).where(mine)
        ):
            self.started = created if self.started is None else min(self.started, created)
            self.refused += state == str(TaskState.REJECTED)
            self.doubtful += bool(billed) and state != str(TaskState.LANDED)
            if submitted is not None:
                self.spans.append((submitted, finished))
            if landed_at is not None:
                self.landed.append(landed_at)

    def trouble(self, group: _Group) -> Trouble:
        state, code, message = group
        count, row = self.groups[group], self.newest[group]
        return Trouble(state=state, code=code, message=message, count=count, row=row)


def run_view(conn: Connection, attempt_scopes: Collection[str]) -> RunView:
    """
    Add up what some task instances did.

    :param attempt_scopes: see :attr:`.records.Provenance.attempt_scope`.
    """
    found = _Sum()
    for mine in _in_pieces(attempt_scopes):
        found.add(conn, mine)
    return RunView(
        now=read_clock(conn),
        counts={state: found.counts[state] for state in TaskState if found.counts[state]},
        submits=len(found.spans),
        refused=found.refused,
        possibly_billed=found.doubtful,
        started_at=found.started,
        spans=found.spans,
        landed_lately=sorted(heapq.nlargest(_RECENT, found.landed)),
        troubles=tuple(found.trouble(group) for group, _ in found.groups.most_common()),
        slots={scope: _slots(conn, scope) for scope in sorted(found.scopes, key=lambda each: each.req_key)},
    )


def _troubles(mine: ColumnElement[bool]) -> Any:
    same = (tasks.c.state, tasks.c.code, tasks.c.message)
    return (
        select(*same, func.count(), func.max(tasks.c.id))
        .where(mine, _newest(), tasks.c.state.in_([str(each) for each in _TROUBLE]))
        .group_by(*same)
    )


def _slots(conn: Connection, scope: Scope) -> SlotView:
    configured = conn.execute(select(limits.c.configured).where(in_scope(limits, scope))).scalar()
    return slot_view(conn, scope, configured)


def rows_of_run(
    conn: Connection,
    attempt_scopes: Collection[str],
    states: Collection[TaskState],
    *,
    before: int | None,
    limit: int,
) -> list[TaskRecord]:
    """
    Return some rows of some task instances, newest first.

    :param before: only rows with a smaller number than this.
    """
    plain = select(tasks).where(tasks.c.state.in_(sorted(str(each) for each in states)))
    if before is not None:
        plain = plain.where(tasks.c.id < before)
    plain = plain.order_by(tasks.c.id.desc()).limit(limit)
    walks = [list(conn.execute(plain.where(mine))) for mine in _in_pieces(attempt_scopes)]
    merged = heapq.merge(*walks, key=lambda row: int(row.id), reverse=True)
    return [task_record(row) for row in list(merged)[:limit]]
