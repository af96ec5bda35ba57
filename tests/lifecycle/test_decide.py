# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The next step for a content, as a table: what may lead to a submit, and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengRetryableTaskError,
    JimengTaskExpiredError,
    JimengTaskFailedError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.ledger.records import Provenance, Scope, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.decide import Step, decide
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT, Policies

NOW = 1_000_000.0
DEFAULTS = Policies()
PAYS_AGAIN = Policies(on_unknown_submit=RESUBMIT, on_missing_output=RESUBMIT)


def row(state: TaskState, **changes: Any) -> TaskRecord:
    values: dict[str, Any] = {
        "id": 1,
        "content_key": "c",
        "attempt": 1,
        "state": state,
        "revision": 1,
        "scope": Scope("a", "e", "r"),
        "inputs": "{}",
        "variant": 0,
        "force_new": None,
        "owner": "o",
        "provenance": Provenance(),
        "created_at": NOW - 10,
        "sent_at": NOW - 10,
        "send_count": 1,
        "send_deadline": 60.0,
        "expected_seconds": 180.0,
        "task_id": None,
    }
    return TaskRecord(**{**values, **changes})


def step(record: TaskRecord | None, policies: Policies = DEFAULTS, attempts: int = 0) -> Step:
    return decide(record, policies=policies, attempts=attempts, now=NOW).step


def test_nothing_is_known_of_a_content_so_it_is_claimed():
    assert step(None) is Step.CLAIM


@pytest.mark.parametrize("policies", [DEFAULTS, PAYS_AGAIN])
@pytest.mark.parametrize("state", [TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.LANDED])
def test_what_is_paid_for_is_taken_whatever_the_policies_say(state: TaskState, policies: Policies):
    assert step(row(state, task_id="1"), policies, attempts=99) is Step.TAKE


@pytest.mark.parametrize("state", [TaskState.REJECTED, TaskState.RELEASED])
def test_what_cost_nothing_or_was_released_is_claimed_anew(state: TaskState):
    assert step(row(state)) is Step.CLAIM


def test_another_owners_send_is_waited_for_until_its_deadline_and_then_settled_by_a_claim():
    waiting = decide(row(TaskState.INTENT), policies=DEFAULTS, attempts=0, now=NOW)
    assert (waiting.step, waiting.wait) == (Step.WAIT, 50.0)
    assert step(row(TaskState.INTENT, sent_at=NOW - 61)) is Step.CLAIM
    assert step(row(TaskState.INTENT, sent_at=None, send_count=0, created_at=NOW - 61)) is Step.CLAIM


def test_an_unknown_is_never_submitted_again_by_itself():
    decision = decide(row(TaskState.UNKNOWN, sent_at=NOW - 1e9), policies=DEFAULTS, attempts=0, now=NOW)
    assert decision.step is Step.FAIL
    assert isinstance(decision.error, JimengUnknownSubmitError)
    assert "ledger adopt" in str(decision.error)


def test_an_unknown_that_the_user_wants_resubmitted_waits_three_deadlines():
    young = decide(row(TaskState.UNKNOWN), policies=PAYS_AGAIN, attempts=0, now=NOW)
    assert (young.step, young.wait) == (Step.WAIT, 170.0)
    assert step(row(TaskState.UNKNOWN, sent_at=NOW - 181), PAYS_AGAIN) is Step.RELEASE


def test_an_unknown_whose_owner_never_sent_anything_is_released_without_a_person():
    assert step(row(TaskState.UNKNOWN, sent_at=None, send_count=0)) is Step.RELEASE
    assert step(row(TaskState.UNKNOWN, sent_at=None, send_count=0, task_id="1")) is Step.FAIL


def test_an_expired_task_may_have_been_billed_and_is_only_paid_for_again_by_choice():
    decision = decide(row(TaskState.EXPIRED, task_id="1"), policies=DEFAULTS, attempts=0, now=NOW)
    assert isinstance(decision.error, JimengTaskExpiredError)
    assert step(row(TaskState.EXPIRED, task_id="1"), PAYS_AGAIN) is Step.CLAIM


@pytest.mark.parametrize(
    ("allowed", "attempts", "wanted", "error"),
    [
        (True, 1, Step.CLAIM, None),
        (True, 2, Step.CLAIM, None),
        (True, 3, Step.FAIL, JimengRetryableTaskError),
        (False, 1, Step.FAIL, JimengTaskFailedError),
    ],
)
def test_a_bad_verdict_leads_to_a_new_attempt_only_where_the_vendor_allows_one(
    allowed, attempts, wanted, error
):
    failed = row(TaskState.FAILED, task_id="1", code=50511, message="m", new_attempt_allowed=allowed)
    decision = decide(failed, policies=DEFAULTS, attempts=attempts, now=NOW)
    assert decision.step is wanted
    if error is not None:
        assert type(decision.error) is error
        assert decision.error.code == 50511


def test_every_state_has_an_answer():
    for state in TaskState:
        assert isinstance(step(row(state)), Step)
