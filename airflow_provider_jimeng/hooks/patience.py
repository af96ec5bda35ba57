# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A silent ledger is waited for by the task itself, before it costs a try.

A database that restarts, fails over or is patched is away for a minute or five; a task's retries are used up
within one, and then somebody has to clear tasks at night that nothing is wrong with. Nothing is submitted
meanwhile, and what runs at the vendor goes on.
"""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow_provider_jimeng.exceptions import JimengLedgerUnavailableError
from airflow_provider_jimeng.policy.backoff import backoff_delay

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

#: As long as a bulk run bears it. A worker is held meanwhile; a try would be lost otherwise.
PATIENCE_SECONDS = 300.0
_NAP_SECONDS = 0.5


def bears_a_silent_ledger(work: Callable[P, T]) -> Callable[P, T]:
    """
    Run a task's leg again while the ledger does not answer, for up to five minutes.

    From the top, as a retry would: a leg begins with what the ledger knows, so running it twice pays nothing.

    :raises JimengLedgerUnavailableError: it was silent for longer.
    """

    @functools.wraps(work)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        since: float | None = None
        tries, stopping = 0, _stopping_of(args)
        while True:
            began = time.monotonic()
            try:
                return work(*args, **kwargs)
            except JimengLedgerUnavailableError as error:
                now = time.monotonic()
                # A leg that got far before the ledger fell silent begins a new wait.
                if since is None or now - began > PATIENCE_SECONDS:
                    since, tries = now, 0
                    log.warning("%s Waiting for it, %.0f s at most.", error.message, PATIENCE_SECONDS)
                left = PATIENCE_SECONDS - (now - since)
                if left <= 0 or (stopping is not None and stopping()):
                    raise
                spread = random.random()  # noqa: S311 - jitter may be guessed
                delay = backoff_delay(tries, base=1.0, cap=15.0, jitter=spread)
                tries += 1
                _pause(min(delay, left), stopping)

    return patient


def _stopping_of(args: tuple[object, ...]) -> Callable[[], bool] | None:
    """Return what tells that the task, a method of which is run, was told to stop (SIGTERM), if it can be."""
    stopping = getattr(args[0], "stopping", None) if args else None
    return stopping if callable(stopping) else None


def _pause(seconds: float, stopping: Callable[[], bool] | None) -> None:
    while seconds > 0 and not (stopping is not None and stopping()):
        nap = seconds if stopping is None else min(seconds, _NAP_SECONDS)
        time.sleep(nap)
        seconds -= nap
