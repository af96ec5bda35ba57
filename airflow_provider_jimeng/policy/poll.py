# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What an answer to a query says about a paid task.

A poll never fails a paid task: throttling, 5xx, HTML, timeouts and credential trouble mean wait or hold. Only
the vendor's verdict, the 12 h horizon or the user's deadline ends a wait. Interface document, "Query a task";
vendor facts, sections 3 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_provider_jimeng.api.codes import SUCCESS, CodeRule, Family, OnQuery, rule_for
from airflow_provider_jimeng.api.models import Answer, Envelope, Observation, TransportFailure
from airflow_provider_jimeng.api.parsing import result_urls_of, status_of
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengProtocolError,
    JimengTaskExpiredError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.policy.backoff import backoff_delay
from airflow_provider_jimeng.policy.cadence import may_be_over, next_poll_delay, processing_estimate
from airflow_provider_jimeng.policy.polling import (
    GONE_DOUBT,
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
)

__all__ = [
    "PollDecision",
    "PollKind",
    "PollSettings",
    "PollState",
    "decide_poll",
    "may_be_over",
    "next_poll_delay",
    "processing_estimate",
    "worth_telling",
]

DONE = "done"
RUNNING = frozenset({"in_queue", "generating"})
GONE = frozenset({"not_found", "expired"})
#: Families whose codes can only be about the task, as opposed to the call that asks for it.
_ABOUT_TASK = frozenset(
    {
        Family.PARAMETER,
        Family.MEDIA,
        Family.INPUT_REVIEW,
        Family.OUTPUT_REVIEW,
        Family.REVIEW_SERVICE,
        Family.UNMODELLED,
    }
)
_REMEMBERED_STATUSES = 8
#: Queries in a row without a usable answer, after which a wait says so.
_WORTH_TELLING = 3
_EXPIRED = (
    "the task was not fetched before the vendor forgot it, 12 hours after its submit; it may have been billed"
)
_DEADLINE = (
    "the deadline passed while the task was running; it stays recorded, and a retry re-attaches at no cost"
)


@dataclass(frozen=True, slots=True)
class _Moment:
    """
    One poll's circumstances, in epoch seconds.

    :param vendor_now: the vendor's clock as its answer tells it, where it does.
    """

    now: float
    submitted_at: float
    settings: PollSettings
    vendor_now: float | None = None

    @property
    def age(self) -> float:
        """
        The task's age by the clock that makes it younger.

        A worker's clock may be hours off, and age is what gives a paid task up: too young costs patience.
        """
        return min(self.now, self.vendor_now or self.now) - self.submitted_at

    @property
    def in_grace(self) -> bool:
        return self.age < self.settings.grace_seconds


def decide_poll(
    state: PollState,
    observation: Observation,
    *,
    now: float,
    submitted_at: float | None,
    deadline: float | None,
    settings: PollSettings,
) -> tuple[PollState, PollDecision]:
    """
    Decide what an answer means for the wait.

    :param state: of the same wait, from the last call; a fresh one to begin with.
    :param observation: the answer, or how far the query came without one.
    :param now: epoch seconds.
    :param submitted_at: epoch seconds, ``None`` where nobody knows: then the wait's own start counts.
    :param deadline: epoch seconds of the user's patience, ``None`` for as long as the vendor remembers the
        task.
    :param settings: the numbers.
    :return: the state to pass to the next call, and the decision. A verdict beats a deadline that has passed
        too.
    """
    if state.started_at is None:
        state = replace(state, started_at=now)
    started = state.started_at if state.started_at is not None else now
    moment = _Moment(
        now, submitted_at if submitted_at is not None else started, settings, _clock_of(observation)
    )
    state, decision = _judge(state, observation, moment)
    if decision.final:
        return state, decision
    if moment.age >= settings.horizon_seconds:
        return state, _ended(decision, PollKind.EXPIRED, _EXPIRED, JimengTaskExpiredError)
    if deadline is not None and now >= deadline:
        return state, _ended(decision, PollKind.DEADLINE, _DEADLINE, JimengWaitTimeoutError)
    return state, decision


def _clock_of(observation: Observation) -> float | None:
    told = observation.server_date if isinstance(observation, Answer) else None
    return None if told is None else told.timestamp()


def _ended(last: PollDecision, kind: PollKind, message: str, error: type[JimengError]) -> PollDecision:
    return PollDecision(
        kind, last.code, f"{message} (last: {last.message})", last.request_id, note=last.note, error=error
    )


def _judge(state: PollState, observation: Observation, moment: _Moment) -> tuple[PollState, PollDecision]:
    if isinstance(observation, TransportFailure):
        return _nothing_learnt(state, moment, PollDecision(PollKind.WAIT, message=observation.detail))
    rule = rule_for(observation)
    status = status_of(observation)
    if observation.code == SUCCESS:
        return _judge_status(state, observation, status, moment)
    if observation.envelope is Envelope.BUSINESS:
        if status == DONE:
            return _judge_failure(state, observation, rule, moment)
        if status in GONE and rule.family in _ABOUT_TASK:
            return _gone(state, observation, status or "", moment)
        if status in RUNNING and rule.family in _ABOUT_TASK:
            return _running(state, observation, moment, None)
    return _judge_code(state, observation, rule, moment)


def _judge_status(
    state: PollState, answer: Answer, status: str | None, moment: _Moment
) -> tuple[PollState, PollDecision]:
    if status == DONE:
        urls = result_urls_of(answer)
        if urls:
            done = PollDecision(
                PollKind.SUCCEEDED,
                answer.code,
                answer.message,
                answer.request_id,
                video_url=urls[0],
                further_urls=tuple(urls[1:]),
            )
            return _settled(state), done
        return _no_url(state, answer, moment)
    if status in GONE:
        return _gone(state, answer, status or "", moment)
    if status in RUNNING:
        return _running(state, answer, moment, None)
    word = status or "(none)"
    if word in state.unknown_statuses:
        return _running(state, answer, moment, None)
    seen = (*state.unknown_statuses, word)[-_REMEMBERED_STATUSES:]
    note = f"the vendor's status {word!r} is not known to this release: taken as still running"
    return _running(replace(state, unknown_statuses=seen), answer, moment, note)


def _judge_failure(
    state: PollState, answer: Answer, rule: CodeRule, moment: _Moment
) -> tuple[PollState, PollDecision]:
    """
    Judge ``done`` beside a code that is not success: the task's verdict.

    A code of limits or credentials may be the query's own, so it is believed only when it lasts.
    """
    if rule.family not in _ABOUT_TASK and rule.family is not Family.INTERNAL:
        state = _doubted(state, "odd_verdict", moment)
        if not _lasting(state, moment):
            return _judge_code(state, answer, rule, moment)
    return _settled(state), _failed(answer, rule)


def _judge_code(
    state: PollState, answer: Answer, rule: CodeRule, moment: _Moment
) -> tuple[PollState, PollDecision]:
    trouble = PollDecision(
        PollKind.WAIT,
        answer.code,
        _words(rule, answer),
        answer.request_id,
        retry_after=answer.retry_after,
        error=rule.error,
    )
    match rule.on_query:
        case OnQuery.VERDICT:
            return _settled(state), _failed(answer, rule)
        case OnQuery.GRACE:
            return _invalid(state, answer, rule, moment)
        case OnQuery.HOLD:
            return _hold(state, moment, trouble)
        case OnQuery.SIGN_AGAIN | OnQuery.REFRESH:
            refresh = rule.on_query is OnQuery.REFRESH
            state = replace(state, signed_again=state.signed_again + 1)
            if state.signed_again > 1:
                return _hold(state, moment, trouble)
            return state, replace(trouble, retry_after=None, error=None, refresh=refresh)
        case _:
            return _nothing_learnt(state, moment, replace(trouble, error=None))


def _failed(answer: Answer, rule: CodeRule) -> PollDecision:
    message = f"{_words(rule, answer)}. A task that failed is not billed."
    return PollDecision(
        PollKind.FAILED,
        answer.code,
        message,
        answer.request_id,
        new_attempt=rule.new_attempt,
        error=rule.verdict_error,
    )


def _words(rule: CodeRule, answer: Answer) -> str:
    words = answer.message or answer.name
    return f"{rule.meaning} (the vendor says: {words})" if words else rule.meaning


def _settled(state: PollState) -> PollState:
    """Forget doubts and troubles: the vendor told something plain about the task."""
    return PollState(
        started_at=state.started_at, unknown_statuses=state.unknown_statuses, running_at=state.running_at
    )


def _running(
    state: PollState, answer: Answer, moment: _Moment, note: str | None
) -> tuple[PollState, PollDecision]:
    words = status_of(answer) or answer.message
    return replace(_settled(state), running_at=moment.now), PollDecision(
        PollKind.WAIT, answer.code, words, answer.request_id, note=note
    )


def _doubted(state: PollState, doubt: str, moment: _Moment) -> PollState:
    if state.doubt == doubt:
        return replace(state, doubt_count=state.doubt_count + 1)
    return replace(state, doubt=doubt, doubt_count=1, doubt_since=moment.now)


def _lasting(state: PollState, moment: _Moment) -> bool:
    settings = moment.settings
    return (
        state.doubt_count >= settings.lasting_answers
        and moment.now - state.doubt_since >= settings.lasting_seconds
    )


def _gone(state: PollState, answer: Answer, status: str, moment: _Moment) -> tuple[PollState, PollDecision]:
    state = replace(state, holds=0, failures=0, signed_again=0)
    waiting = PollDecision(PollKind.WAIT, answer.code, f"the vendor says {status}", answer.request_id)
    if moment.in_grace:
        return state, waiting
    state = _doubted(state, GONE_DOUBT, moment)
    if not _lasting(state, moment):
        return state, waiting
    message = f"the vendor says {status}, and kept saying so; the task ran and may have been billed"
    return state, replace(waiting, kind=PollKind.EXPIRED, message=message, error=JimengTaskExpiredError)


def _invalid(
    state: PollState, answer: Answer, rule: CodeRule, moment: _Moment
) -> tuple[PollState, PollDecision]:
    state = replace(state, holds=0, failures=0, signed_again=0)
    waiting = PollDecision(PollKind.WAIT, answer.code, _words(rule, answer), answer.request_id)
    if moment.in_grace:
        return state, waiting
    state = _doubted(state, "50215", moment)
    return state, _failed(answer, rule) if _lasting(state, moment) else waiting


def _no_url(state: PollState, answer: Answer, moment: _Moment) -> tuple[PollState, PollDecision]:
    """
    Ask again, and hold if it lasts.

    The video may be paid, so only the deadline or the horizon gives it up.
    """
    state = _doubted(replace(state, failures=0, signed_again=0), "no_url", moment)
    message = "the vendor says done, without a URL of the result"
    waiting = PollDecision(PollKind.WAIT, answer.code, message, answer.request_id)
    if not _lasting(state, moment):
        return replace(state, holds=0), waiting
    return _hold(state, moment, replace(waiting, error=JimengProtocolError), refresh=False)


def _hold(
    state: PollState, moment: _Moment, trouble: PollDecision, *, refresh: bool = True
) -> tuple[PollState, PollDecision]:
    settings = moment.settings
    state = replace(state, holds=state.holds + 1)
    delay = min(settings.hold_cap, settings.hold_base * 2.0 ** min(state.holds - 1, 30))
    return state, replace(
        trouble,
        kind=PollKind.HOLD,
        message=f"{trouble.message}; the task stays recorded, and the wait goes on",
        retry_after=max(delay, min(trouble.retry_after or 0.0, settings.hold_cap)),
        refresh=refresh,
    )


def _nothing_learnt(
    state: PollState, moment: _Moment, trouble: PollDecision
) -> tuple[PollState, PollDecision]:
    settings = moment.settings
    state = replace(state, failures=state.failures + 1)
    if trouble.kind is PollKind.WAIT and state.failures >= _WORTH_TELLING:
        # One that fails says nothing; who looks at a wait in an outage should not read that all is well.
        note = f"the vendor gives no usable answer ({trouble.message}); it is asked on, and nothing is lost"
        trouble = replace(trouble, note=trouble.note or note)
    asked = None if trouble.retry_after is None else min(trouble.retry_after, settings.retry_cap)
    delay = backoff_delay(
        state.failures, base=settings.min_delay, cap=settings.retry_cap, jitter=0.0, retry_after=asked
    )
    return state, replace(trouble, retry_after=delay)


def worth_telling(decision: PollDecision) -> str | None:
    """Return what a person should be told of a wait that goes on: a hold's trouble, an odd status."""
    if decision.note is not None:
        return decision.note
    return decision.message if decision.kind is PollKind.HOLD else None
