# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What to do about a wanted content, given what the ledger knows of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengRetryableTaskError,
    JimengTaskFailedError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.ledger.states import SUPERSEDABLE, TaskState
from airflow_provider_jimeng.lifecycle.revive import given_up_error
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT, Missing, Policies

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.wanted import Superseded


class Step(Enum):
    """The next step towards a result."""

    CLAIM = "claim"
    TAKE = "take"
    WAIT = "wait"
    RELEASE = "release"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Decision:
    """
    A step, and what it needs.

    :param wait: seconds until asking again makes sense (``WAIT``).
    :param error: what to raise (``FAIL``).
    """

    step: Step
    wait: float = 0.0
    error: JimengError | None = None


def decide(record: TaskRecord | None, *, policies: Policies, attempts: int, now: float) -> Decision:
    """
    Decide the next step for a content from its newest row.

    :param record: the ledger's live row of the content, else its newest; ``None`` if there never was one.
    :param attempts: submits of this content by this task instance, over all its tries.
    :param now: the ledger's clock, epoch seconds.
    """
    if record is None or record.state in (TaskState.REJECTED, TaskState.RELEASED):
        return Decision(Step.CLAIM)
    if record.state in (TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.LANDED):
        return Decision(Step.TAKE)
    if record.state is TaskState.INTENT:
        return _in_flight(record, now)
    if record.state is TaskState.UNKNOWN:
        return _unknown(record, policies, now)
    if record.state is TaskState.EXPIRED:
        return _expired(record, policies, now)
    return _failed(record, policies, attempts)


def _in_flight(record: TaskRecord, now: float) -> Decision:
    remaining = record.base + record.send_deadline - now
    # A claim is what turns an intent whose owner is silent into an unknown, so that is the next step then.
    return Decision(Step.WAIT, wait=remaining) if remaining > 0 else Decision(Step.CLAIM)


def _unknown(record: TaskRecord, policies: Policies, now: float) -> Decision:
    if record.never_sent:
        # Its owner fell silent before the compare-and-set that allows a send, which can't succeed any more.
        return Decision(Step.RELEASE)
    if policies.on_unknown_submit != RESUBMIT:
        return Decision(
            Step.FAIL,
            error=JimengUnknownSubmitError(
                "Nobody knows whether the vendor accepted this submit "
                f"({record.message or 'no answer came'}). It may be running and may be billed once; it was "
                "not sent again. Look at the vendor's console or bill, then either `ledger adopt` the task "
                "id or `ledger release` the record, and clear this task "
                '(on_unknown_submit="resubmit" would do the latter by itself, and may pay twice)',
                code=record.code,
                request_id=record.request_id,
                content_key=record.content_key,
            ),
        )
    remaining = record.base + record.resubmit_age_seconds - now
    return Decision(Step.WAIT, wait=remaining) if remaining > 0 else Decision(Step.RELEASE)


def _expired(record: TaskRecord, policies: Policies, now: float) -> Decision:
    if policies.on_missing_output == RESUBMIT:
        return Decision(Step.CLAIM)
    return Decision(Step.FAIL, error=given_up_error(record, now))


def _failed(record: TaskRecord, policies: Policies, attempts: int) -> Decision:
    if record.new_attempt_allowed and attempts < policies.max_attempts:
        return Decision(Step.CLAIM)
    kind: type[JimengError] = (
        JimengRetryableTaskError if record.new_attempt_allowed else JimengTaskFailedError
    )
    advice = (
        f"all {policies.max_attempts} attempts of this run are used up; a new run, or a greater "
        "max_attempts, "
        "makes new ones"
        if record.new_attempt_allowed
        else "the verdict is final: change the input, or give force_new a reason"
    )
    return Decision(
        Step.FAIL,
        error=kind(
            f"The vendor's verdict on this task: {record.message or 'failed'} It is kept: {advice}",
            code=record.code,
            request_id=record.request_id,
            task_id=record.task_id,
            content_key=record.content_key,
        ),
    )


def is_to_be_replaced(record: TaskRecord | None, supersede: Superseded | None) -> bool:
    """
    Return whether the content's row is the finished one that the user chose to pay for again.

    A result that was missing may be there by now: while this task waited for a slot another one may have
    stored it anew. That inputs changed remains true whatever becomes of the row.
    """
    if record is None or supersede is None or record.state not in SUPERSEDABLE:
        return False
    if isinstance(supersede, Missing):
        return (record.id, record.revision) == (supersede.record.id, supersede.record.revision)
    return record.id == supersede.id
