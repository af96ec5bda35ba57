# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The claim: the one place where a submit is allowed.

In one transaction, under the locks of the account's and the scope's row of limits: look at what stands for
the content, count, and only then insert the intent. Everything a claim says no to leaves no task row behind.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import and_, case, func, insert, literal_column, select, update

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.engine import clock_words
from airflow_provider_jimeng.ledger.limits import (
    Limits,
    blocked_by,
    call_heads,
    free_since,
    lock_for_claim,
    queue,
    remove_ticket,
    save_limits,
    storable,
)
from airflow_provider_jimeng.ledger.occupancy import Crowd, Occupancy, crowd, occupancy
from airflow_provider_jimeng.ledger.records import (
    Claim,
    Claimed,
    ClaimRequest,
    Found,
    MustWait,
    Refused,
    Scope,
    TaskRecord,
)
from airflow_provider_jimeng.ledger.rows import bound_scope, in_scope, insert_task, new_id, scope_values
from airflow_provider_jimeng.ledger.schema import digest, tasks, waiters
from airflow_provider_jimeng.ledger.states import LIVE, SUPERSEDABLE, TaskState
from airflow_provider_jimeng.ledger.views import (
    attempts_in,
    latest,
    new_submits_since,
    spent_in,
)
from airflow_provider_jimeng.policy.slots import CALL_GRACE_SECONDS, entitled, half_open

if TYPE_CHECKING:
    from sqlalchemy import Update
    from sqlalchemy.engine import Connection

__all__ = ["claim", "settle_stale"]

_DAY = 86400.0
#: Between these a waiter that nobody wakes comes back.
_RETRY_SECONDS = (1.0, 60.0)


def claim(conn: Connection, request: ClaimRequest) -> Claim:
    """Decide a claim; see :meth:`airflow_provider_jimeng.ledger.store.Ledger.claim`."""
    account, row = lock_for_claim(conn, request.scope)
    settle_stale(conn, request.scope)
    current = latest(conn, request.content_key)
    if current is None and request.expected_latest is not None:
        raise _gone(request)
    if current is not None and _is_unsent_own(current, request):
        return Claimed(current)
    seen = crowd(conn, request.scope)
    now = seen.now
    if row.configured != request.configured_limit:
        row = replace(row, configured=request.configured_limit)
        save_limits(conn, row)
    answer: Found | Refused | None
    if current is not None and not _may_follow(current, request):
        answer = Found(current)
    else:
        answer = _refusal(conn, request, account, row, now)
    if answer is not None:
        remove_ticket(conn, request.scope, request.waiter)
        call_heads(conn, row, now)
        return answer
    if seen.queued or not _is_free(row, seen):
        waiting = _wait(conn, request, row, now)
        if waiting is not None:
            return waiting
    if row.breaker is not None and (trial := half_open(row.cool, now)) is not None:
        row = replace(row, cool=trial)
        save_limits(conn, row)
    record = _insert_intent(conn, request, current, now)
    if seen.queued:
        remove_ticket(conn, request.scope, request.waiter)
        call_heads(conn, row, now)
    return Claimed(record)


def _is_free(row: Limits, seen: Crowd) -> bool:
    """Tell whether a slot is free for whoever comes; where nobody waits, nobody has to take a ticket."""
    return row.cooling_until(seen.now) is None and seen.counted < row.limit_at(seen.now)


def settle_stale(conn: Connection, scope: Scope) -> None:
    """Make an ``unknown`` of every intent of a scope whose owner was silent for longer than its deadline."""
    conn.execute(_settling(clock_words(conn)), scope_values(scope))


@cache
def _settling(clock: str) -> Update:
    now: Any = literal_column(clock)
    stale = and_(
        bound_scope(tasks),
        tasks.c.state == str(TaskState.INTENT),
        now - func.coalesce(tasks.c.sent_at, tasks.c.created_at) > tasks.c.send_deadline,
    )
    return (
        update(tasks)
        .where(stale)
        .values(
            state=str(TaskState.UNKNOWN),
            revision=tasks.c.revision + 1,
            possibly_billed=tasks.c.send_count > 0,
            message=case(
                (tasks.c.send_count > 0, "The owner fell silent after a send began: a task may exist."),
                else_="The owner fell silent before any send began: nothing was sent for this row.",
            ),
        )
    )


def _is_unsent_own(current: TaskRecord, request: ClaimRequest) -> bool:
    # After a send began the answer is Found even to the owner: a second send for one intent is never offered.
    return current.state is TaskState.INTENT and current.owner == request.owner and current.send_count == 0


def _gone(request: ClaimRequest) -> JimengLedgerError:
    return JimengLedgerError(
        f"Row {request.expected_latest} of the ledger is gone, and nothing else stands for its content. "
        "Nothing was submitted. Look whether somebody pruned or restored the ledger, then run again.",
        content_key=request.content_key,
    )


def _may_follow(current: TaskRecord, request: ClaimRequest) -> bool:
    """Tell whether a new attempt may follow what stands for the content now."""
    if current.id != request.expected_latest:
        return False
    if current.state in SUPERSEDABLE:
        # One that was given up may have been taken back and landed by another run since the caller looked.
        return request.supersede and request.expected_revision in (None, current.revision)
    if current.state is TaskState.FAILED:
        return current.new_attempt_allowed
    return current.state not in LIVE


def _refusal(
    conn: Connection, request: ClaimRequest, account: Limits, row: Limits, now: float
) -> Refused | None:
    stop = blocked_by(account, row, now)
    if stop is not None and stop[0] == "paused":
        return Refused("paused", f"The account is paused {stop[1]}. Nothing was submitted.")
    if stop is not None:
        again = row.cooling_until(now)
        when = "" if again is None else f"; one submit tries again in {again - now:.0f} s"
        return Refused(
            "breaker",
            f"The circuit breaker is open{when}, and `ledger resume` closes it: {stop[1]}. Nothing was "
            "submitted.",
        )
    if request.daily_submit_limit is not None:
        today = new_submits_since(conn, request.scope.account, now - now % _DAY)
        if today >= request.daily_submit_limit:
            return Refused(
                "daily_limit",
                f"The account made {today} submits this UTC day; daily_submit_limit is "
                f"{request.daily_submit_limit}. Nothing was submitted.",
            )
    attempt_scope = request.provenance.attempt_scope
    if request.max_attempts is not None:
        made = attempts_in(conn, request.content_key, attempt_scope)
        if made >= request.max_attempts:
            return Refused(
                "attempts",
                f"This task made {made} attempts at this content; max_attempts is {request.max_attempts}. "
                "Nothing more was submitted.",
            )
    if request.budget is not None:
        spent = spent_in(conn, attempt_scope)
        if spent >= request.budget:
            return Refused(
                "budget",
                f"This run made {spent} new submits; its budget is {request.budget}. "
                "Nothing more was submitted.",
            )
    return None


def _wait(conn: Connection, request: ClaimRequest, row: Limits, now: float) -> MustWait | None:
    occupied = occupancy(conn, request.scope, now)
    in_use, limit = len(occupied.holders), row.limit_at(now)
    cooling = row.cooling_until(now)
    ticket_id = _ticket(conn, request, now)
    since = free_since(row, occupied, now)
    tickets = queue(conn, request.scope)
    turn = entitled(tickets, limit - in_use, now, free_since=since)
    if cooling is None and ticket_id in turn:
        return None
    # Who came and stays is alive: it is called anew when its turn comes.
    conn.execute(update(waiters).where(waiters.c.id == ticket_id).values(called_at=None))
    call_heads(conn, row, now)
    seconds = CALL_GRACE_SECONDS
    reason: Literal["slots", "cooldown", "queue"] = "queue"
    if in_use >= limit:
        reason, seconds = "slots", _next_end(occupied, now)
    elif cooling is not None:
        reason, seconds = "cooldown", 0.0
    return MustWait(
        reason=reason,
        ticket_id=ticket_id,
        in_use=in_use,
        limit=limit,
        retry_after_seconds=max(seconds, (cooling or now) - now),
        holders=occupied.holders,
        ahead=sum(ticket.id < ticket_id for ticket in tickets),
    )


def _next_end(occupied: Occupancy, now: float) -> float:
    """Return the seconds until the first holder is expected to be done."""
    ends = [(each.submitted_at or each.base) + each.expected_seconds for each in occupied.holders]
    least, most = _RETRY_SECONDS
    return min(max(min(ends, default=now) - now, least), most)


def _ticket(conn: Connection, request: ClaimRequest, now: float) -> int:
    scope = request.scope
    mine = and_(in_scope(waiters, scope), waiters.c.waiter_digest == digest(request.waiter))
    found = conn.execute(select(waiters.c.id).where(mine)).scalar()
    if found is not None:
        return int(found)
    done = conn.execute(
        insert(waiters).values(
            account=scope.account,
            endpoint=scope.endpoint,
            req_key=scope.req_key,
            waiter=request.waiter,
            waiter_digest=digest(request.waiter),
            created_at=now,
        )
    )
    return new_id(done)


def _insert_intent(
    conn: Connection, request: ClaimRequest, current: TaskRecord | None, now: float
) -> TaskRecord:
    if current is not None and current.state in SUPERSEDABLE:
        conn.execute(
            update(tasks)
            .where(tasks.c.id == current.id)
            .values(live_key=None, superseded=True, revision=tasks.c.revision + 1)
        )
    return insert_task(
        conn,
        scope=request.scope,
        provenance=request.provenance,
        state=TaskState.INTENT,
        content_key=request.content_key,
        live_key=request.content_key,
        inputs=request.inputs,
        variant=request.variant,
        # The reason as it was given is in the content key; what is kept is for people to read.
        force_new=None if request.force_new is None else storable(request.force_new),
        owner=request.owner,
        created_at=now,
        send_deadline=request.send_deadline,
        expected_seconds=request.expected_seconds,
        validators=request.validators,
        # What stands for a content is found by its rows: where nothing does, there are none.
        attempt=1 if current is None else None,
    )
