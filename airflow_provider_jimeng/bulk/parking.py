# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a leg of a run leaves behind to be waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_provider_jimeng.bulk.content import Content
    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.bulk.window import Window
    from airflow_provider_jimeng.ledger.records import Scope, TaskRecord

_SUBMITTED = TaskState.SUBMITTED
#: How often a deferred run looks whether a slot that others held has come free.
_SHARED_LOOK_SECONDS = 60.0
#: For how long a deferral waits for a turn alone; Airflow's own end of it would cost a try.
_LONGEST_WAIT_SECONDS = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Parked:
    """
    What a leg leaves to wait for.

    :param open: tasks at the vendor.
    :param scope: whose slots a claim waits for, with ``content_key`` and ``ticket``, if one does.
    :param expected: seconds that tasks have taken, by scope.
    :param others: scope, content and ticket of further products whose slots a claim waits for.
    :param wait: seconds until asking again makes sense where nobody wakes the run: the end of a task does,
        and the turn of a ticket.
    :param shared: others hold slots of the same account, which may come free without any task of this run's
        ending.
    :param after_line: lines up to this one are done with.
    """

    open: tuple[TaskRecord, ...]
    scope: Scope | None
    content_key: str | None
    ticket: int | None
    wait: float | None
    shared: bool
    after_line: int
    expected: Mapping[Scope, float | None] = field(default_factory=dict)
    others: tuple[tuple[Scope, str, int], ...] = ()

    def look_at(self, now: float, deadline: float | None) -> float | None:
        """
        Return when the run has to look by itself; ``None``: the end of a task comes first.

        :param now: epoch seconds.
        :param deadline: epoch seconds, after which the run submits nothing any more.
        """
        looks = [now + max(1.0, self.wait)] if self.wait is not None else []
        if self.shared and self.open:
            looks.append(now + _SHARED_LOOK_SECONDS)
        if self.scope is not None and deadline is not None and deadline > now:
            looks.append(deadline)
        if not self.open:
            looks.append(now + _LONGEST_WAIT_SECONDS)
        return min(looks, default=None)


def park(
    tools: Tools,
    terms: Terms,
    windows: Collection[Window],
    watched: Iterable[TaskRecord],
    asking: Collection[Content] = (),
    *,
    after_line: int,
) -> Parked:
    """
    Return what to wait for.

    :param windows: where contents wait for their submit.
    :param watched: tasks that the leg has watched.
    :param asking: contents whose tasks are to be asked about again, at their own time.
    :raises JimengLedgerError: the ledger can't be read.
    """
    found = {each.id: each for each in watched}
    shared = False
    for window in windows:
        # Also those whose lines the reading has not come to again.
        view = tools.ledger.slot_view(window.scope, window.configured)
        for each in view.holders:
            if each.state is TaskState.SUBMITTED and terms.mine.made(each):
                found[each.id] = each
            shared = shared or each.id not in found
    # What was given up no watch can wait for: its time has to come. A task of any other state is watched.
    found.update(
        {each.record.id: each.record for each in asking if each.record and each.record.state is _SUBMITTED}
    )
    now = time.monotonic()
    waiting = [each for each in windows if each.pending]
    shared = shared and bool(waiting)
    # What is due and has no ticket waits for one of the run's own tasks.
    soonest = [min(each.not_before for each in window.pending) for window in waiting if window.ticket is None]
    waits = [each - now for each in soonest if each > now]
    waits += [max(0.0, each.not_before - now) for each in asking]
    stuck = next((each for each in waiting if each.ticket is not None), waiting[0] if waiting else None)
    scope, key = (None, None) if stuck is None else (stuck.scope, stuck.pending[0].key)
    if stuck is None and asking:
        first = min(asking, key=lambda each: each.not_before)
        scope, key = first.wanted.scope, first.key
    others = [
        (each.scope, each.pending[0].key, each.ticket)
        for each in waiting
        if each is not stuck and each.ticket is not None
    ]
    return Parked(
        open=tuple(found.values()),
        scope=scope,
        content_key=key,
        ticket=None if stuck is None else stuck.ticket,
        wait=min(waits, default=None),
        shared=shared,
        after_line=after_line,
        expected={
            scope: tools.ledger.typical_seconds(scope) for scope in {each.scope for each in found.values()}
        },
        others=tuple(others),
    )
