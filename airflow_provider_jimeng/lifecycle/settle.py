# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Free the slots of tasks that are over, but that nobody has told the ledger about."""

from __future__ import annotations

import logging
import time
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
from airflow_provider_jimeng.policy.poll import PollKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_jimeng.client.sync import SyncClient
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger

log = logging.getLogger(__name__)

#: A claim is in a hurry; whatever is left is settled by the next one.
_AT_MOST = 8
#: Seconds after which a task of unknown length may be over. No more than a waiting ticket's trigger takes
#: before it asks: a worker that doesn't look at what the trigger saw would be called over and over.
_YOUNGEST = 1.0


def worth_asking(record: TaskRecord, now: float) -> bool:
    """Return whether a slot holder is old enough that it may be over."""
    if record.state is not TaskState.SUBMITTED or record.task_id is None or record.submitted_at is None:
        return False
    age = now - record.submitted_at
    expected = expectation(record)
    return age >= (_YOUNGEST if expected is None else 0.7 * expected)


def settle_holders(ledger: Ledger, client: SyncClient, holders: Iterable[TaskRecord]) -> int:
    """
    Ask the vendor about slot holders and record those that are over; return how many slots that freed.

    A failed or deleted DAG leaves its task behind as *submitted*; without this it would hold an account's
    only slot for twelve hours. A query is free, and a result recorded here is still fetched by its own
    watcher.
    """
    freed = 0
    now = ledger.now()
    due = sorted((h for h in holders if worth_asking(h, now)), key=lambda h: h.submitted_at or 0.0)
    for holder in due[:_AT_MOST]:
        watched = Watched(holder.task_id or "", holder.scope.req_key, holder.submitted_at)
        state, decision = harvest(client, watched, now=now)
        _, decision = harvest_doubt(client, watched, state, decision, now=ledger.now, sleep=time.sleep)
        if decision.kind is PollKind.EXPIRED and now - (holder.submitted_at or now) < TASK_LIFETIME_SECONDS:
            # Only a task's own watcher gives it up early: a vendor that is confused for a quarter of a
            # minute must not cost everybody's paid tasks.
            continue
        try:
            after = record_verdict(ledger, holder, decision)
        except JimengLedgerError as error:
            log.warning("Task %s: its end could not be recorded: %s", holder.task_id, error)
            continue
        if after.state is not holder.state:
            log.info("Task %s is over (%s); its slot is free.", holder.task_id, after.state)
            freed += 1
    return freed
