# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The row of limits: the lock that every claim takes first, and what all processes share about a scope.

Lock order, everywhere: the account's row, the scope's row, task rows, tickets.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from airflow_provider_jimeng.ledger.engine import read_clock
from airflow_provider_jimeng.ledger.keys import redact_text
from airflow_provider_jimeng.ledger.occupancy import Occupancy, count_holders, count_running, occupancy
from airflow_provider_jimeng.ledger.records import Scope, SlotView
from airflow_provider_jimeng.ledger.rows import bound_scope, in_scope, scope_values
from airflow_provider_jimeng.ledger.schema import digest, limits, waiters
from airflow_provider_jimeng.policy.slots import (
    CoolDown,
    LearnedLimit,
    Ticket,
    after_refusal,
    break_circuit,
    cool_down,
    effective_limit,
    entitled,
    half_open,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

__all__ = [
    "Limits",
    "call_heads",
    "drop_ticket",
    "free_since",
    "lock_account",
    "lock_for_claim",
    "lock_scope",
    "note_misconfigured",
    "note_refused",
    "queue",
    "remark",
    "save_limits",
    "set_breaker",
    "set_paused",
    "slot_view",
    "storable",
]

#: A waiter that was called and did not come for this long is not coming; one that does queues anew.
DEAD_SECONDS = 86400.0
_TEXT_MAX = 2000


def storable(words: str) -> str:
    """Return foreign words as every database takes them, without what may be secret in a URL."""
    clean = words.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
    return redact_text(clean)[:_TEXT_MAX]


def remark(note: str, now: float, words: str) -> str:
    """Return a note with one more line."""
    when = dt.datetime.fromtimestamp(now, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{when} {storable(' '.join(words.split()))}"
    return f"{note}\n{line}" if note else line


@dataclass(frozen=True, slots=True)
class Limits:
    """A row of limits."""

    scope: Scope
    configured: int | None = None
    learned: LearnedLimit = LearnedLimit()
    cool: CoolDown = CoolDown()
    called_at: float | None = None
    breaker: str | None = None
    paused: str | None = None
    note: str = ""

    def limit_at(self, now: float) -> int:
        """Return how many slots may be busy."""
        return effective_limit(self.configured, self.learned, now)

    def cooling_until(self, now: float) -> float | None:
        """Return the end of the cool-down while it runs."""
        return self.cool.until if self.cool.until is not None and now < self.cool.until else None

    def stopped_at(self, now: float) -> str | None:
        """Return why the breaker stops a claim; ``None`` where it is closed, or one claim may try."""
        return None if self.breaker is None or half_open(self.cool, now) else self.breaker


_QUEUE = select(waiters.c.id, waiters.c.called_at).where(bound_scope(waiters)).order_by(waiters.c.id)
_ROW = select(limits).where(bound_scope(limits))
_LOCKED = _ROW.with_for_update()
_OF_ACCOUNT = and_(limits.c.endpoint == "", limits.c.req_key == "")
_OF_SCOPE = and_(limits.c.endpoint == bindparam("of_endpoint"), limits.c.req_key == bindparam("of_req_key"))
# The empty string sorts first everywhere: the account's row is locked first.
_LOCKED_WITH_ACCOUNT = (
    select(limits)
    .where(limits.c.account == bindparam("of_account"), or_(_OF_ACCOUNT, _OF_SCOPE))
    .order_by(limits.c.endpoint, limits.c.req_key)
    .with_for_update()
)


def _account_scope(account: str) -> Scope:
    return Scope(account, "", "")


def _read(conn: Connection, scope: Scope, *, lock: bool) -> Limits | None:
    row = conn.execute(_LOCKED if lock else _ROW, scope_values(scope)).first()
    return None if row is None else _limits(row, scope)


def _limits(row: Any, scope: Scope) -> Limits:
    # The caller's names: a database may take others for equal (MySQL: with a space at their end).
    values = row._mapping
    return Limits(
        scope=scope,
        configured=values["configured"],
        learned=LearnedLimit(values["proven"], values["ceiling"], values["probe_after"], values["refusals"]),
        cool=CoolDown(values["cooldown_until"], values["cooldown_streak"]),
        called_at=values["called_at"],
        breaker=values["breaker"],
        paused=values["paused"],
        note=values["note"],
    )


def _values(row: Limits) -> dict[str, Any]:
    return {
        "configured": row.configured,
        "proven": row.learned.proven,
        "ceiling": row.learned.ceiling,
        "probe_after": row.learned.probe_after,
        "refusals": row.learned.refusals,
        "cooldown_until": row.cool.until,
        "cooldown_streak": row.cool.streak,
        "called_at": row.called_at,
        "breaker": row.breaker,
        "paused": row.paused,
        "note": row.note,
    }


def save_limits(conn: Connection, row: Limits) -> None:
    """Write a locked row of limits back."""
    conn.execute(update(limits).where(in_scope(limits, row.scope)).values(**_values(row)))


def lock_scope(conn: Connection, scope: Scope) -> Limits:
    """Lock a scope's row until the transaction ends; makes it where it is missing."""
    found = _read(conn, scope, lock=True)
    if found is None:
        # A twin that does the same wins the primary key; the whole work is then tried again.
        found = Limits(scope)
        keys = {"account": scope.account, "endpoint": scope.endpoint, "req_key": scope.req_key}
        conn.execute(insert(limits).values(**keys, **_values(found)))
    return found


def lock_account(conn: Connection, account: str) -> Limits:
    """Lock the row of an account, which carries the pause switch and serialises its daily limit."""
    return lock_scope(conn, _account_scope(account))


def lock_for_claim(conn: Connection, scope: Scope) -> tuple[Limits, Limits]:
    """Lock the account's row and then the scope's, in one round trip; makes those that are missing."""
    account = _account_scope(scope.account)
    rows = [_limits(row, scope) for row in conn.execute(_LOCKED_WITH_ACCOUNT, scope_values(scope))]
    if len(rows) == 2:
        return replace(rows[0], scope=account), rows[1]
    # What a twin made while this waited for the account is not in the answer: look again, under the lock.
    return lock_scope(conn, account), lock_scope(conn, scope)


def queue(conn: Connection, scope: Scope) -> list[Ticket]:
    """Return the tickets of a scope, oldest first."""
    return [Ticket(row[0], row[1]) for row in conn.execute(_QUEUE, scope_values(scope))]


def free_since(row: Limits, occupied: Occupancy, now: float) -> float | None:
    """
    Return since when the free slots may have been free without anybody being called.

    Every write calls the heads of the queue; between two writes only time moves: a cool-down ends, an unknown
    gets too old to count, a ceiling is due for a probe.
    """
    passed = (row.called_at, row.cool.until, row.learned.probe_after, occupied.aged_at)
    return max((each for each in passed if each is not None and each <= now), default=None)


def call_heads(conn: Connection, row: Limits, now: float) -> None:
    """Call the tickets whose turn it is; the last step of everything that may free a slot."""
    tickets = queue(conn, row.scope)
    if not tickets:
        return
    dead = [each.id for each in tickets if each.called_at is not None and now - each.called_at > DEAD_SECONDS]
    if dead:
        conn.execute(delete(waiters).where(waiters.c.id.in_(dead)))
    free = row.limit_at(now) - count_holders(conn, row.scope, now)
    turn = entitled(tickets, free, now)
    heads = [ticket.id for ticket in tickets if ticket.id in turn and ticket.called_at is None]
    when = row.cooling_until(now) or now
    if heads:
        conn.execute(update(waiters).where(waiters.c.id.in_(heads)).values(called_at=when))
    conn.execute(update(limits).where(in_scope(limits, row.scope)).values(called_at=now))


def drop_ticket(conn: Connection, scope: Scope, waiter: str) -> None:
    """Give up a place in the queue."""
    row = lock_scope(conn, scope)
    remove_ticket(conn, scope, waiter)
    call_heads(conn, row, read_clock(conn))


def remove_ticket(conn: Connection, scope: Scope, waiter: str) -> None:
    """Delete a waiter's ticket, if it has one; the caller calls the next."""
    conn.execute(
        delete(waiters).where(in_scope(waiters, scope), waiters.c.waiter_digest == digest(waiter)),
    )


def note_refused(
    conn: Connection,
    scope: Scope,
    *,
    concurrency: bool,
    in_use: int | None,
    retry_after: float | None,
    jitter: float,
) -> None:
    """Begin or lengthen the shared cool-down; a refusal for concurrency also teaches a ceiling."""
    row = lock_scope(conn, scope)
    now = read_clock(conn)
    learned = row.learned
    cool = cool_down(row.cool, now, retry_after=retry_after, jitter=jitter)
    if concurrency:
        running = count_running(conn, scope, now) if in_use is None else in_use
        learned = after_refusal(learned, running, now, configured=row.configured, cool_until=cool.until)
    row = Limits(scope, row.configured, learned, cool, row.called_at, row.breaker, row.paused, row.note)
    save_limits(conn, row)
    call_heads(conn, row, now)


def note_misconfigured(conn: Connection, scope: Scope, *, reason: str, jitter: float) -> None:
    """Count a refusal for the account's set-up; the third in a row opens the breaker for a while."""
    row = lock_scope(conn, scope)
    now = read_clock(conn)
    opens, cool = break_circuit(row.cool, now, jitter=jitter)
    row = replace(row, cool=cool)
    if opens and row.breaker is None:
        note = remark(row.note, now, f"breaker tripped: {reason}")
        row = replace(row, breaker=storable(reason), note=note)
    save_limits(conn, row)


def set_paused(conn: Connection, account: str, *, by: str, reason: str, paused: bool) -> None:
    """Turn the pause switch; a claim that began before has ended when this returns."""
    row = lock_account(conn, account)
    word = "paused" if paused else "resumed"
    note = remark(row.note, read_clock(conn), f"{word} by {by}: {reason}")
    words = storable(f"by {by}: {reason}") if paused else None
    conn.execute(
        update(limits).where(in_scope(limits, row.scope)).values(paused=words, note=note),
    )


def set_breaker(conn: Connection, scope: Scope, reason: str | None) -> None:
    """Trip the breaker of a scope until it is cleared, or clear it (``None``)."""
    row = lock_scope(conn, scope)
    now = read_clock(conn)
    words = "breaker cleared" if reason is None else f"breaker tripped: {reason}"
    breaker = None if reason is None else storable(reason)
    save_limits(conn, replace(row, cool=CoolDown(), breaker=breaker, note=remark(row.note, now, words)))


def blocked_by(account: Limits | None, row: Limits, now: float) -> tuple[str, str] | None:
    """Return the switch that stops every claim of a scope, and its words."""
    if account is not None and account.paused is not None:
        return "paused", account.paused
    stopped = row.stopped_at(now)
    return None if stopped is None else ("breaker", stopped)


def slot_view(conn: Connection, scope: Scope, configured_limit: int | None) -> SlotView:
    """Return what a waiter may know; writes nothing and locks nothing."""
    account = _read(conn, _account_scope(scope.account), lock=False)
    row = _read(conn, scope, lock=False) or Limits(scope)
    now = read_clock(conn)
    occupied = occupancy(conn, scope, now)
    limit = effective_limit(configured_limit, row.learned, now)
    cooling = row.cooling_until(now)
    tickets = queue(conn, scope)
    callable_now: Sequence[Ticket] = () if cooling is not None else tickets
    free = limit - len(occupied.holders)
    stop = blocked_by(account, row, now)
    return SlotView(
        now=now,
        in_use=len(occupied.holders),
        limit=limit,
        cooldown_until=cooling,
        entitled=frozenset(entitled(callable_now, free, now, free_since=free_since(row, occupied, now))),
        holders=occupied.holders,
        waiting=tuple(ticket.id for ticket in tickets),
        blocked=None if stop is None else " ".join(stop),
    )
