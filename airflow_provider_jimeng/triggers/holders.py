# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Which tasks that hold slots are over at the vendor, though the ledger does not know yet.

A slot is free when the vendor says *done*, not when a worker has come round to write that down. Who waits for
a slot learns of it here: from the triggers of this process, or by asking about tasks that none of them
watches. One book per process and event loop: a hundred tickets ask no more than one.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.hooks.jimeng import iso
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.harvest import expectation
from airflow_provider_jimeng.lifecycle.settle import is_overdue, worth_asking
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    decide_poll,
    next_poll_delay,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.client.aio import AsyncClient
    from airflow_provider_jimeng.ledger.records import SlotView, TaskRecord

__all__ = ["Holders", "SeenOver", "holders", "seen_over", "usable_by", "watched_here"]

#: Task ids that a trigger of this process is polling; a waiter for a slot leaves those alone.
watched_here: Counter[str] = Counter()

#: After each of these one ticket more is told of an end that nobody has made use of: some may be dead.
_NOBODY_CAME_SECONDS = 15.0
#: Who has no idea how long a task takes asks for the first time after this.
_FIRST_SECONDS = 2.0
#: For how long what was asked is remembered after a task was last seen holding a slot.
_FORGET_SECONDS = 600.0


#: That a vendor no longer knows a task is for its own watcher to believe.
_OVER = (PollKind.SUCCEEDED, PollKind.FAILED)


class SeenOver:
    """
    Which tasks a trigger of this process saw over a short while ago.

    :param clock: monotonic seconds.
    """

    #: Who was called has come by then; a vendor that takes its word back must not call tickets for ever.
    SECONDS = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, dict[str, Any]]] = {}

    def add(self, task_id: str, state: PollState) -> dict[str, Any]:
        """Remember a task with what its wait has shown, and return what to tell of it; forget old ones."""
        now = self._clock()
        self._told = {each: told for each, told in self._told.items() if now - told[0] < self.SECONDS}
        told = {"task_id": task_id, "poll": state.to_dict(), "seen_at": iso(time.time())}
        return self._told.setdefault(task_id, (now, told))[1]

    def clear(self) -> None:
        """Forget all."""
        self._told = {}

    def get(self, task_id: str | None) -> tuple[float, dict[str, Any]] | None:
        """Return for how many seconds a task has been known to be over, and what to tell of it."""
        at, told = self._told.get(task_id or "", (-self.SECONDS, {}))
        age = self._clock() - at
        return (age, told) if told and age < self.SECONDS else None


seen_over = SeenOver()


def usable_by(ticket_id: int, view: SlotView, seen: SeenOver) -> list[dict[str, Any]]:
    """
    Return the ended tasks that a ticket's leg has to tell the ledger of, to have a slot for itself.

    Empty where it is not the ticket's turn: each end calls the next of those that no free slot is kept for.
    Those before it may not have come yet, so its leg frees their slots, too.
    """
    queue = [each for each in view.waiting if each not in view.entitled]
    if ticket_id not in queue or view.blocked is not None or view.cooldown_until is not None:
        return []
    ended = [
        known
        for each in view.holders
        if worth_asking(each, view.now) and (known := seen.get(each.task_id)) is not None
    ]
    surplus = max(0, view.in_use - view.limit)
    patience = int(max((age for age, _ in ended), default=0.0) / _NOBODY_CAME_SECONDS)
    place = queue.index(ticket_id)
    if place >= len(ended) - surplus + patience:
        return []
    return [told for _, told in ended[: surplus + place + 1]]


class Holders:
    """What the vendor says of the tasks that hold slots, asked no more often than their watchers would."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._states: dict[str, PollState] = {}

    async def find_over(
        self, client: AsyncClient, view: SlotView, *, head: bool, refused: Callable[[], None]
    ) -> TaskRecord | None:
        """
        Return a holder that was just found to be over, if there is one; it is in :data:`seen_over`, too.

        :param head: whether who asks is among the first in the queue, and asks about whatever nobody here
            watches; the others only ask about what is long overdue, since the first may be dead themselves.
        :param refused: called where the vendor refuses who asks, whose keys may have been rotated.
        """
        now = time.time()
        self._forget(now)
        for holder in view.holders:
            if holder.task_id is None or holder.state is not TaskState.SUBMITTED:
                continue
            overdue = is_overdue(holder, view.now)
            if not overdue and (not head or watched_here[holder.task_id] > 0):
                continue
            if not self._is_due(holder, holder.task_id, now):
                continue
            decision = await self._ask(client, holder, holder.task_id, now)
            if decision.kind in _OVER:
                seen_over.add(holder.task_id, self._states[holder.task_id])
                return holder
            if decision.refresh:
                refused()
        return None

    def _is_due(self, holder: TaskRecord, task_id: str, now: float) -> bool:
        if task_id not in self._next:
            delay = self._delay(holder, now)
            self._next[task_id] = now + (delay if expectation(holder) else min(delay, _FIRST_SECONDS))
        return now >= self._next[task_id]

    def _delay(self, holder: TaskRecord, now: float) -> float:
        return next_poll_delay(
            age=now - (holder.submitted_at or now),
            expected=expectation(holder),
            poke_interval=None,
            settings=PollSettings(),
            jitter=random.random(),  # noqa: S311 - jitter may be guessed
        )

    async def _ask(self, client: AsyncClient, holder: TaskRecord, task_id: str, now: float) -> PollDecision:
        self._next[task_id] = now + self._delay(holder, now)
        observation = await client.query(holder.scope.req_key, task_id)
        self._states[task_id], decision = decide_poll(
            self._states.get(task_id, PollState()),
            observation,
            now=time.time(),
            submitted_at=holder.submitted_at,
            deadline=None,
            settings=PollSettings(),
        )
        return decision

    def _forget(self, now: float) -> None:
        old = [task_id for task_id, due in self._next.items() if now - due > _FORGET_SECONDS]
        for task_id in old:
            self._next.pop(task_id)
            self._states.pop(task_id, None)


_BOOKS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Holders] = weakref.WeakKeyDictionary()


def holders() -> Holders:
    """Return the book of the running event loop."""
    return _BOOKS.setdefault(asyncio.get_running_loop(), Holders())
