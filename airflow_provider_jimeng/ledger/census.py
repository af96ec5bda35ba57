# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How a ledger stands: counts, slots, queue and spending, per account, endpoint and req_key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select

from airflow_provider_jimeng.ledger.engine import read_clock
from airflow_provider_jimeng.ledger.limits import slot_view
from airflow_provider_jimeng.ledger.records import Scope
from airflow_provider_jimeng.ledger.schema import limits, tasks
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.views import submits_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

    from airflow_provider_jimeng.ledger.records import SlotView

__all__ = ["AccountCensus", "ScopeCensus", "census", "switches"]

_DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeCensus:
    """
    One account, endpoint and req_key.

    :param counts: rows per state; a state without rows is left out.
    :param possibly_billed: rows for which money may have been spent without a result.
    :param submits_today: new submits since midnight UTC, as the daily limit counts them.
    :param configured: slots from the connection of the last claim, ``None``: learned.
    :param breaker: why the circuit breaker is open, ``None``: it isn't.
    """

    scope: Scope
    counts: Mapping[TaskState, int]
    possibly_billed: int
    submits_today: int
    configured: int | None
    breaker: str | None
    view: SlotView


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCensus:
    """
    One account.

    :param paused: who paused it and why, ``None``: it isn't paused.
    :param note: what people did to the account, oldest first, one per line.
    """

    account: str
    paused: str | None
    note: str
    scopes: tuple[ScopeCensus, ...]


def census(conn: Connection, account: str | None) -> list[AccountCensus]:
    """Count everything; ``account`` restricts it to one. Reads indexes only, but all of them."""
    query = select(limits).order_by(limits.c.account, limits.c.endpoint, limits.c.req_key)
    if account is not None:
        query = query.where(limits.c.account == account)
    found: dict[str, AccountCensus] = {}
    for row in conn.execute(query):
        name = str(row.account)
        before = found.get(name) or AccountCensus(account=name, paused=None, note="", scopes=())
        if row.endpoint == "" and row.req_key == "":
            found[name] = AccountCensus(account=name, paused=row.paused, note=row.note, scopes=before.scopes)
            continue
        scope = Scope(name, row.endpoint, row.req_key)
        each = _of_scope(conn, scope, row.configured, row.breaker)
        found[name] = AccountCensus(
            account=name, paused=before.paused, note=before.note, scopes=(*before.scopes, each)
        )
    return list(found.values())


def _of_scope(conn: Connection, scope: Scope, configured: int | None, breaker: str | None) -> ScopeCensus:
    here = and_(
        tasks.c.account == scope.account,
        tasks.c.endpoint == scope.endpoint,
        tasks.c.req_key == scope.req_key,
    )
    query = select(tasks.c.state, tasks.c.possibly_billed, func.count()).where(here)
    counts: dict[TaskState, int] = {}
    doubtful = 0
    for state, billed, number in conn.execute(query.group_by(tasks.c.state, tasks.c.possibly_billed)):
        counts[TaskState(state)] = counts.get(TaskState(state), 0) + int(number)
        doubtful += int(number) if billed else 0
    now = read_clock(conn)
    return ScopeCensus(
        scope=scope,
        counts={state: counts[state] for state in TaskState if state in counts},
        possibly_billed=doubtful,
        submits_today=submits_in(conn, scope, now - now % _DAY),
        configured=configured,
        breaker=breaker,
        view=slot_view(conn, scope, configured),
    )


def switches(conn: Connection, account: str) -> list[str]:
    """Return what stops the claims of an account now, each with its reason."""
    stopped = or_(limits.c.paused.is_not(None), limits.c.breaker.is_not(None))
    query = select(limits).where(limits.c.account == account, stopped)
    return [
        f"paused {row.paused}"
        if row.paused is not None
        else f"circuit breaker of {row.req_key} at {row.endpoint} is open: {row.breaker}"
        for row in conn.execute(query.order_by(limits.c.endpoint, limits.c.req_key))
    ]
