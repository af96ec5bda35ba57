# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How many slots there are, who may take one, and how long everybody keeps still after a refusal.

Pure: the ledger reads rows, asks here, and writes what comes back. Times are epoch seconds, durations
seconds.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CALL_GRACE_SECONDS",
    "CoolDown",
    "LearnedLimit",
    "Ticket",
    "after_acceptance",
    "after_refusal",
    "break_circuit",
    "cool_down",
    "effective_limit",
    "entitled",
    "half_open",
]

#: How long a called waiter has the slot to itself.
CALL_GRACE_SECONDS = 30.0

#: First and longest time for which a ceiling that 50430 taught is believed.
PROBE_SECONDS = 600.0
PROBE_SECONDS_MAX = 4 * 3600.0
#: First time where the number of slots is configured: the vendor contradicts the user, and a single 50430 is
#: often only late news of a task that ended. A wrong belief leaves paid slots idle, a probe costs a refusal.
CONFIGURED_PROBE_SECONDS = 30.0

#: First and longest shared cool-down.
COOL_DOWN_SECONDS = 2.0
COOL_DOWN_SECONDS_MAX = 60.0
#: A vendor that asks for longer than this is not believed: a waiting account is an idle slot.
RETRY_AFTER_SECONDS_MAX = 600.0
#: Refusals in a row that say that the account is set up wrongly, before nobody asks any more; a person who
#: corrects a key and tries again at once is not held up.
BREAK_AFTER = 3
#: First and longest time for which a circuit breaker stays open before one claim may try.
BREAKER_SECONDS = 10.0
BREAKER_SECONDS_MAX = 900.0
#: How far wake-ups after a cool-down are spread, as a share of it.
SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class LearnedLimit:
    """
    What the vendor's answers taught about the number of slots.

    :param proven: most tasks that ran at once since the last refusal.
    :param ceiling: tasks that ran when 50430 came.
    :param probe_after: until when the ceiling is believed.
    :param refusals: ceilings in a row without an acceptance above them; each doubles the time until the next
        probe.
    """

    proven: int = 0
    ceiling: int | None = None
    probe_after: float | None = None
    refusals: int = 0

    def ceiling_at(self, now: float) -> int | None:
        """Return the ceiling while it is believed."""
        if self.ceiling is None or self.probe_after is None or now >= self.probe_after:
            return None
        return self.ceiling


def effective_limit(configured: int | None, learned: LearnedLimit, now: float) -> int:
    """
    Return how many slots may be busy now.

    Without a configured number one more than is proven is tried, so that an account's slots are found one
    refusal at a time; a refusal costs nothing, an idle slot does. A configured number is the user's knowledge
    and is only lowered while a ceiling is fresh (a plan that shrank, another program on the same account).
    """
    limit = learned.proven + 1 if configured is None else configured
    ceiling = learned.ceiling_at(now)
    return limit if ceiling is None else min(limit, ceiling)


def after_refusal(
    learned: LearnedLimit,
    in_use: int,
    now: float,
    *,
    configured: int | None = None,
    cool_until: float | None = None,
) -> LearnedLimit:
    """
    Return what a 50430 teaches.

    A configured number is believed again much sooner than a learned one, and the time until then doubles only
    with each probe that is refused, too. It is counted from the end of the cool-down, before which nobody
    tries: in a storm of refusals there is one submit after each cool-down, and not a burst.

    :param in_use: tasks known to run when the refusal came, without the refused one. With none of ours
        running somebody else uses the account; one at a time is still tried, at the pace of the cool-down.
    :param configured: slots from the connection, ``None``: learned.
    :param cool_until: the end of the cool-down that the refusal leads to.
    """
    ceiling = max(1, in_use)
    fresh = learned.ceiling_at(now)
    refusals = learned.refusals
    if fresh is None:
        refusals += 1
    else:
        # Not a failed probe: the answer to a send that was under way when the ceiling was learned.
        ceiling = min(ceiling, fresh)
    first = PROBE_SECONDS if configured is None else CONFIGURED_PROBE_SECONDS
    wait = min(first * 2.0 ** min(refusals - 1, 16), PROBE_SECONDS_MAX)
    begin = now if configured is None or cool_until is None else max(now, cool_until)
    return LearnedLimit(min(learned.proven, ceiling), ceiling, begin + wait, refusals)


def after_acceptance(learned: LearnedLimit, in_use: int) -> LearnedLimit:
    """
    Return what an accepted submit teaches.

    :param in_use: tasks known to run, with the accepted one.
    """
    raised = replace(learned, proven=max(learned.proven, in_use))
    if learned.ceiling is not None and in_use > learned.ceiling:
        return LearnedLimit(raised.proven)
    return raised


@dataclass(frozen=True, slots=True)
class CoolDown:
    """
    A pause that all processes share.

    :param until: when it ends; ``None`` where there was none.
    :param streak: refusals in a row, which make it longer.
    """

    until: float | None = None
    streak: int = 0


def cool_down(
    current: CoolDown, now: float, *, retry_after: float | None = None, jitter: float = 0.0
) -> CoolDown:
    """
    Return the cool-down after a refusal (50429, 50430 or the gateway's flow limit).

    It doubles from 2 s to 60 s. Refusals that come while it already runs answer sends that were under way:
    they can only lengthen it to what the vendor asks for.

    :param retry_after: seconds the vendor asked for.
    :param jitter: in [0, 1); spreads the end over a quarter of the time.
    """
    asked = min(retry_after or 0.0, RETRY_AFTER_SECONDS_MAX)
    if current.until is not None and now < current.until:
        return replace(current, until=max(current.until, now + asked))
    grown = min(COOL_DOWN_SECONDS * 2.0 ** min(current.streak, 16), COOL_DOWN_SECONDS_MAX)
    return CoolDown(now + max(grown, asked) * (1.0 + SPREAD * jitter), current.streak + 1)


def break_circuit(current: CoolDown, now: float, *, jitter: float = 0.0) -> tuple[bool, CoolDown]:
    """
    Return whether a circuit breaker opens after a refusal for the account's set-up, and until when.

    Such a refusal costs nothing, but every further submit meets it too. It opens at the third in a row.
    Refusals that come while it is open answer sends that were under way, or the one that tried.

    :param jitter: in [0, 1); spreads the end over a quarter of the time.
    """
    if current.streak >= BREAK_AFTER and current.until is not None and now < current.until:
        return True, current
    streak = current.streak + 1
    if streak < BREAK_AFTER:
        return False, replace(current, streak=streak)
    return True, CoolDown(now + _open_for(streak) * (1.0 + SPREAD * jitter), streak)


def half_open(current: CoolDown, now: float) -> CoolDown | None:
    """
    Return what an open breaker becomes if one claim tries now, ``None`` while none may.

    Who tries pays for the next pause beforehand, so that it is the only one until its answer is known, and a
    breaker whose trial dies opens again by itself: an account that was put right is never stuck.
    """
    if current.until is None or now < current.until:
        return None
    return CoolDown(now + _open_for(current.streak + 1), current.streak + 1)


def _open_for(streak: int) -> float:
    return min(BREAKER_SECONDS * 2.0 ** min(max(streak - BREAK_AFTER, 0), 16), BREAKER_SECONDS_MAX)


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    A place in the queue; smaller ids are older.

    :param called_at: when the waiter was told that it is its turn; ``None``: not yet, or it came and stays.
    """

    id: int
    called_at: float | None = None


def entitled(
    tickets: Sequence[Ticket],
    free: int,
    now: float,
    call_grace: float = CALL_GRACE_SECONDS,
    free_since: float | None = None,
) -> set[int]:
    """
    Return the ids of the tickets that may take a slot now: first come, first served.

    A free slot is kept for the oldest ticket, for ``call_grace`` seconds from when it was called. Whoever
    does not come by then keeps its seniority, but the slot is also offered to the next: a dead waiter blocks
    nobody, and a slow one loses nothing but this slot. Where more are missing than slots are free (a whole
    run was deleted), each of them passes two offers on: a slot must not idle through two hundred graces.

    :param free: number of free slots.
    :param free_since: since when they have been free, where that came about by time alone (a cool-down's end,
        an aged unknown) and nobody could be called: a ticket that was not called counts as called then, and
        the one after it ``call_grace`` later. ``None``: since just now.
    """
    offers = [now if free_since is None else min(free_since, now)] * max(free, 0)
    chosen: set[int] = set()
    missing = 0
    for ticket in sorted(tickets, key=lambda each: each.id):
        if not offers:
            break
        offered = heapq.heappop(offers)
        chosen.add(ticket.id)
        called = offered if ticket.called_at is None else ticket.called_at
        if now - called > call_grace:
            missing += 1
            passed_on = max(offered, called + call_grace)
            for _ in range(1 if missing <= free else 2):
                heapq.heappush(offers, passed_on)
    return chosen
