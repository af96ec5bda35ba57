# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the life of an item counts, after the ledger was told: money first, numbers later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.client import meter
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.policy.submit import SubmitKind

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import Scope, TaskRecord
    from airflow_provider_jimeng.lifecycle.ensured import InHand
    from airflow_provider_jimeng.lifecycle.land import Landed
    from airflow_provider_jimeng.policy.poll import PollKind
    from airflow_provider_jimeng.policy.submit import SubmitOutcome


def submit_accepted(scope: Scope) -> None:
    """Count a submit that the vendor accepted, and will bill."""
    meter.add("submits", scope.account, scope.req_key)


def submit_refused(scope: Scope, outcome: SubmitOutcome) -> None:
    """Count a send that created nothing: by the vendor's code, the gateway's HTTP status, or never sent."""
    code = outcome.code or (f"http_{outcome.http_status}" if outcome.http_status else "not_sent")
    meter.add("refused", scope.account, scope.req_key, code=code)


def submit_unknown(scope: Scope) -> None:
    """Count a submit of which nobody knows whether it was accepted."""
    meter.add("unknown", scope.account, scope.req_key)


def raw_submit(scope: Scope, outcome: SubmitOutcome) -> None:
    """Count a submit past the ledger by what it came to."""
    if outcome.kind is SubmitKind.CREATED:
        submit_accepted(scope)
    elif outcome.kind is SubmitKind.UNKNOWN:
        submit_unknown(scope)
    else:
        submit_refused(scope, outcome)


def slot_waited_for(in_hand: InHand, seconds: float) -> None:
    """Tell how long a new submit waited for its slot; what was found needed none."""
    if not in_hand.reused:
        scope = in_hand.record.scope
        meter.took("slot_wait", seconds, scope.account, scope.req_key)


def task_finished(record: TaskRecord, kind: PollKind) -> None:
    """Count a verdict, and tell how long a result took from its submit to the verdict's record."""
    scope = record.scope
    meter.add("finished", scope.account, scope.req_key, outcome=kind.value)
    if record.elapsed is not None and record.state is TaskState.SUCCEEDED:
        meter.took("processing", record.elapsed, scope.account, scope.req_key)


def result_landed(record: TaskRecord, landed: Landed, seconds: float) -> None:
    """Count a result whose bytes were put where they are wanted."""
    scope = record.scope
    meter.add("landed", scope.account, scope.req_key)
    meter.add("landed_bytes", scope.account, scope.req_key, count=landed.bytes)
    meter.took("landing", seconds, scope.account, scope.req_key)
