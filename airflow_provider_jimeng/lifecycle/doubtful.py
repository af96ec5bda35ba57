# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A submit of which nobody knows the outcome, seen by a task that asks for another content by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.decide import Step, decide
from airflow_provider_jimeng.lifecycle.release import release_unknown

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.lifecycle.wanted import Policies

__all__ = ["settle_doubt"]


def settle_doubt(ledger: Ledger, row: TaskRecord, policies: Policies) -> float:
    """
    Do with an intent, or an unknown, what a pass towards its own content would do.

    :return: seconds after which to look at it again; 0.0 where it is another row by now.
    :raises JimengUnknownSubmitError: nobody knows its outcome, and the user did not choose to submit again.
    """
    decision = decide(row, policies=policies, attempts=0, now=ledger.now())
    if decision.error is not None:
        raise decision.error
    if decision.step is Step.WAIT:
        return decision.wait
    try:
        if row.state is TaskState.INTENT:
            # A claim for its content would do this; none may ever be made.
            ledger.record_unknown(row, message="The owner fell silent, and may have sent before it did.")
        else:
            release_unknown(ledger, row)
    except LostRace:
        pass
    return 0.0
