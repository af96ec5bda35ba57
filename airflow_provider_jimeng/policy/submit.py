# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a submit came to: created, not created, or unknown.

The vendor has no idempotency key and no list of tasks, so a submit repeated after *unknown* may pay twice.
Only what is certain to have created nothing is *not created*.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum

from airflow_provider_jimeng.api.codes import CodeRule, OnSubmit, rule_for, throttle_kind
from airflow_provider_jimeng.api.models import Answer, FailureKind, Observation, TransportFailure
from airflow_provider_jimeng.api.parsing import is_no_id, task_id_of
from airflow_provider_jimeng.exceptions import (
    JimengClockError,
    JimengConfigurationError,
    JimengError,
    JimengNotSentError,
    JimengUnknownSubmitError,
)

__all__ = [
    "Reaction",
    "SubmitKind",
    "SubmitOutcome",
    "clock_note",
    "clock_skew",
    "judge_submit",
    "of_the_account",
]


class SubmitKind(Enum):
    """Whether a task exists."""

    CREATED = "created"
    NOT_CREATED = "not_created"
    UNKNOWN = "unknown"


class Reaction(Enum):
    """
    What to do next about a submit that created nothing.

    ``SIGN_AGAIN`` and ``REFRESH`` (fetch the credentials anew) are for once; the second time they mean
    ``STOP``.
    """

    NONE = "none"
    STOP = "stop"
    LATER = "later"
    SIGN_AGAIN = "sign_again"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """
    The judgement on one submit.

    :param task_id: readable; set exactly where ``kind`` is ``CREATED``.
    :param message: what happened and what it cost, fit for logs and ledger rows.
    :param retry_after: seconds the vendor asks to wait.
    :param throttled: which limit refused it: ``"rate"``, ``"concurrency"`` or ``None``.
    :param error: the class to raise if the submit ends here; ``None`` where it created a task.
    """

    kind: SubmitKind
    reaction: Reaction
    task_id: str | None = None
    code: int | None = None
    message: str = ""
    request_id: str | None = None
    http_status: int | None = None
    retry_after: float | None = None
    throttled: str | None = None
    error: type[JimengError] | None = None


_REACTIONS = {
    OnSubmit.STOP: Reaction.STOP,
    OnSubmit.RETRY: Reaction.LATER,
    OnSubmit.SIGN_AGAIN: Reaction.SIGN_AGAIN,
    OnSubmit.REFRESH: Reaction.REFRESH,
}
_NOTHING_PAID = "Nothing was created, nothing was paid."
_PERHAPS_PAID = "A task may have been created and may be billed; it is not submitted again by itself."


def judge_submit(observation: Observation, *, now: float | None = None) -> SubmitOutcome:
    """
    Judge what a submit came to.

    :param observation: the answer, or how far the request came without one.
    :param now: epoch seconds of the local clock, to tell by how much it is off when the vendor refuses the
        date.
    """
    if isinstance(observation, TransportFailure):
        return _judge_silence(observation)
    rule = rule_for(observation)
    task_id = task_id_of(observation)
    if task_id is not None:
        return _outcome(observation, rule, SubmitKind.CREATED, Reaction.NONE, "", task_id=task_id)
    if _holds_unreadable_id(observation) or rule.on_submit in (OnSubmit.CREATED, OnSubmit.UNKNOWN):
        what = (
            "the answer's task_id cannot be read" if rule.on_submit is not OnSubmit.UNKNOWN else rule.meaning
        )
        return _outcome(observation, rule, SubmitKind.UNKNOWN, Reaction.NONE, f"{what}. {_PERHAPS_PAID}")
    what = rule.meaning
    if rule.error is JimengClockError:
        what = f"{what}; {clock_note(observation, now)}"
    reaction = _REACTIONS[rule.on_submit]
    return _outcome(observation, rule, SubmitKind.NOT_CREATED, reaction, f"{what}. {_NOTHING_PAID}")


def _judge_silence(failure: TransportFailure) -> SubmitOutcome:
    if failure.kind is FailureKind.NOT_SENT:
        return SubmitOutcome(
            SubmitKind.NOT_CREATED,
            Reaction.LATER,
            message=f"the request was not sent ({failure.detail}). {_NOTHING_PAID}",
            error=JimengNotSentError,
        )
    return SubmitOutcome(
        SubmitKind.UNKNOWN,
        Reaction.NONE,
        message=f"no answer to the submit ({failure.detail}). {_PERHAPS_PAID}",
        error=JimengUnknownSubmitError,
    )


def _holds_unreadable_id(answer: Answer) -> bool:
    value = answer.data.get("task_id") if answer.data is not None else None
    return answer.mentions_task or not is_no_id(value)


def _outcome(
    answer: Answer,
    rule: CodeRule,
    kind: SubmitKind,
    reaction: Reaction,
    message: str,
    *,
    task_id: str | None = None,
) -> SubmitOutcome:
    words = answer.message or answer.name
    quoted = f"{message} (the vendor says: {words})" if message and words else message or words
    errors: dict[SubmitKind, type[JimengError] | None] = {
        SubmitKind.CREATED: None,
        SubmitKind.UNKNOWN: JimengUnknownSubmitError,
        SubmitKind.NOT_CREATED: rule.error,
    }
    return SubmitOutcome(
        kind,
        reaction,
        task_id,
        answer.code,
        quoted,
        answer.request_id,
        answer.http_status,
        answer.retry_after,
        throttle_kind(rule) if kind is SubmitKind.NOT_CREATED else None,
        errors[kind],
    )


def of_the_account(outcome: SubmitOutcome) -> bool:
    """
    Return whether the vendor refused a submit for what every submit of the account shares.

    A bad clock and a proxy are one machine's: others may well go on.

    :param outcome: of a submit.
    """
    kind = outcome.error
    shared = kind is not None and issubclass(kind, JimengConfigurationError)
    return shared and kind is not JimengClockError and outcome.code is not None


def clock_skew(answer: Answer, now: float | dt.datetime) -> float | None:
    """
    Tell by how much the local clock is off.

    :param answer: any answer; its ``Date`` header is the vendor's clock, to the second.
    :param now: the local clock, epoch seconds or an aware datetime.
    :return: seconds, above zero where the local clock is ahead; ``None`` where the answer has no date.
    """
    if answer.server_date is None:
        return None
    local = now.timestamp() if isinstance(now, dt.datetime) else now
    return local - answer.server_date.timestamp()


def clock_note(answer: Answer, now: float | dt.datetime | None) -> str:
    """
    Say in words by how much the local clock is off.

    :param answer: any answer.
    :param now: the local clock; ``None`` where the caller has none at hand.
    """
    skew = clock_skew(answer, now) if now is not None else None
    if skew is not None:
        return (
            f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the vendor's"
        )
    if answer.server_date is not None:
        return f"the vendor's clock says {answer.server_date:%Y-%m-%dT%H:%M:%SZ}: compare this machine's"
    return "check this machine's clock"
