# Licensed under the Apache License, Version 2.0. See LICENSE.
"""From a vendor's answer about a task to what the ledger and the user are told."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengProtocolError,
    JimengRetryableTaskError,
    JimengTaskExpiredError,
    JimengTaskFailedError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.ledger.records import DEFAULT_EXPECTED_SECONDS
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.counting import task_finished
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    decide_poll,
    processing_estimate,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.client.sync import SyncClient
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger

log = logging.getLogger(__name__)

#: The doubts of :class:`PollState` that end in a verdict; ``no_url`` never does.
_BELIEVED_IF_LASTING = frozenset({"gone", "50215"})
_VERDICTS = frozenset({PollKind.SUCCEEDED, PollKind.FAILED, PollKind.EXPIRED})
_FINISHED = frozenset({TaskState.SUCCEEDED, TaskState.LANDED, TaskState.FAILED, TaskState.EXPIRED})


def expectation(record: TaskRecord) -> float | None:
    """Return how long a task is expected to take, ``None`` where its row only carries the general default."""
    return None if record.expected_seconds == DEFAULT_EXPECTED_SECONDS else record.expected_seconds


@dataclass(frozen=True, slots=True)
class Watched:
    """
    A task to ask the vendor about; it may be unknown to the ledger.

    :param submitted_at: epoch seconds; ``None`` where only a task id is known, which leaves out grace and
        horizon.
    :param deadline: the user's, epoch seconds.
    """

    task_id: str
    req_key: str
    submitted_at: float | None = None
    deadline: float | None = None


def harvest(
    client: SyncClient,
    watched: Watched,
    *,
    now: float,
    state: PollState | None = None,
    settings: PollSettings | None = None,
) -> tuple[PollState, PollDecision]:
    """Ask the vendor once about a task and decide what the answer means. Free."""
    observation = client.query(watched.req_key, watched.task_id)
    return decide_poll(
        state or PollState(),
        observation,
        now=now,
        submitted_at=watched.submitted_at,
        deadline=watched.deadline,
        settings=settings or PollSettings(),
    )


def harvest_doubt(
    client: SyncClient,
    watched: Watched,
    state: PollState,
    decision: PollDecision,
    *,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[PollState, PollDecision]:
    """
    Ask on while the last answer is one that only counts when it lasts ("no such task", 50215).

    Takes some fifteen seconds where the doubt lasts; after that the answer is final, or the doubt is gone.
    """
    settings = PollSettings()
    pause = settings.lasting_seconds / max(1, settings.lasting_answers - 1)
    for _ in range(settings.lasting_answers):
        if decision.final or state.doubt not in _BELIEVED_IF_LASTING:
            break
        sleep(pause)
        state, decision = harvest(client, watched, now=now(), state=state)
    return state, decision


def record_verdict(
    ledger: Ledger,
    record: TaskRecord,
    decision: PollDecision,
    *,
    state: PollState | None = None,
    seen_at: float | None = None,
) -> TaskRecord:
    """
    Write a final decision into the ledger, which frees the task's slot; anything else changes nothing.

    Idempotent: two watchers of one task, or a watcher that runs again, write the same row.

    :param state: what the wait remembers, to learn how long such tasks take.
    :param seen_at: epoch seconds at which the end was seen; now, if it was seen by the caller.
    """
    if record.state in _FINISHED or decision.kind not in _VERDICTS:
        return record
    told = _told(ledger, record, decision, state, seen_at)
    task_finished(told, decision.kind)
    return told


def _told(
    ledger: Ledger,
    record: TaskRecord,
    decision: PollDecision,
    state: PollState | None,
    seen_at: float | None,
) -> TaskRecord:
    if decision.kind is PollKind.SUCCEEDED:
        processing = processing_estimate(
            submitted_at=record.submitted_at,
            running_at=None if state is None else state.running_at,
            done_at=ledger.now() if seen_at is None else seen_at,
            expected=expectation(record),
        )
        return ledger.record_succeeded(
            record, request_id=decision.request_id, code=decision.code, processing=processing
        )
    if decision.kind is PollKind.FAILED:
        return ledger.record_failed(
            record,
            code=decision.code,
            message=decision.message,
            request_id=decision.request_id,
            new_attempt=decision.new_attempt,
        )
    return ledger.record_expired(record, code=decision.code, message=decision.message)


def what_may_be_done(may_come_back: bool) -> str:
    """Return the advice about a task that was given up."""
    if may_come_back:
        return (
            "It is not twelve hours old, so it may be there after all: a retry or a clear asks for it, pays "
            "nothing, and lands it if it is. Nothing is submitted by itself"
        )
    return (
        'Nothing is submitted by itself; on_missing_output="resubmit" or force_new pays for it again, when '
        "the task that submits runs anew"
    )


def failure_of(
    decision: PollDecision, *, task_id: str, content_key: str | None, may_come_back: bool = False
) -> JimengError:
    """
    Return the error that a final decision other than success stands for.

    :param may_come_back: whether the task is so young that the vendor may still have it.
    """
    facts = {
        "code": decision.code,
        "request_id": decision.request_id,
        "task_id": task_id,
        "content_key": content_key,
    }
    if decision.kind is PollKind.FAILED and decision.new_attempt:
        return JimengRetryableTaskError(
            f"The vendor's verdict on this task: {decision.message or 'failed'} "
            "The vendor allows a new attempt: clear the submit task, or use an operator that sees the "
            "verdict",
            **facts,  # type: ignore[arg-type]
        )
    if decision.kind is PollKind.FAILED:
        return JimengTaskFailedError(
            f"The vendor's verdict on this task: {decision.message or 'failed'} The "
            "verdict is final: change the input, or give force_new a reason",
            **facts,  # type: ignore[arg-type]
        )
    if decision.kind is PollKind.EXPIRED:
        return JimengTaskExpiredError(
            f"The vendor no longer knows this task ({decision.message or 'expired'}): it may have been "
            f"billed once. {what_may_be_done(may_come_back)}",
            **facts,  # type: ignore[arg-type]
        ).retried(may_come_back)
    if decision.kind is PollKind.DEADLINE:
        return JimengWaitTimeoutError(
            "The task was still running when the wait's timeout passed. It goes on at the vendor, costs "
            "what it would have cost, and stays in the ledger: a retry or a clear re-attaches and submits "
            "nothing",
            **facts,  # type: ignore[arg-type]
        )
    return JimengProtocolError(
        f"{decision.kind} is not a final decision",
        **facts,  # type: ignore[arg-type]
    )
