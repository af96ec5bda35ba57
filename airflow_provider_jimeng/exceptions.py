# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The errors, one class per reaction.

Catch by what you would *do*, not by what the vendor printed::

    JimengError
    ├── JimengNotCreatedError          nothing was created, nothing was paid
    │   ├── JimengInputError           the input is wrong: correct it
    │   ├── JimengUnreadableInputError an input can't be read now: a later look may succeed
    │   ├── JimengInputStoreError      the store of an input does not answer: a later try may succeed
    │   ├── JimengConfigurationError   endpoint, product or connection field is wrong: correct the connection
    │   │   ├── JimengCredentialError  the key, the signature or the token is refused
    │   │   ├── JimengPermissionError  the key is known but may not do this, or the product is not activated
    │   │   └── JimengClockError       this machine's clock is off
    │   ├── JimengThrottledError       50429, 50430 or the gateway's flow limit: a later call will do
    │   ├── JimengNoSlotError          every slot of the account is busy
    │   ├── JimengSpendLimitError      a budget, the daily limit or the pause switch stopped the submit
    │   ├── JimengNotSentError         the request never left this machine
    │   └── JimengLedgerError          the ledger cannot be used: submits stop
    │       └── JimengLedgerUnavailableError  it does not answer: it is waited for
    ├── JimengUnknownSubmitError       the vendor may or may not have created a task: a person decides
    ├── JimengTaskFailedError          the vendor's final verdict on a task
    │   └── JimengRetryableTaskError   a verdict for which the vendor allows a new attempt
    ├── JimengTaskExpiredError         not harvested within 12 hours: possibly billed
    ├── JimengWaitTimeoutError         the user's deadline passed: the task still runs, a retry re-attaches
    ├── JimengToleranceExceededError   more items of a bulk run came to nothing than it may
    ├── JimengRunIncompleteError       a bulk run stopped submitting: the next one goes on there
    ├── JimengStoppedError             the task was told to stop (SIGTERM): a retry goes on there
    ├── JimengInputChangedError        other bytes are behind the same URL
    ├── JimengLandingError             the result is not stored yet: the task is not lost
    │   ├── JimengOutputExistsError    a foreign file stands where the result should go
    │   └── JimengMissingOutputError   what was landed is gone, and the vendor no longer has it
    └── JimengProtocolError            an answer that cannot be understood

None of them says "try again" where money may have been spent.
"""

from __future__ import annotations

from typing import Any, Self

__all__ = [
    "JimengClockError",
    "JimengConfigurationError",
    "JimengCredentialError",
    "JimengError",
    "JimengInputChangedError",
    "JimengInputError",
    "JimengInputStoreError",
    "JimengLandingError",
    "JimengLedgerError",
    "JimengLedgerUnavailableError",
    "JimengMissingOutputError",
    "JimengNoSlotError",
    "JimengNotCreatedError",
    "JimengNotSentError",
    "JimengOutputExistsError",
    "JimengPermissionError",
    "JimengProtocolError",
    "JimengRetryableTaskError",
    "JimengRunIncompleteError",
    "JimengSpendLimitError",
    "JimengStoppedError",
    "JimengTaskExpiredError",
    "JimengTaskFailedError",
    "JimengThrottledError",
    "JimengToleranceExceededError",
    "JimengUnknownSubmitError",
    "JimengUnreadableInputError",
    "JimengWaitTimeoutError",
]


class JimengError(Exception):
    """
    Base of every error of this provider.

    :param message: what happened, what it cost, and what to do.
    :param code: the vendor's business code or the gateway's ``CodeN``; ``None`` where no answer carried one.
    :param request_id: the vendor's request id, to quote to their support.
    :param task_id: the vendor's task, where one is known to exist.
    :param content_key: the ledger's key of the content that was asked for.
    :param http_status: the HTTP status of the answer, where there was one.
    """

    #: Whether running the same Airflow task again can change anything without a person acting first. A single
    #: error may say otherwise than its class.
    retry_helps: bool = True

    def __init__(
        self,
        message: str = "",
        *,
        code: int | None = None,
        request_id: str | None = None,
        task_id: str | None = None,
        content_key: str | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.request_id = request_id
        self.task_id = task_id
        self.content_key = content_key
        self.http_status = http_status

    def retried(self, helps: bool) -> Self:
        """Note whether a retry of this one helps, whatever its class says, and return the error."""
        self.retry_helps = helps
        return self

    def _facts(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "request_id": self.request_id,
            "task_id": self.task_id,
            "content_key": self.content_key,
            "http_status": self.http_status,
        }

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self._facts().items() if value is not None)
        return f"{self.message} [{facts}]" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Airflow's executors pickle exceptions between processes; keyword-only arguments
        # are lost by the default protocol, and an exception that can't be unpickled kills the reader.
        own = {name: self.__dict__[name] for name in ("retry_helps",) if name in self.__dict__}
        return _rebuild, (type(self), self.message, self._facts()), own or None


def _rebuild(cls: type[JimengError], message: str, facts: dict[str, Any]) -> JimengError:
    return cls(message, **facts)


class JimengNotCreatedError(JimengError):
    """The vendor created no task and billed nothing."""


class JimengInputError(JimengNotCreatedError, ValueError):
    """
    An argument, a manifest line or the media behind a URL is wrong.

    Raised before anything is paid; the message names the field.
    """

    retry_helps = False


class JimengUnreadableInputError(JimengNotCreatedError):
    """An input could not be looked at before its submit, for a reason that may pass."""


class JimengInputStoreError(JimengNotCreatedError):
    """The store of an input, or what gives the keys to it, does not answer: it can't be presigned now."""


class JimengConfigurationError(JimengNotCreatedError):
    """The connection, the endpoint or the account's set-up is wrong."""

    retry_helps = False


class JimengCredentialError(JimengConfigurationError):
    """The vendor refuses the access key, the signature or the session token."""


class JimengPermissionError(JimengConfigurationError):
    """The key is known but may not call this action, or the product is not activated."""


class JimengClockError(JimengConfigurationError):
    """The vendor refuses the date of the signature: this machine's clock is off."""

    retry_helps = True


class JimengThrottledError(JimengNotCreatedError):
    """The vendor's rate or concurrency limit refused the submit."""


class JimengNoSlotError(JimengNotCreatedError):
    """Every slot of the account stayed busy for as long as the caller was willing to wait."""


class JimengSpendLimitError(JimengNotCreatedError):
    """
    A budget, the account's daily limit, its circuit breaker or its pause switch stopped the submit.

    :ivar reason: ``paused``, ``breaker``, ``daily_limit``, ``budget`` or ``attempts``, where it is known.
    """

    reason: str | None = None

    def because(self, reason: str) -> JimengSpendLimitError:
        """Note which rule it was, and return the error."""
        self.reason = reason
        return self


class JimengNotSentError(JimengNotCreatedError):
    """The request never left this machine: no address, no connection, no TLS, or too old an intent."""


class JimengLedgerError(JimengNotCreatedError):
    """
    The ledger can't be read or written.

    "I could not read" is never "it is not there": submits stop until it answers.
    """


class JimengLedgerUnavailableError(JimengLedgerError):
    """
    The ledger's database does not answer: it restarts, its disk is full, the network is down.

    Tasks wait for it before it costs them a try; nothing is submitted meanwhile.
    """


class JimengUnknownSubmitError(JimengError):
    """
    A submit whose outcome nobody knows: the vendor may be running, and billing, a task whose id was lost.

    It is never repeated by itself; see ``on_unknown_submit`` and ``ledger release|adopt``.
    """

    retry_helps = False


class JimengTaskFailedError(JimengError):
    """The vendor's final verdict on a task. A task that fails is not billed."""

    retry_helps = False


class JimengRetryableTaskError(JimengTaskFailedError):
    """A verdict for which the vendor allows a new attempt, with no attempt left in this run."""


class JimengTaskExpiredError(JimengError):
    """
    The vendor no longer knows the task: it ran, may have been billed, and was not fetched in time.

    Where the submit is less than twelve hours ago the vendor may have it after all, and a retry, which asks,
    helps (:meth:`JimengError.retried`).
    """

    retry_helps = False


class JimengWaitTimeoutError(JimengError):
    """The user's deadline passed while the task ran; it stays recorded, and a later try re-attaches."""


class JimengInputChangedError(JimengError):
    """Other bytes are behind an input URL than those that were paid for."""

    retry_helps = False


class JimengLandingError(JimengError):
    """The result could not be stored; the task itself is paid, safe and will be fetched again."""


class JimengOutputExistsError(JimengLandingError):
    """A file that this provider did not write stands where the result should go."""

    retry_helps = False


class JimengMissingOutputError(JimengLandingError):
    """
    What was landed is gone from every place it was put, and the vendor no longer has it.

    As with :class:`JimengTaskExpiredError`, a retry helps in the first twelve hours.
    """

    retry_helps = False


class JimengToleranceExceededError(JimengError):
    """More items of a bulk run came to nothing than its tolerance allows; the report tells which."""

    retry_helps = False


class JimengRunIncompleteError(JimengError):
    """
    A bulk run left items out: a budget, a limit, a deadline or the account's set-up stopped its submits.

    What is left out was not paid for; the next run goes on there.
    """

    retry_helps = False


class JimengStoppedError(JimengError):
    """
    The task was told to stop: marked failed, cleared, or its worker goes away.

    It submits nothing more. What is at the vendor stays there, known to the ledger; a later try goes on with
    it.
    """


class JimengProtocolError(JimengError):
    """An answer, an event or a record that this release does not understand; nothing is guessed."""
