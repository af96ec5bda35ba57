# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Calls a second, per process and account: threads and event loops draw on the same bucket.

The vendor counts the calls of an account, so a limiter per client object would be one per task of a
triggerer.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING

from airflow_provider_jimeng.policy.rate import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.client.settings import AccountSettings

SUBMIT = "submit"
QUERY = "query"
#: How often somebody who waits for a turn looks whether it is still wanted.
_NAP_SECONDS = 0.2


class RateLimiter:
    """
    A token bucket that threads and coroutines may share.

    The lock is held for arithmetic only, so that taking it never blocks an event loop.

    :param rate: calls a second.
    :param clock: seconds that never go back.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._bucket = TokenBucket(rate=rate, burst=1.0)

    def reserve(self) -> float:
        """Take the next turn and return the seconds until it comes."""
        with self._lock:
            return self._bucket.reserve(self._clock())

    def give_back(self) -> None:
        """Return a turn that nobody will use."""
        with self._lock:
            self._bucket.give_back()

    def acquire(self, timeout: float | None = None, withdrawn: Callable[[], bool] | None = None) -> bool:
        """
        Wait for the next turn; ``False``, at once, where it comes after ``timeout`` seconds.

        :param withdrawn: tells, while it is waited for, that nobody wants the turn any more: ``False`` too.
        """
        wait = self.reserve()
        if timeout is not None and wait > timeout:
            self.give_back()
            return False
        try:
            while wait > 0:
                if withdrawn is not None and withdrawn():
                    self.give_back()
                    return False
                nap = wait if withdrawn is None else min(wait, _NAP_SECONDS)
                time.sleep(nap)
                wait -= nap
        except BaseException:
            self.give_back()
            raise
        return True

    async def acquire_async(self) -> None:
        """Wait for the next turn without blocking the event loop; who is cancelled gives it back."""
        wait = self.reserve()
        if wait > 0:
            try:
                await asyncio.sleep(wait)
            except BaseException:
                self.give_back()
                raise


class _Registry:
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._limiters: dict[tuple[str, str, str, float], RateLimiter] = {}

    def get(self, endpoint: str, account: str, kind: str, rate: float) -> RateLimiter:
        with self._lock:
            key = (endpoint, account, kind, rate)
            return self._limiters.get(key) or self._limiters.setdefault(key, RateLimiter(rate))


_registry = _Registry()
os.register_at_fork(after_in_child=_registry.forget)


def submit_limiter(settings: AccountSettings) -> RateLimiter:
    """Return this process's limiter of an account's submits."""
    return _registry.get(settings.endpoint.origin, settings.account, SUBMIT, settings.submit_qps)


def query_limiter(settings: AccountSettings) -> RateLimiter:
    """Return this process's limiter of an account's queries."""
    return _registry.get(settings.endpoint.origin, settings.account, QUERY, settings.query_qps)
