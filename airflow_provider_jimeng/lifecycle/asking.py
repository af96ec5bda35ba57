# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Free questions about paid tasks of which it is not certain that the vendor has them, or would say so.

One was given up, see :mod:`~airflow_provider_jimeng.lifecycle.revive`. Another is of a nameless account whose
key the connection does not have: it may be this account with its key rotated, or somebody else's. What the
vendor tells of such a task is true, whoever asks; that there is none is what it tells every stranger.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.exceptions import JimengConfigurationError
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.harvest import Watched, harvest, harvest_doubt, record_verdict
from airflow_provider_jimeng.lifecycle.revive import Revived, revive
from airflow_provider_jimeng.policy import giving_up
from airflow_provider_jimeng.policy.poll import PollKind

if TYPE_CHECKING:
    from airflow_provider_jimeng.client.sync import SyncClient
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.policy.poll import PollDecision, PollState

__all__ = ["ask_about", "is_true_for_strangers", "unknown_to_this_key"]


def is_true_for_strangers(
    record: TaskRecord, state: PollState, decision: PollDecision, *, now: float
) -> bool:
    """
    Return whether an end is one, although the key that asked may be another account's.

    :param now: epoch seconds.
    """
    if decision.kind is PollKind.EXPIRED:
        return record.submitted_at is not None and now - record.submitted_at >= TASK_LIFETIME_SECONDS
    return decision.final and state.doubt is None


def unknown_to_this_key(record: TaskRecord) -> JimengConfigurationError:
    """Return the error of a denial that a stranger's key would be told, too."""
    return JimengConfigurationError(
        f"The vendor has no such task for this connection's key. It was submitted as account "
        f"{record.scope.account!r} at {record.scope.endpoint}, with another key: that account's connection "
        "brings it home, if this is not that account. It stays paid and known",
        task_id=record.task_id,
        content_key=record.content_key,
    )


def ask_about(ledger: Ledger, client: SyncClient, record: TaskRecord) -> Revived:
    """
    Ask about a task that was given up, or about one that may be another account's.

    :return: its row: *succeeded*, *failed*, *submitted* where the vendor has it and it runs, *expired* where
        it is lost; or when to ask again.
    :raises JimengConfigurationError: the vendor has no such task for this key, which proves nothing: the
        row stays as it is.
    :raises LostRace: somebody else was faster.
    """
    if record.state is TaskState.EXPIRED:
        return revive(ledger, client, record)
    watched = Watched(record.task_id or "", record.scope.req_key, record.submitted_at)
    state, decision = harvest(client, watched, now=ledger.now())
    state, decision = harvest_doubt(client, watched, state, decision, now=ledger.now, sleep=time.sleep)
    if is_true_for_strangers(record, state, decision, now=ledger.now()):
        return Revived(record_verdict(ledger, record, decision, state=state))
    if decision.final:
        raise unknown_to_this_key(record)
    if state.running_at is not None and state.doubt is None:
        return Revived(record)
    return Revived(record, max(giving_up.DOUBT_SECONDS, decision.retry_after or 0.0))
