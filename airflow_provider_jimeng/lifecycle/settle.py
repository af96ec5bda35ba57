# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Free the slots of tasks that are over, but that nobody has told the ledger about."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.harvest import (
    Watched,
    expectation,
    harvest,
    harvest_doubt,
    record_verdict,
)
from airflow_provider_jimeng.policy.poll import PollKind, PollState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_jimeng.client.sync import SyncClient
    from airflow_provider_jimeng.ledger.records import Scope, TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger

log = logging.getLogger(__name__)

#: A claim is in a hurry; whatever is left is settled by the next one.
_AT_MOST = 8
#: Seconds after which a task of unknown length may be over. No more than a waiting ticket's trigger takes
#: before it asks: a worker that doesn't look at what the trigger saw would be called over and over.
_YOUNGEST = 1.0
#: Past these its own watcher should long have told of a task, whatever it waits for.
_OVERDUE_FACTOR, _OVERDUE_SECONDS = 1.5, 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """
    A task that a trigger saw over.

    :param state: what its wait has shown.
    :param seen_at: epoch seconds.
    """

    task_id: str
    state: PollState | None = None
    seen_at: float | None = None


def worth_asking(record: TaskRecord, now: float) -> bool:
    """Return whether a slot holder is old enough that it may be over."""
    if record.state is not TaskState.SUBMITTED or record.task_id is None or record.submitted_at is None:
        return False
    age = now - record.submitted_at
    expected = expectation(record)
    return age >= (_YOUNGEST if expected is None else 0.7 * expected)


def is_overdue(record: TaskRecord, now: float) -> bool:
    """Return whether a slot holder's own watcher is so late that there may be none any more."""
    return (
        record.state is TaskState.SUBMITTED
        and record.task_id is not None
        and record.submitted_at is not None
        and now - record.submitted_at > _OVERDUE_FACTOR * record.expected_seconds + _OVERDUE_SECONDS
    )


def settle_holders(ledger: Ledger, client: SyncClient, holders: Iterable[TaskRecord]) -> int:
    """
    Ask the vendor about slot holders and record those that are over; return how many slots that freed.

    A failed or deleted DAG leaves its task behind as *submitted*; without this it would hold an account's
    only slot for twelve hours. A query is free, and a result recorded here is still fetched by its own
    watcher.
    """
    now = ledger.now()
    due = sorted((h for h in holders if worth_asking(h, now)), key=lambda h: h.submitted_at or 0.0)
    return sum(_settle(ledger, client, holder, now) for holder in due[:_AT_MOST])


def settle_seen_over(ledger: Ledger, client: SyncClient, scope: Scope, seen: Iterable[Ended]) -> int:
    """
    Record the ends of tasks that a trigger saw over; return how many slots that freed.

    The legs that land them are on their way, too. Whoever of them is first frees the slot: it doesn't idle
    until a second leg has begun. The vendor's answer to this leg decides, not the trigger's; what the trigger
    remembers of the wait goes into the row, so that no less is learnt of how long tasks take.
    """
    freed, now = 0, ledger.now()
    for ended in seen:
        record = ledger.by_task_id(ended.task_id, scope)
        if record is not None and worth_asking(record, now):
            freed += _settle(ledger, client, record, now, ended)
    return freed


def settle_beside(ledger: Ledger, client: SyncClient, record: TaskRecord) -> None:
    """
    Ask about the further ids of a content that another row stands for: paid tasks that nobody waits for.

    What became of them is written down by the content's next run, also where the house is never so full that
    a claim asks about its holders. Trouble is for the run after that.
    """
    try:
        further = [each for each in ledger.history(record.content_key) if each.extra and each.id != record.id]
        now = ledger.now() if further else 0.0
        for each in further:
            if worth_asking(each, now):
                watched = Watched(each.task_id or "", each.scope.req_key, each.submitted_at)
                # One answer gives up nothing but what is past its twelve hours.
                record_verdict(ledger, each, harvest(client, watched, now=now)[1])
    except JimengLedgerError as error:
        log.warning("A further id of content %s could not be looked after: %s", record.content_key, error)


def _settle(
    ledger: Ledger,
    client: SyncClient,
    holder: TaskRecord,
    now: float,
    ended: Ended | None = None,
) -> bool:
    before, seen_at = (None, None) if ended is None else (ended.state, ended.seen_at)
    watched = Watched(holder.task_id or "", holder.scope.req_key, holder.submitted_at)
    state, decision = harvest(client, watched, now=now, state=before)
    state, decision = harvest_doubt(client, watched, state, decision, now=ledger.now, sleep=time.sleep)
    if decision.kind is PollKind.EXPIRED and now - (holder.submitted_at or now) < TASK_LIFETIME_SECONDS:
        # Only a task's own watcher gives it up early: a vendor that is confused for a quarter of a minute
        # must not cost everybody's paid tasks.
        return False
    try:
        after = record_verdict(
            ledger, holder, decision, state=None if before is None else state, seen_at=seen_at
        )
    except JimengLedgerError as error:
        log.warning("Task %s: its end could not be recorded: %s", holder.task_id, error)
        return False
    if after.state is holder.state:
        return False
    log.info("Task %s is over (%s); its slot is free.", holder.task_id, after.state)
    return True
