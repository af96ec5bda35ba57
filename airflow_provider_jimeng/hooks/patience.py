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


def bears_a_silent_ledger(work: Callable[P, T]) -> Callable[P, T]:
    """
    Run a task's leg again while the ledger does not answer, for up to five minutes.

    From the top, as a retry would: a leg begins with what the ledger knows, so running it twice pays nothing.

    :raises JimengLedgerUnavailableError: it was silent for longer.
    """

    @functools.wraps(work)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        since: float | None = None
        tries = 0
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
                if left <= 0:
                    raise
                spread = random.random()  # noqa: S311 - jitter may be guessed
                delay = backoff_delay(tries, base=1.0, cap=15.0, jitter=spread)
                tries += 1
                time.sleep(min(delay, left))

    return patient
