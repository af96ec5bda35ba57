# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A retry policy for tasks of this provider, and for ``@task`` functions that use its hook (Airflow 3.3).

The operators need none: what no retry can change ends their task at once on every Airflow. A ``@task`` that
calls :class:`~airflow_provider_jimeng.hooks.jimeng.JimengHook` raises the plain errors, which Airflow would
retry, wrong keys and verdicts included; and nothing but a policy can choose the delay by the error.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengError,
    JimengSpendLimitError,
    JimengThrottledError,
)
from airflow_provider_jimeng.policy.backoff import backoff_delay
from airflow_provider_jimeng.policy.slots import BREAKER_SECONDS_MAX, COOL_DOWN_SECONDS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:  # before Airflow 3.3
        RetryDecision, RetryPolicy = None, object

__all__ = ["JimengRetryPolicy"]

_DAY = 86400.0
#: After the limit's day has ended, waiters are spread over this long.
_MIDNIGHT_SPREAD = 60.0
#: Counted over all tries of a task instance, so that no try can change it.
_FOR_ALL_TRIES = frozenset({"budget", "attempts"})


class JimengRetryPolicy(RetryPolicy):
    """
    Fail at once where a retry can't help, wait where the account has to, else leave it to the task.

    ============================================================  ============================================
    error                                                         decision
    ============================================================  ============================================
    whose ``retry_helps`` is false: wrong input, wrong keys, a    fail
    verdict, an unknown submit, an expired task
    ``JimengSpendLimitError``: budget, attempts                   fail: they count over all tries
    ``JimengSpendLimitError``: daily limit                        retry when the UTC day is over
    ``JimengThrottledError``; breaker or pause                    retry after a minute, doubled up to a
                                                                  quarter of an hour
    any other of this provider's                                  the task's own ``retry_delay``
    any other                                                     what ``otherwise`` says, else the task's own
    ============================================================  ============================================

    A retry costs nothing: it finds in the ledger what was paid for. It can't go beyond ``retries``.

    :param otherwise: the policy for errors that are not this provider's.
    :param now: epoch seconds, for the end of the day.
    :param jitter: gives numbers in [0, 1): tasks that failed together must not wake together.
    :raises JimengConfigurationError: before Airflow 3.3, which has no retry policies.
    """

    def __init__(
        self,
        otherwise: RetryPolicy | None = None,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if RetryDecision is None:
            raise JimengConfigurationError(
                "JimengRetryPolicy needs Airflow 3.3 or later, which has retry policies. Nothing was sent or "
                "paid; leave out retry_policy: the operators fail at once by themselves where a retry can't "
                "help"
            )
        self.otherwise = otherwise
        self._now, self._jitter = now, jitter

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """
        Decide about one failure.

        :param try_number: of the try that failed, from 1.
        """
        error = _ours(exception)
        if error is None:
            if self.otherwise is None:
                return RetryDecision.default()
            return self.otherwise.evaluate(exception, try_number, max_tries, context)
        name = type(error).__name__
        reason = getattr(error, "reason", None)
        if not error.retry_helps or reason in _FOR_ALL_TRIES:
            return RetryDecision.fail(f"{name}: no retry can change it")
        if reason == "daily_limit":
            now = self._now()
            left = _DAY - now % _DAY + _MIDNIGHT_SPREAD * self._jitter()
            return RetryDecision.retry(dt.timedelta(seconds=left), f"{name}: until the UTC day is over")
        if isinstance(error, (JimengThrottledError, JimengSpendLimitError)):
            seconds = backoff_delay(
                try_number, base=COOL_DOWN_SECONDS_MAX, cap=BREAKER_SECONDS_MAX, jitter=self._jitter()
            )
            return RetryDecision.retry(dt.timedelta(seconds=seconds), f"{name}: the account has to wait")
        return RetryDecision.default()


def _ours(exception: BaseException | None) -> JimengError | None:
    """Return the provider's error in a chain of causes, outermost first."""
    seen: set[int] = set()
    while exception is not None and id(exception) not in seen:
        if isinstance(exception, JimengError):
            return exception
        seen.add(id(exception))
        exception = exception.__cause__
    return None
