# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a leg of a run leaves behind to be waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.bulk.window import Window
    from airflow_provider_jimeng.ledger.records import Scope, TaskRecord


@dataclass(frozen=True, slots=True)
class Parked:
    """
    What a leg leaves to wait for.

    :param open: tasks at the vendor.
    :param scope: whose slots a claim waits for, with ``content_key`` and ``ticket``, if one does.
    :param expected: seconds that tasks have taken, by scope.
    :param others: scope, content and ticket of further products whose slots a claim waits for.
    :param wait: seconds until asking again makes sense where nobody wakes the run.
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


def park(
    tools: Tools,
    terms: Terms,
    windows: Collection[Window],
    watched: Iterable[TaskRecord],
    *,
    after_line: int,
) -> Parked:
    """
    Return what to wait for.

    :param windows: where contents wait for their submit.
    :param watched: tasks that the leg has watched.
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
    now = time.monotonic()
    waits = [max(0.0, each.not_before - now) for window in windows for each in window.pending]
    waiting = [each for each in windows if each.pending]
    stuck = next((each for each in waiting if each.ticket is not None), waiting[0] if waiting else None)
    others = [
        (each.scope, each.pending[0].key, each.ticket)
        for each in waiting
        if each is not stuck and each.ticket is not None
    ]
    return Parked(
        open=tuple(found.values()),
        scope=None if stuck is None else stuck.scope,
        content_key=None if stuck is None else stuck.pending[0].key,
        ticket=None if stuck is None else stuck.ticket,
        wait=min(waits, default=None),
        shared=shared and bool(waits),
        after_line=after_line,
        expected={
            scope: tools.ledger.typical_seconds(scope) for scope in {each.scope for each in found.values()}
        },
        others=tuple(others),
    )
