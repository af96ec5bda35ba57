# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Verdicts are written once, by whoever comes first, and trouble is never one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengProtocolError,
    JimengRetryableTaskError,
    JimengTaskExpiredError,
    JimengTaskFailedError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.lifecycle.harvest import failure_of, record_verdict
from airflow_provider_jimeng.policy.poll import PollDecision, PollKind

if TYPE_CHECKING:
    from tests.legs import Bench

VERDICTS = {
    PollKind.SUCCEEDED: "succeeded",
    PollKind.FAILED: "failed",
    PollKind.EXPIRED: "expired",
}


@pytest.mark.parametrize("kind", VERDICTS, ids=lambda kind: kind.value)
def test_two_watchers_of_one_task_write_one_row(bench: Bench, kind: PollKind) -> None:
    bench.submit()
    (seen,) = bench.rows()
    decision = PollDecision(kind, 10000, "words", "r")
    first = record_verdict(bench.ledger, seen, decision)
    second = record_verdict(bench.ledger, seen, decision)
    assert first == second
    assert bench.states() == [VERDICTS[kind]]
    assert record_verdict(bench.ledger, first, PollDecision(PollKind.FAILED, 50411, "later")) == first


@pytest.mark.parametrize(
    "kind", [PollKind.WAIT, PollKind.HOLD, PollKind.DEADLINE], ids=lambda kind: kind.value
)
def test_what_is_no_verdict_changes_nothing(bench: Bench, kind: PollKind) -> None:
    bench.submit()
    (seen,) = bench.rows()
    assert record_verdict(bench.ledger, seen, PollDecision(kind, 50500, "words")) == seen
    assert bench.rows() == [seen]


@pytest.mark.parametrize(
    ("decision", "error"),
    [
        (PollDecision(PollKind.FAILED, 50411, "m", "r"), JimengTaskFailedError),
        (PollDecision(PollKind.FAILED, 50511, "m", "r", new_attempt=True), JimengRetryableTaskError),
        (PollDecision(PollKind.EXPIRED, 10000, "m", "r"), JimengTaskExpiredError),
        (PollDecision(PollKind.DEADLINE, None, "m", "r"), JimengWaitTimeoutError),
        (PollDecision(PollKind.WAIT, None, "m", "r"), JimengProtocolError),
    ],
)
def test_each_end_has_an_error_of_its_own(decision: PollDecision, error: type[Exception]) -> None:
    made = failure_of(decision, task_id="7", content_key="k")
    assert type(made) is error
    assert (made.code, made.request_id, made.task_id, made.content_key) == (decision.code, "r", "7", "k")
