# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a person does to rows.

Each change says who did it and why: in the row or, where no row is left, with the account.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, select, update

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.ledger import late_ids, moves
from airflow_provider_jimeng.ledger.claim import settle_stale
from airflow_provider_jimeng.ledger.engine import read_clock
from airflow_provider_jimeng.ledger.limits import (
    lock_account,
    lock_scope,
    remark,
    save_limits,
    set_paused,
)
from airflow_provider_jimeng.ledger.parts import content_of, keys_of
from airflow_provider_jimeng.ledger.records import LostRace, Scope, TaskRecord
from airflow_provider_jimeng.ledger.rows import must_get
from airflow_provider_jimeng.ledger.schema import digest, landings, limits, tasks
from airflow_provider_jimeng.ledger.states import TaskState, may_move
from airflow_provider_jimeng.ledger.views import by_task_id, landing_at, latest
from airflow_provider_jimeng.policy.slots import CoolDown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ColumnElement

    from airflow_provider_jimeng.ledger.records import LandingRecord

__all__ = [
    "FORGETTABLE",
    "PRUNABLE",
    "Prunable",
    "adopt",
    "forget_landing",
    "forget_row",
    "may_be_forgotten",
    "note_pruning",
    "prunable",
    "prune_some",
    "release",
    "resume",
]

#: Rows that hold no slot and whose task nobody waits for any more.
PRUNABLE = (TaskState.REJECTED, TaskState.FAILED, TaskState.EXPIRED, TaskState.RELEASED)
FORGETTABLE = frozenset({*PRUNABLE, TaskState.LANDED})

_CHANGED = "The row was changed or removed meanwhile; nothing was changed by this. Look at it again."


def release(
    conn: Connection, record_id: int, *, reason: str, by: str, min_age_seconds: float | None
) -> TaskRecord:
    """
    Release an unknown, or an intent whose owner fell silent, which is one that no claim has met yet.

    :raises TooEarly: it is younger than ``min_age_seconds``.
    :raises LostRace: it is anything else.
    """
    seen = must_get(conn, record_id)
    lock_scope(conn, seen.scope)
    settle_stale(conn, seen.scope)
    return moves.release(conn, record_id, reason=reason, by=by, min_age_seconds=min_age_seconds)


def adopt(conn: Connection, record_id: int, task_id: str, *, by: str) -> TaskRecord:
    """
    Keep an id that a person found for a row: in the row, or in a further one where it can't take it.

    :raises LostRace: another row keeps the id already.
    """
    seen = must_get(conn, record_id)
    lock_scope(conn, seen.scope)
    row = must_get(conn, record_id, lock=True)
    if row.task_id == task_id or may_move(row.state, TaskState.SUBMITTED):
        return late_ids.adopt(conn, record_id, task_id, by)
    other = by_task_id(conn, task_id, row.scope)
    if other is not None:
        raise LostRace(
            f"The id is already kept by row {other.id}; nothing was changed. Look that row up.",
            task_id=task_id,
            content_key=other.content_key,
        )
    kept = late_ids.record_created(conn, row, task_id=task_id, request_id=None)
    _annotate(conn, kept, read_clock(conn), f"id adopted by {by}")
    return must_get(conn, kept.id)


def may_be_forgotten(record: TaskRecord, standing: TaskRecord | None) -> bool:
    """
    Tell whether forgetting a row loses no task that runs, waits to be fetched, or is in doubt.

    :param standing: what stands for the row's content. A row that was replaced stands again where its
        successor came to nothing.
    """
    if record.state in FORGETTABLE:
        return True
    return record.superseded and (standing is None or standing.id != record.id)


def forget_row(conn: Connection, seen: TaskRecord, *, reason: str, by: str) -> TaskRecord:
    """
    Delete a row with its landings; the account's note keeps what it was, who deleted it, and why.

    :param seen: the row as the person saw it.
    :raises LostRace: it is not that any more, or may not be forgotten.
    """
    account = lock_account(conn, seen.scope.account)
    lock_scope(conn, seen.scope)
    row = must_get(conn, seen.id, lock=True)
    if row.revision != seen.revision:
        raise LostRace(_CHANGED, content_key=row.content_key, task_id=row.task_id)
    if not may_be_forgotten(row, latest(conn, row.content_key)):
        raise LostRace(
            f"The row is {row.state}, which can't be forgotten: a paid task would be lost. Nothing was "
            "changed.",
            content_key=row.content_key,
            task_id=row.task_id,
        )
    _delete_landings(conn, {(key, row.attempt) for key in keys_of(row.content_key, row.scope.req_key)})
    conn.execute(delete(tasks).where(tasks.c.id == row.id))
    words = (
        f"row {row.id} (content {row.content_key}, attempt {row.attempt}, {row.state}, task {row.task_id}) "
        f"forgotten by {by}: {reason}"
    )
    note = remark(account.note, read_clock(conn), words)
    _write_account_note(conn, seen.scope.account, note)
    return row


def forget_landing(conn: Connection, uri: str, *, reason: str, by: str) -> LandingRecord:
    """
    Write that nothing lies at a place any more; the rows of the content say who did, and why.

    :raises LostRace: the ledger knows of no landing there.
    """
    seen = landing_at(conn, uri)
    if seen is None:
        raise LostRace("The ledger knows of no landing there; nothing was changed.")
    attempt = and_(tasks.c.content_key == content_of(seen.content_key), tasks.c.attempt == seen.attempt)
    row_id = conn.execute(select(tasks.c.id).where(attempt)).scalar()
    row = None if row_id is None else must_get(conn, int(row_id), lock=True)
    done = conn.execute(
        delete(landings).where(
            landings.c.uri_digest == digest(uri), landings.c.content_key == seen.content_key
        )
    )
    if done.rowcount != 1:
        raise LostRace(_CHANGED, content_key=seen.content_key)
    if row is not None:
        _annotate(conn, row, read_clock(conn), f"landing {uri} forgotten by {by}: {reason}")
    return seen


def _annotate(conn: Connection, row: TaskRecord, now: float, words: str) -> None:
    # No new revision: whoever works on the row need not mind.
    conn.execute(update(tasks).where(tasks.c.id == row.id).values(note=remark(row.note, now, words)))


def _write_account_note(conn: Connection, account: str, note: str) -> None:
    here = and_(limits.c.account == account, limits.c.endpoint == "", limits.c.req_key == "")
    conn.execute(update(limits).where(here).values(note=note))


def resume(conn: Connection, account: str, *, reason: str, by: str) -> list[Scope]:
    """Undo a pause and close the account's circuit breakers; return the scopes of those."""
    set_paused(conn, account, by=by, reason=reason, paused=False)
    query = (
        select(limits.c.endpoint, limits.c.req_key)
        .where(limits.c.account == account, limits.c.breaker.is_not(None))
        .order_by(limits.c.endpoint, limits.c.req_key)
    )
    scopes = [Scope(account, row[0], row[1]) for row in conn.execute(query)]
    for scope in scopes:
        row = lock_scope(conn, scope)
        note = remark(row.note, read_clock(conn), f"breaker cleared by {by}: {reason}")
        save_limits(conn, replace(row, cool=CoolDown(), breaker=None, note=note))
    return scopes


@dataclass(frozen=True, slots=True)
class Prunable:
    """
    What may go.

    :param before: rows that were finished before this time, by the database's clock.
    :param landed: landed rows too, with their landings.
    """

    account: str | None
    before: float
    landed: bool


def _prunable_walks(conn: Connection, what: Prunable) -> list[tuple[ColumnElement[bool], TaskState]]:
    """
    Return a condition per index walk, and what its rows are by now.

    Beside a content's own row nobody waits for a further id of it: twelve hours after its submit it has
    expired, whether or not anybody has come to write that down.
    """
    states = [*PRUNABLE, TaskState.LANDED] if what.landed else list(PRUNABLE)
    ended = func.coalesce(tasks.c.landed_at, tasks.c.finished_at, tasks.c.created_at)
    common = [tasks.c.created_at < what.before, ended < what.before]
    if what.account is not None:
        common.append(tasks.c.account == what.account)
    forgotten = read_clock(conn) - TASK_LIFETIME_SECONDS
    beside = and_(tasks.c.extra, tasks.c.live_key.is_(None), tasks.c.submitted_at < forgotten)
    return [
        *((and_(tasks.c.state == str(state), *common), state) for state in states),
        *(
            (and_(tasks.c.state == str(state), beside, *common), TaskState.EXPIRED)
            for state in (TaskState.SUBMITTED, TaskState.SUCCEEDED)
        ),
    ]


def prunable(conn: Connection, what: Prunable) -> Mapping[tuple[str, TaskState], int]:
    """Count what would go, per account and state."""
    found: Counter[tuple[str, TaskState]] = Counter()
    for walk, state in _prunable_walks(conn, what):
        query = select(tasks.c.account, func.count()).where(walk)
        for account, number in conn.execute(query.group_by(tasks.c.account)):
            found[str(account), state] += int(number)
    return found


def prune_some(conn: Connection, what: Prunable, *, limit: int) -> Mapping[tuple[str, TaskState], int]:
    """
    Delete up to ``limit`` rows that may go, in one short transaction, and count them; nothing left: empty.

    Rows that came back to life since they were looked for (a late id) stay.
    """
    for walk, state in _prunable_walks(conn, what):
        columns = (tasks.c.id, tasks.c.account, tasks.c.content_key, tasks.c.attempt, tasks.c.req_key)
        query = select(*columns).where(walk).order_by(tasks.c.created_at).limit(limit)
        rows = list(conn.execute(query.with_for_update()))
        if not rows:
            continue
        conn.execute(delete(tasks).where(tasks.c.id.in_([row.id for row in rows])))
        _delete_landings(
            conn, {(key, row.attempt) for row in rows for key in keys_of(row.content_key, row.req_key)}
        )
        return Counter((str(row.account), state) for row in rows)
    return {}


def _delete_landings(conn: Connection, attempts: set[tuple[str, int]]) -> None:
    keys = sorted({key for key, _ in attempts})
    query = select(landings.c.id, landings.c.content_key, landings.c.attempt)
    found = conn.execute(query.where(landings.c.content_key.in_(keys)))
    gone: Sequence[int] = [row.id for row in found if (row.content_key, row.attempt) in attempts]
    conn.execute(delete(landings).where(landings.c.id.in_(gone)))


def note_pruning(conn: Connection, account: str, words: str) -> None:
    """Write into the account's note what is about to be pruned, by whom and why."""
    row = lock_account(conn, account)
    _write_account_note(conn, account, remark(row.note, read_clock(conn), words))
