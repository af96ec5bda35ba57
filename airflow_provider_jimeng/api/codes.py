# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The vendor's error codes as one table, and what each allows.

A code means different things to a submit and to a query: ``AccessDenied`` stops a submit, for which nothing
was paid, but must not end the wait for a task that was paid and still runs. So each row says both.

Sources: the interface document's "Business error codes", vendor facts section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import Answer, Envelope
from airflow_provider_jimeng.exceptions import (
    JimengClockError,
    JimengConfigurationError,
    JimengCredentialError,
    JimengError,
    JimengInputError,
    JimengPermissionError,
    JimengProtocolError,
    JimengRetryableTaskError,
    JimengTaskFailedError,
    JimengThrottledError,
    JimengUnknownSubmitError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "RULES",
    "SUCCESS",
    "CodeRule",
    "Family",
    "OnQuery",
    "OnSubmit",
    "code_named",
    "rule_for",
    "throttle_kind",
]

#: The one code that means success, of a submit and of a query.
SUCCESS = 10000


class Family(Enum):
    """What an answer is about, for reports and breakers."""

    SUCCESS = "success"
    PARAMETER = "parameter"
    MEDIA = "media"
    INPUT_REVIEW = "input review"
    OUTPUT_REVIEW = "output review"
    REVIEW_SERVICE = "review service"
    RATE = "rate"
    CONCURRENCY = "concurrency"
    INTERNAL = "internal"
    REQUEST = "request"
    CREDENTIAL = "credential"
    TOKEN = "token"  # noqa: S105 - a kind of error, not a token
    CLOCK = "clock"
    PERMISSION = "permission"
    UNMODELLED = "unmodelled"


class OnSubmit(Enum):
    """What an answer to a submit means."""

    CREATED = "created"
    STOP = "stop"
    RETRY = "retry"
    SIGN_AGAIN = "sign again"
    REFRESH = "refresh"
    UNKNOWN = "unknown"


class OnQuery(Enum):
    """What an answer to a query means; none but ``VERDICT`` says anything final about the task."""

    ANSWERED = "answered"
    VERDICT = "verdict"
    RETRY = "retry"
    HOLD = "hold"
    SIGN_AGAIN = "sign again"
    REFRESH = "refresh"
    GRACE = "grace"


@dataclass(frozen=True, slots=True)
class CodeRule:
    """
    One row of the table.

    :param code: business code or the gateway's ``CodeN``; ``None`` for the defaults of :func:`rule_for`.
    :param name: the vendor's own words: a business message, or the gateway's ``Code``; empty where none is
        published.
    :param meaning: the same in plain English.
    :param new_attempt: as the verdict on a task, whether the vendor allows a new attempt (which pays again
        only for a success: a failed task is not billed).
    :param error: the class to raise when a submit stops at it.
    :param http_statuses: the statuses under which the vendor sends it, the usual one first; 500 and 403 stand
        for "5xx" and "4xx" where no more is published, and it is empty where nothing is.
    """

    code: int | None
    name: str
    meaning: str
    family: Family
    on_submit: OnSubmit
    on_query: OnQuery
    new_attempt: bool
    error: type[JimengError]
    http_statuses: tuple[int, ...] = ()

    @property
    def verdict_error(self) -> type[JimengTaskFailedError]:
        """The class to raise when this is the verdict on a task."""
        return JimengRetryableTaskError if self.new_attempt else JimengTaskFailedError


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the codes of a family have in common."""

    family: Family
    on_submit: OnSubmit
    on_query: OnQuery
    error: type[JimengError]


_PARAMETER = _Kind(Family.PARAMETER, OnSubmit.STOP, OnQuery.HOLD, JimengInputError)
_MEDIA = _Kind(Family.MEDIA, OnSubmit.STOP, OnQuery.VERDICT, JimengInputError)
_INVALID = _Kind(Family.MEDIA, OnSubmit.STOP, OnQuery.GRACE, JimengInputError)
_INPUT = _Kind(Family.INPUT_REVIEW, OnSubmit.STOP, OnQuery.VERDICT, JimengInputError)
_OUTPUT = _Kind(Family.OUTPUT_REVIEW, OnSubmit.STOP, OnQuery.VERDICT, JimengInputError)
_REVIEWER = _Kind(Family.REVIEW_SERVICE, OnSubmit.STOP, OnQuery.VERDICT, JimengInputError)
_RATE = _Kind(Family.RATE, OnSubmit.RETRY, OnQuery.RETRY, JimengThrottledError)
_CONCURRENCY = _Kind(Family.CONCURRENCY, OnSubmit.RETRY, OnQuery.RETRY, JimengThrottledError)
_INTERNAL = _Kind(Family.INTERNAL, OnSubmit.UNKNOWN, OnQuery.RETRY, JimengUnknownSubmitError)
_REQUEST = _Kind(Family.REQUEST, OnSubmit.STOP, OnQuery.HOLD, JimengConfigurationError)
_CREDENTIAL = _Kind(Family.CREDENTIAL, OnSubmit.STOP, OnQuery.HOLD, JimengCredentialError)
_PERMISSION = _Kind(Family.PERMISSION, OnSubmit.STOP, OnQuery.HOLD, JimengPermissionError)
_CLOCK = _Kind(Family.CLOCK, OnSubmit.SIGN_AGAIN, OnQuery.SIGN_AGAIN, JimengClockError)
_TOKEN = _Kind(Family.TOKEN, OnSubmit.REFRESH, OnQuery.REFRESH, JimengCredentialError)
_SUCCESS = _Kind(Family.SUCCESS, OnSubmit.CREATED, OnQuery.ANSWERED, JimengProtocolError)


def _row(
    kind: _Kind, code: int, http: int | tuple[int, ...], name: str, meaning: str, *, new_attempt: bool = False
) -> CodeRule:
    statuses = http if isinstance(http, tuple) else (http,)
    return CodeRule(
        code, name, meaning, kind.family, kind.on_submit, kind.on_query, new_attempt, kind.error, statuses
    )


# The vendor's message for 50413 is the one of 50512, verbatim.
_INTERFACE_DOCUMENT = (
    _row(_SUCCESS, SUCCESS, 200, "Success", "success"),
    _row(_INPUT, 50411, 400, "Pre Img Risk Not Pass", "the input image failed review"),
    _row(_OUTPUT, 50511, 400, "Post Img Risk Not Pass", "the output image failed review", new_attempt=True),
    _row(_INPUT, 50412, 400, "Text Risk Not Pass", "the input text failed review"),
    _row(_OUTPUT, 50512, 400, "Post Text Risk Not Pass", "the output text failed review"),
    _row(_INPUT, 50413, 400, "Post Text Risk Not Pass", "the input text has sensitive or copyrighted words"),
    _row(
        _RATE,
        50429,
        429,
        "Request Has Reached API Limit, Please Try Later",
        "too many calls a second",
        new_attempt=True,
    ),
    _row(
        _CONCURRENCY,
        50430,
        429,
        "Request Has Reached API Concurrent Limit, Please Try Later",
        "every slot of the account is busy",
        new_attempt=True,
    ),
    _row(_INTERNAL, 50500, 500, "Internal Error", "internal error of the vendor", new_attempt=True),
    _row(_INTERNAL, 50501, 500, "Internal RPC Error", "internal error of the algorithm", new_attempt=True),
)

_FURTHER_BUSINESS = (
    _row(_PARAMETER, 50200, 400, "", "a parameter is wrong"),
    _row(_PARAMETER, 50201, 400, "", "a parameter is missing"),
    _row(_PARAMETER, 50204, 400, "", "a parameter is of the wrong type"),
    _row(_MEDIA, 50205, 400, "", "the image is too large"),
    _row(_MEDIA, 50206, 400, "", "the image is empty"),
    _row(_MEDIA, 50207, 400, "", "the image cannot be decoded"),
    _row(_MEDIA, 50209, 400, "", "the video is empty"),
    _row(_MEDIA, 50210, 400, "", "the video cannot be decoded"),
    _row(_MEDIA, 50211, 400, "", "the video's size is not supported"),
    _row(_PARAMETER, 50213, 400, "", "the request body is too large"),
    _row(_MEDIA, 50214, 400, "", "the video is too long"),
    _row(_INVALID, 50215, 400, "Input invalid for this service.", "the input is not valid for this product"),
    _row(_INPUT, 50218, 400, "", "the input was judged to be a risk"),
    _row(_PERMISSION, 50400, (401, 400), "", "no permission, product not activated, or a wrong req_key"),
    _row(_REQUEST, 50402, (), "", "the vendor does not know this interface"),
    _row(_INPUT, 50513, 400, "", "the input video failed review"),
    _row(_INPUT, 50514, 400, "", "the input's audio failed review"),
    _row(_OUTPUT, 50516, 400, "", "the output video failed review", new_attempt=True),
    _row(_OUTPUT, 50517, 400, "", "the output's audio failed review", new_attempt=True),
    _row(_INPUT, 50518, 400, "", "the input image is copyrighted"),
    _row(_OUTPUT, 50519, 400, "", "the output image is copyrighted", new_attempt=True),
    _row(_REVIEWER, 50520, (400, 500), "", "the review service failed"),
    _row(_REVIEWER, 50521, (400, 500), "", "the review service failed"),
    _row(_REVIEWER, 50522, (400, 500), "", "the review service failed"),
    _row(_MEDIA, 60102, 400, "", "no face was found in the image"),
    _row(_INPUT, 60208, 400, "", "the image is sensitive"),
)

_GATEWAY = (
    _row(_REQUEST, 100002, 400, "MissingParameter", "a query parameter is missing"),
    _row(_REQUEST, 100004, 400, "MissingRequestInfo", "the request is incomplete"),
    _row(_CREDENTIAL, 100003, 401, "MissingAuthenticationToken", "the request carries no credentials"),
    _row(_CREDENTIAL, 100005, 401, "MissingSignature", "the request carries no signature"),
    _row(_CLOCK, 100006, (400, 403), "InvalidTimestamp", "the vendor refuses the date of the signature"),
    _row(_REQUEST, 100007, 404, "ServiceNotFound", "the endpoint does not know this service or region"),
    _row(
        _REQUEST, 100008, 404, "InvalidActionOrVersion", "the endpoint does not know this action or version"
    ),
    _row(_REQUEST, 100020, 405, "MethodNotAllowed", "the endpoint does not take this method"),
    _row(_CREDENTIAL, 100009, 401, "InvalidAccessKey", "the vendor does not know this access key"),
    _row(
        _CREDENTIAL, 100010, 401, "SignatureDoesNotMatch", "the secret key does not belong to the access key"
    ),
    _row(_PERMISSION, 100011, 403, "LackPolicy", "the key has no policy that allows this"),
    _row(_PERMISSION, 100012, 403, "AccessDenied", "the key may not do this"),
    _row(_PERMISSION, 100013, 403, "AccessDenied", "the key may not do this"),
    _row(_PERMISSION, 100021, 403, "", "the key may not do this"),
    *(
        _row(_INTERNAL, code, 500, "", "the gateway failed, or could not reach the service in time")
        for code in (100001, 100014, 100015, 100016, 100023)
    ),
    _row(_RATE, 100018, 429, "FlowLimitExceeded", "the gateway's flow limit"),
    _row(_RATE, 100027, 429, "FlowLimitExceeded", "the gateway's flow limit"),
    _row(_RATE, 100034, 429, "FlowLimitExceeded", "the gateway's flow limit"),
    _row(_INTERNAL, 100019, 503, "ServiceUnavailableTemp", "the service is unavailable for a while"),
    _row(_INTERNAL, 100035, 503, "", "the service is overloaded"),
    _row(_CREDENTIAL, 100024, 400, "InvalidAuthorization", "the Authorization header is malformed"),
    _row(_CREDENTIAL, 100025, 400, "InvalidCredential", "the credential's scope is malformed"),
    _row(_TOKEN, 100026, 401, "InvalidSecretToken", "the session token is wrong or has expired"),
    *(
        _row(_PERMISSION, code, 403, "", "no such user, a mismatch, or this account is denied")
        for code in (100028, 100029, 100030, 100031, 100032, 100033, 100036)
    ),
)

#: Every modelled code, business and gateway.
RULES: Mapping[int, CodeRule] = MappingProxyType(
    {
        rule.code: rule
        for rule in (*_INTERFACE_DOCUMENT, *_FURTHER_BUSINESS, *_GATEWAY)
        if rule.code is not None
    }
)

# Reversed, so that of several codes with one word the first of the table stays.
_BY_NAME: Mapping[str, int] = {
    rule.name: rule.code for rule in reversed(_GATEWAY) if rule.name and rule.code is not None
}


def code_named(name: str) -> int | None:
    """
    Find a gateway's code by its word, for answers whose ``CodeN`` is absent or new.

    :param name: such as ``SignatureDoesNotMatch``.
    """
    return _BY_NAME.get(name)


def throttle_kind(rule: CodeRule) -> str | None:
    """
    Tell which limit refused a call: ``"rate"`` (calls a second), ``"concurrency"`` (slots) or ``None``.

    :param rule: from :func:`rule_for`.
    """
    return rule.family.value if rule.family in (Family.RATE, Family.CONCURRENCY) else None


def rule_for(answer: Answer) -> CodeRule:
    """
    Find what an answer allows, with defaults for codes this release does not model.

    The defaults lean to the side that costs time and not money: a submit is *not created* only where the
    vendor's own envelope refuses it with a 4xx, everything else is unknown; a query never ends a wait unless
    the answer says ``done``.

    :param answer: any answer, understood or not.
    """
    rule = RULES.get(answer.code) if answer.code is not None else None
    if rule is None:
        return _default(answer)
    if rule.family is Family.REVIEW_SERVICE and answer.http_status >= 500:
        return replace(
            rule, on_submit=OnSubmit.UNKNOWN, on_query=OnQuery.RETRY, error=JimengUnknownSubmitError
        )
    return rule


#: Timeouts that wear a 4xx: the request may well have been carried out.
_TIMED_OUT = frozenset({408, 499})


def _default(answer: Answer) -> CodeRule:
    if answer.http_status == 407:
        return _unmodelled(
            answer, "a proxy wants credentials", OnSubmit.STOP, OnQuery.HOLD, JimengConfigurationError
        )
    if answer.envelope is Envelope.NONE:
        return _unmodelled(
            answer,
            f"HTTP {answer.http_status} with a body that is not the vendor's",
            OnSubmit.UNKNOWN,
            OnQuery.RETRY,
            JimengUnknownSubmitError,
        )
    # The gateway knows of calls and not of tasks: what it says is no verdict, whatever stands beside it.
    told = answer.data if answer.envelope is Envelope.BUSINESS else None
    done = told is not None and told.get("status") == "done"
    meaning = "a code that this release does not know"
    if 400 <= answer.http_status < 500 and answer.http_status not in _TIMED_OUT:
        if answer.http_status == 429:
            return _unmodelled(
                answer, meaning, OnSubmit.RETRY, OnQuery.RETRY, JimengThrottledError, family=Family.RATE
            )
        on_query = OnQuery.VERDICT if done else OnQuery.HOLD
        other = JimengConfigurationError if answer.envelope is Envelope.GATEWAY else JimengInputError
        error = _REFUSALS.get(answer.http_status, other)
        return _unmodelled(answer, meaning, OnSubmit.STOP, on_query, error)
    on_query = OnQuery.VERDICT if done else OnQuery.RETRY
    return _unmodelled(answer, meaning, OnSubmit.UNKNOWN, on_query, JimengUnknownSubmitError)


_REFUSALS: Mapping[int, type[JimengError]] = {
    401: JimengCredentialError,
    403: JimengPermissionError,
    404: JimengConfigurationError,
    405: JimengConfigurationError,
}


def _unmodelled(
    answer: Answer,
    meaning: str,
    on_submit: OnSubmit,
    on_query: OnQuery,
    error: type[JimengError],
    *,
    family: Family = Family.UNMODELLED,
) -> CodeRule:
    return CodeRule(
        answer.code,
        answer.name,
        meaning,
        family,
        on_submit,
        on_query,
        False,
        error,
        (answer.http_status,),
    )
