# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What to do about a content, state by state: nothing that may be paid already is ever claimed by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengRetryableTaskError,
    JimengTaskExpiredError,
    JimengTaskFailedError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.ledger.records import Provenance, Scope, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.decide import Decision, Step, decide
from airflow_provider_jimeng.lifecycle.wanted import Policies

NOW = 1_000_000.0
CAREFUL = Policies()
SPENDING = Policies(on_unknown_submit="resubmit", on_missing_output="resubmit", on_input_changed="resubmit")


def row(state: TaskState, **changes: Any) -> TaskRecord:
    plain = TaskRecord(
        id=1, content_key="k", attempt=1, state=state, revision=1, scope=Scope("a", "e", "m"), inputs="{}",
        variant=0, force_new=None, owner="o", provenance=Provenance("d", "r", "t"), created_at=NOW - 10.0,
        send_deadline=60.0, expected_seconds=180.0, task_id="7", request_id="r", code=50411, message="words",
    )  # fmt: skip
    return replace(plain, **changes)


def asked(record: TaskRecord | None, policies: Policies = CAREFUL, attempts: int = 0) -> Decision:
    return decide(record, policies=policies, attempts=attempts, now=NOW)


@pytest.mark.parametrize("policies", [Policies(), SPENDING])
def test_what_nobody_paid_for_is_claimed(policies: Policies) -> None:
    for record in (None, row(TaskState.REJECTED), row(TaskState.RELEASED)):
        assert asked(record, policies).step is Step.CLAIM


@pytest.mark.parametrize("policies", [Policies(), SPENDING])
@pytest.mark.parametrize("state", [TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.LANDED])
def test_what_is_paid_is_taken(state: TaskState, policies: Policies) -> None:
    assert asked(row(state), policies, attempts=99).step is Step.TAKE


def test_a_submit_under_way_is_waited_for_until_its_deadline() -> None:
    fresh = asked(row(TaskState.INTENT, sent_at=NOW - 20.0))
    assert (fresh.step, fresh.wait) == (Step.WAIT, 40.0)
    assert asked(row(TaskState.INTENT)).wait == 50.0
    assert asked(row(TaskState.INTENT, sent_at=NOW - 60.0)).step is Step.CLAIM, "which settles a silent owner"


def test_an_unknown_fails_unless_it_may_be_resubmitted_and_is_old_enough() -> None:
    unknown = row(TaskState.UNKNOWN, sent_at=NOW - 100.0)
    refused = asked(unknown)
    assert refused.step is Step.FAIL
    assert isinstance(refused.error, JimengUnknownSubmitError)
    assert refused.error.content_key == "k"
    waiting = asked(unknown, SPENDING)
    assert (waiting.step, waiting.wait) == (Step.WAIT, 80.0)
    assert asked(row(TaskState.UNKNOWN, sent_at=NOW - 180.0), SPENDING).step is Step.RELEASE


def test_an_expired_task_is_paid_again_only_where_that_was_chosen() -> None:
    refused = asked(row(TaskState.EXPIRED))
    assert isinstance(refused.error, JimengTaskExpiredError)
    assert refused.error.task_id == "7"
    assert asked(row(TaskState.EXPIRED), replace(Policies(), on_missing_output="resubmit")).step is Step.CLAIM
    assert asked(row(TaskState.EXPIRED), replace(SPENDING, on_missing_output="fail")).step is Step.FAIL


@pytest.mark.parametrize(
    ("allowed", "attempts", "kind"),
    [
        (False, 0, JimengTaskFailedError),
        (False, 9, JimengTaskFailedError),
        (True, 3, JimengRetryableTaskError),
        (True, 4, JimengRetryableTaskError),
        (True, 2, None),
        (True, 0, None),
    ],
)
def test_a_verdict_is_final_or_counted(allowed: bool, attempts: int, kind: type[JimengError] | None) -> None:
    answer = asked(row(TaskState.FAILED, new_attempt_allowed=allowed), SPENDING, attempts)
    if kind is None:
        assert answer.step is Step.CLAIM
    else:
        assert answer.step is Step.FAIL
        assert type(answer.error) is kind
        assert answer.error is not None
        assert answer.error.code == 50411


def test_every_state_has_an_answer_and_only_unpaid_ones_are_claimed_by_default() -> None:
    claimed = {state for state in TaskState if asked(row(state)).step is Step.CLAIM}
    assert claimed == {TaskState.REJECTED, TaskState.RELEASED}
