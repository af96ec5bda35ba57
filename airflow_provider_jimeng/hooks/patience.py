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

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengLedgerError,
    JimengLedgerUnavailableError,
)
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
    With the connections that it has, which may be as silent as the ledger. They are read anew where another
    address is configured for the ledger by then: a run lasts for days, and the password that it has read on
    its first one is refused once somebody has changed it.

    :raises JimengLedgerUnavailableError: it was silent for longer.
    :raises JimengLedgerError: it refuses the address that is configured now, too.
    """

    @functools.wraps(work)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        since: float | None = None
        tries, stopping, renew_from = 0, _stopping_of(args), 0.0
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
                if _was_given_another_address(_hook_of(args)):
                    _forget_hook(args)
            except JimengLedgerError as error:
                now = time.monotonic()
                # Some secrets backends give another password each time: once in a while is no hot loop.
                if now < renew_from or not _was_given_another_address(_hook_of(args)):
                    raise
                renew_from = now + PATIENCE_SECONDS
                log.warning("%s Its address was changed meanwhile: going on with the new one.", error.message)
                _forget_hook(args)

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


def _hook_of(args: tuple[object, ...]) -> object:
    """Return the hook that an operator or a sensor has made for itself, if it has."""
    return getattr(args[0], "__dict__", {}).get("hook") if args else None


def _was_given_another_address(hook: object) -> bool:
    """Return whether the configuration names another ledger, or password, than a hook has read."""
    from airflow_provider_jimeng.hooks.ledger import ledger_url

    ledger = getattr(hook, "__dict__", {}).get("ledger")
    try:
        return ledger is not None and not ledger.is_at(ledger_url())
    except JimengError:
        # What can't be read now tells of no change: the hook knows its connections, and keeps them.
        return False


def _forget_hook(args: tuple[object, ...]) -> None:
    if args:
        getattr(args[0], "__dict__", {}).pop("hook", None)
