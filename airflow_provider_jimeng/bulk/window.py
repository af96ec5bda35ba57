# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How many submits a run may try now, per req_key.

The ledger alone decides who gets a slot; this only keeps a run from asking it in vain, and from missing its
turn. No clock and no thread of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_jimeng.lifecycle.settle import worth_asking

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_jimeng.bulk.content import Content
    from airflow_provider_jimeng.ledger.records import Scope, SlotView
    from airflow_provider_jimeng.lifecycle.ensured import Waiting

#: How often a waiting run looks whether it is its turn.
LOOK_SECONDS = 0.3
#: How often a full house is asked whether its holders are still alive, as a claim does.
_SETTLE_SECONDS = 10.0
#: What is to be tried within this time counts as work that is there.
_SOON_SECONDS = 5.0


@dataclass(slots=True)
class Window:
    """
    The submits of one req_key.

    :param configured: slots from the connection, ``None``: learned.
    :param pending: contents that wait for their submit, the next one first.
    :param allowance: claims that may be tried without knowing of a reason against them.
    :param ticket: the place in the queue, while the run waits for its turn.
    :param doubtful: whether the ticket may be gone: a claim that succeeds takes it along if it came later.
    :param trying: submits that are under way.
    :param limit: slots, as far as the ledger has told.
    :param frees: slots of this run's that have come free.
    """

    scope: Scope
    configured: int | None
    pending: deque[Content] = field(default_factory=deque)
    allowance: int = 1
    ticket: int | None = None
    doubtful: bool = False
    trying: int = 0
    limit: int | None = None
    frees: int = 0
    look_at: float = 0.0
    settle_at: float = 0.0

    def __post_init__(self) -> None:
        if self.configured is not None:
            self.allowance = self.limit = self.configured

    def renumber(self, configured: int | None) -> None:
        """Take in how many slots the connection has by now: what was bought meanwhile can be filled."""
        if configured == self.configured:
            return
        if configured is not None:
            self.allowance += max(0, configured - (self.limit or 0))
            self.limit = configured
        self.configured = configured

    def may_try(self) -> bool:
        """Return whether there is something to submit, and no reason to think that it will be refused."""
        return bool(self.pending) and self.allowance > 0

    def has_trouble(self) -> bool:
        """Return whether a content waits out its trouble, and could be submitted but for that."""
        return self.may_try() and any(each.troubles for each in self.pending)

    def has_enough(self, ahead: int, now: float) -> bool:
        """Return whether as many contents as are read ahead wait for a slot; one given up waits for none."""
        if len(self.pending) < ahead:
            return False
        return sum(each.not_before <= now + _SOON_SECONDS for each in self.pending) >= ahead

    def tried(self) -> int:
        """Note that a submit begins; return how many slots had come free by then."""
        self.allowance -= 1
        self.trying += 1
        return self.frees

    def ended(self) -> None:
        """A submit has come to something."""
        self.trying -= 1

    def accepted(self) -> None:
        """The vendor took a task: with slots that are learned, one more may be there."""
        if self.ticket is not None:
            # Only the ledger knows: of two claims at once the other may have queued after this one succeeded.
            self.doubtful, self.look_at = True, 0.0
        if self.configured is None:
            self.allowance = max(self.allowance, 1)

    def freed(self) -> None:
        """A slot of this run's has come free, or a claim turned out to need none."""
        self.allowance += 1
        self.frees += 1

    def must_wait(self, waiting: Waiting, now: float, frees: int) -> None:
        """
        There was no slot: wait for the ticket's turn.

        :param frees: what :meth:`tried` returned; a slot that came free since then is worth another try.
        """
        self.allowance = int(self.frees > frees)
        self.ticket, self.limit, self.doubtful = waiting.ticket_id, waiting.limit, False
        self.look_at = now + LOOK_SECONDS
        if not self.settle_at:
            self.settle_at = now + _SETTLE_SECONDS

    def looked(self, view: SlotView, mine: Collection[str], now: float) -> None:
        """Take in whose turn it is."""
        self.look_at, self.limit = now + LOOK_SECONDS, view.limit
        free = view.limit - view.in_use
        self.doubtful = False
        if self.ticket in view.entitled:
            self.allowance = max(1, min(free, len(self.pending)))
        elif self.ticket not in view.waiting or view.blocked is not None:
            self.allowance = 1
        elif free <= 0 and now >= self.settle_at:
            self.settle_at = now + _SETTLE_SECONDS
            strangers = (each for each in view.holders if each.task_id not in mine)
            # The claim asks the vendor about those, and frees the slots of tasks that nobody watches.
            self.allowance = int(any(worth_asking(each, view.now) for each in strangers))
