# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The questions of a bulk run: many contents at once, and what a whole run came to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import and_, func, select

from airflow_provider_jimeng.ledger.moves import asked_at
from airflow_provider_jimeng.ledger.rows import landing_record, task_record
from airflow_provider_jimeng.ledger.schema import digest, landings, tasks
from airflow_provider_jimeng.ledger.states import LIVE, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from sqlalchemy.engine import Connection

    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord

__all__ = [
    "BatchQuestions",
    "RunTotals",
    "Span",
    "begun_since_try",
    "first_claim",
    "landings_many",
    "latest_many",
    "not_landed",
    "run_totals",
]

#: Below the most parameters that any supported database takes in one statement (SQLite before 3.32: 999).
_PER_STATEMENT = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """When a task was at the vendor; ``finished_at`` is ``None`` while it is."""

    submitted_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class RunTotals:
    """
    What one task instance came to, over all its tries and legs.

    :param started_at: epoch seconds of its first claim, ``None`` where there was none.
    :param submits: submits that the vendor accepted.
    :param possibly_billed: rows that may have cost money and that no result stands for.
    :param spans: the accepted submits, in the order of their acceptance.
    """

    started_at: float | None
    submits: int
    possibly_billed: int
    spans: tuple[Span, ...]


def latest_many(conn: Connection, keys: Iterable[str]) -> dict[str, TaskRecord]:
    """Return what stands for each content, as :func:`~.views.latest` for one; the unknown are left out."""
    found: dict[str, tuple[tuple[int, int], Any]] = {}
    for some in _in_pieces(keys):
        for row in conn.execute(select(tasks).where(tasks.c.content_key.in_(some))):
            rank = _rank(row._mapping)
            known = found.get(row._mapping["content_key"])
            if known is None or rank > known[0]:
                found[row._mapping["content_key"]] = (rank, row)
    return {key: task_record(row) for key, (_, row) in found.items()}


_LIVE = frozenset(str(state) for state in LIVE)


def _rank(values: Any) -> tuple[int, int]:
    if values["live_key"] is not None:
        return 2, values["attempt"]
    if values["extra"] and not values["superseded"] and values["state"] in _LIVE:
        return 1, values["attempt"]
    state, billed = values["state"], values["possibly_billed"]
    nothing = state == str(TaskState.REJECTED) or (state == str(TaskState.RELEASED) and not billed)
    return -int(nothing), values["attempt"]


def landings_many(conn: Connection, keys: Iterable[str]) -> dict[str, list[LandingRecord]]:
    """Return where the results of each content lie, newest first; contents without any are left out."""
    found: dict[str, list[LandingRecord]] = {}
    for some in _in_pieces(keys):
        query = select(landings).where(landings.c.content_key.in_(some)).order_by(landings.c.id.desc())
        for row in conn.execute(query):
            record = landing_record(row)
            found.setdefault(record.content_key, []).append(record)
    return found


def run_totals(conn: Connection, attempt_scope: str, since: float | None) -> RunTotals:
    """
    Add up what one task instance did.

    :param since: epoch seconds; leave out what it did before (an earlier run of a DAG run that was cleared).
    """
    mine = [tasks.c.attempt_digest == digest(attempt_scope)]
    if since is not None:
        mine.append(tasks.c.created_at >= since)
    columns = (
        tasks.c.created_at,
        tasks.c.submitted_at,
        tasks.c.finished_at,
        tasks.c.possibly_billed,
        tasks.c.state,
    )
    started: float | None = None
    spans, doubtful = [], 0
    for created, submitted, finished, billed, state in conn.execute(select(*columns).where(and_(*mine))):
        started = created if started is None else min(started, created)
        doubtful += bool(billed) and state != str(TaskState.LANDED)
        if submitted is not None:
            spans.append(Span(submitted, finished))
    spans.sort(key=lambda each: each.submitted_at)
    return RunTotals(started, len(spans), doubtful, tuple(spans))


def first_claim(conn: Connection, attempt_scope: str, since: float | None) -> float | None:
    """
    Return when one task instance first claimed a slot, in epoch seconds; ``None`` where it has not yet.

    :param since: see :func:`run_totals`.
    """
    query = select(func.min(tasks.c.created_at)).where(
        tasks.c.attempt_digest == digest(attempt_scope),
        tasks.c.created_at >= (0.0 if since is None else since),
    )
    first = conn.execute(query).scalar()
    return None if first is None else float(first)


def not_landed(
    conn: Connection, attempt_scope: str, since: float | None, *, after: int, limit: int
) -> list[TaskRecord]:
    """
    Return tasks that one task instance has at the vendor, or whose results it has not stored, oldest first.

    Those that were given up are among them: they are paid for like the others.

    :param since: see :func:`run_totals`.
    :param after: only rows with a greater number than this.
    """
    query = select(tasks).where(
        tasks.c.attempt_digest == digest(attempt_scope),
        tasks.c.state.in_([str(TaskState.SUBMITTED), str(TaskState.SUCCEEDED), str(TaskState.EXPIRED)]),
        tasks.c.id > after,
        tasks.c.created_at >= (0.0 if since is None else since),
    )
    return [task_record(row) for row in conn.execute(query.order_by(tasks.c.id).limit(limit))]


def begun_since_try(
    conn: Connection, attempt_scope: str, since: float | None, *, first_try: int
) -> list[TaskRecord]:
    """
    Return what one task instance has paid for since one of its tries, or may have, oldest first.

    What certainly cost nothing is not among it, nor what was replaced on purpose; what was landed is, and
    what was given up.

    :param since: epoch seconds; leave out what was neither begun nor gone on with since then: a DAG run may
        have been deleted, and made again under its name, whose tries count from one again.
    """
    query = select(tasks).where(
        tasks.c.attempt_digest == digest(attempt_scope),
        tasks.c.state.in_([str(state) for state in (*LIVE, TaskState.EXPIRED)]),
        tasks.c.try_number >= first_try,
        ~tasks.c.superseded,
    )
    rows = [task_record(row) for row in conn.execute(query.order_by(tasks.c.id))]
    return [row for row in rows if since is None or asked_at(row) >= since]


def _in_pieces(keys: Iterable[str]) -> Iterator[list[str]]:
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _PER_STATEMENT):
        yield wanted[start : start + _PER_STATEMENT]


class BatchQuestions(ABC):
    """The part of :class:`~airflow_provider_jimeng.ledger.store.Ledger` that answers for many at once."""

    @abstractmethod
    def _read(self, question: Callable[[Connection], T]) -> T: ...

    def latest_many(self, content_keys: Collection[str]) -> dict[str, TaskRecord]:
        """Return what stands for each of many contents; those the ledger knows nothing of are left out."""
        return self._read(lambda conn: latest_many(conn, content_keys))

    def landings_many(self, content_keys: Collection[str]) -> dict[str, list[LandingRecord]]:
        """Return where the results of many contents lie, newest first."""
        return self._read(lambda conn: landings_many(conn, content_keys))

    def first_claim(self, attempt_scope: str, since: float | None = None) -> float | None:
        """Return when one task instance first claimed a slot; see :func:`first_claim`."""
        return self._read(lambda conn: first_claim(conn, attempt_scope, since))

    def not_landed(
        self, attempt_scope: str, since: float | None = None, *, after: int = 0, limit: int
    ) -> list[TaskRecord]:
        """Return what one task instance paid for and has not stored; see :func:`not_landed`."""
        return self._read(lambda conn: not_landed(conn, attempt_scope, since, after=after, limit=limit))

    def begun_since_try(
        self, attempt_scope: str, since: float | None = None, *, first_try: int
    ) -> list[TaskRecord]:
        """Return what one task instance may have paid for; see :func:`begun_since_try`."""
        return self._read(lambda conn: begun_since_try(conn, attempt_scope, since, first_try=first_try))

    def run_totals(self, attempt_scope: str, since: float | None = None) -> RunTotals:
        """Return what one task instance came to; see :class:`RunTotals`."""
        return self._read(lambda conn: run_totals(conn, attempt_scope, since))
