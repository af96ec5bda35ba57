# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The way back from *expired*: before a paid result stays lost, or is paid for again, the vendor is asked again.

A vendor that is confused for a quarter of a minute says "no such task" of tasks that it has; a row that was
given up on that word would stay lost although its result can be had for hours. Asking is free. Only a vendor
that still says so a good while later is believed (:mod:`~airflow_provider_jimeng.policy.giving_up`); an
answer that can't be read is no such word.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.exceptions import JimengTaskExpiredError
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.harvest import Watched, harvest, harvest_doubt, what_may_be_done
from airflow_provider_jimeng.policy.giving_up import ask_again_in
from airflow_provider_jimeng.policy.poll import PollKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.client.sync import SyncClient
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Revived:
    """
    What the vendor says of a task that was given up.

    :param record: its row; *succeeded* where the vendor has the result.
    :param wait: seconds after which to ask again, where it may still have it; ``None`` where it has the
        result, and where the task is lost.
    """

    record: TaskRecord
    wait: float | None = None

    @property
    def running(self) -> bool:
        """Whether the vendor may still have it, and no result of it now."""
        return self.wait is not None


def may_come_back(record: TaskRecord | None, now: float) -> bool:
    """
    Return whether the vendor may still have what was given up.

    :param now: the ledger's clock, epoch seconds, as the row's times are.
    """
    if record is None or record.state is not TaskState.EXPIRED or record.task_id is None:
        return False
    return record.submitted_at is not None and now - record.submitted_at < TASK_LIFETIME_SECONDS


def is_still_lost(record: TaskRecord, lost: TaskRecord | None) -> bool:
    """
    Return whether a row is one that was just proven lost, so that the proof need not be made again.

    A claim that replaces it and comes to nothing moves its revision by one. To come back and to be given up
    again takes two moves, and asks for a new proof.

    :param lost: the row as it was when it was asked about.
    """
    if lost is None or record.id != lost.id or record.state is not TaskState.EXPIRED:
        return False
    return 0 <= record.revision - lost.revision <= 1


def given_up_error(record: TaskRecord, now: float) -> JimengTaskExpiredError:
    """
    Return the error of a task that was given up; in the first twelve hours a retry asks for it again.

    :param now: the ledger's clock, epoch seconds.
    """
    back = may_come_back(record, now)
    return JimengTaskExpiredError(
        "The vendor no longer knows this task, and its result was not stored in time: it may have been "
        f"billed once. {what_may_be_done(back)}",
        code=record.code,
        request_id=record.request_id,
        task_id=record.task_id,
        content_key=record.content_key,
    ).retried(back)


def revive(
    ledger: Ledger, client: SyncClient, record: TaskRecord, *, sleep: Callable[[float], None] = time.sleep
) -> Revived:
    """
    Ask about a task that was given up, and take it back where the vendor has it after all.

    Once; a denial that would be believed has to last as any other has to, some fifteen seconds. It may be the
    first one since the task was given up, and "running" may have been the answer all the time in between.

    :raises LostRace: somebody else was faster.
    """
    if not may_come_back(record, now := ledger.now()):
        return Revived(record)
    watched = Watched(record.task_id or "", record.scope.req_key, record.submitted_at)
    given_up_at = record.finished_at if record.finished_at is not None else record.created_at
    state, decision = harvest(client, watched, now=now)
    wait = ask_again_in(state, decision, now=now, given_up_at=given_up_at)
    if wait is None and not decision.final:
        state, decision = harvest_doubt(client, watched, state, decision, now=ledger.now, sleep=sleep)
        wait = ask_again_in(state, decision, now=ledger.now(), given_up_at=given_up_at)
    if decision.kind is PollKind.SUCCEEDED:
        log.warning(
            "Task %s was given up as expired, and the vendor has its result after all.", record.task_id
        )
        return Revived(ledger.record_succeeded(record, request_id=decision.request_id, code=decision.code))
    return Revived(record, wait)
