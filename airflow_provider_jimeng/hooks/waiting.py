# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Waiting for a slot on the worker itself: what hooks and operators do that can't be deferred."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengNoSlotError
from airflow_provider_jimeng.lifecycle.counting import slot_waited_for
from airflow_provider_jimeng.lifecycle.ensured import InHand

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.lifecycle.ensured import Ensured

log = logging.getLogger(__name__)

#: A worker that can't be deferred looks again after this long at the latest, whatever it waits for.
_MOST_PAUSE = 300.0


def current_run_start() -> float | None:
    """Return when the DAG run began that this ``@task`` is part of, in epoch seconds; ``None`` outside."""
    from airflow.providers.common.compat.sdk import get_current_context

    try:
        began = getattr(get_current_context().get("dag_run"), "start_date", None)
    except RuntimeError:
        return None
    return None if began is None else float(began.timestamp())


def wait_on_worker(
    attempt: Callable[[], Ensured],
    *,
    timeout: float,
    key: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> InHand:
    """
    Repeat a pass until a task is in hand, on this worker.

    :param timeout: seconds.
    :raises JimengNoSlotError: no slot came free in time; nothing was paid.
    """
    began = clock()
    until = began + timeout
    told: str | None = None
    while True:
        outcome = attempt()
        if isinstance(outcome, InHand):
            slot_waited_for(outcome, clock() - began)
            return outcome
        if outcome.reason != told:
            log.info("Waiting (%s); nothing is submitted and nothing is paid meanwhile.", outcome.reason)
            told = outcome.reason
        left = until - clock()
        if left <= 0:
            slots = f"{outcome.in_use} of {outcome.limit} slots in use"
            why = "a task that was given up may be there after all" if outcome.reason == "given_up" else slots
            raise JimengNoSlotError(
                f"No task could be submitted within {timeout:.0f} s ({outcome.reason}: {why}). Nothing was "
                "paid by this wait; a retry goes on with it",
                content_key=key,
            )
        # Short enough to take a slot soon after it is free: the look-up is one query of the ledger. What was
        # given up is a question to the vendor, whose pace is its own.
        most = _MOST_PAUSE if outcome.reason == "given_up" else 2.0
        sleep(min(left, max(0.2, min(outcome.retry_after or 1.0, most))))
