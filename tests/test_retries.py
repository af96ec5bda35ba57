# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The retry policy, by itself and in Airflow's own task runner."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from airflow.sdk import DAG, task
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.execution_time import task_runner
from airflow.serialization.serialized_objects import DagSerialization
from airflow_provider_jimeng import exceptions, retries
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengCredentialError,
    JimengError,
    JimengInputError,
    JimengLandingError,
    JimengSpendLimitError,
    JimengThrottledError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.hooks.failures import for_airflow
from airflow_provider_jimeng.retries import JimengRetryPolicy

#: A minute and a half before midnight UTC.
LATE = dt.datetime(2026, 3, 1, 23, 58, 30, tzinfo=dt.UTC).timestamp()


def decide(error: BaseException, try_number: int = 1, **arguments: Any) -> tuple[str, float | None]:
    policy = JimengRetryPolicy(now=lambda: LATE, jitter=lambda: 0.5, **arguments)
    decision = policy.evaluate(error, try_number, 3)
    delay = decision.retry_delay
    return decision.action.value, None if delay is None else delay.total_seconds()


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_error_fails_at_once_exactly_where_a_retry_can_not_help(name: str) -> None:
    error: JimengError = getattr(exceptions, name)("said")
    action, _ = decide(error)
    assert (action == "fail") is not error.retry_helps
    # The class that the operators raise of it says the same.
    assert decide(for_airflow(error))[0] == action


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (JimengThrottledError("50430", code=50430), ("retry", 45.0)),
        (JimengSpendLimitError("open").because("breaker"), ("retry", 45.0)),
        (JimengSpendLimitError("paused").because("paused"), ("retry", 45.0)),
        (JimengSpendLimitError("of today").because("daily_limit"), ("retry", 120.0)),
        (JimengSpendLimitError("spent").because("budget"), ("fail", None)),
        (JimengSpendLimitError("tried").because("attempts"), ("fail", None)),
        (JimengLandingError("not stored yet"), ("default", None)),
        (ValueError("not ours"), ("default", None)),
    ],
)
def test_the_delay_is_what_the_account_needs(error: Exception, decision: tuple[str, float | None]) -> None:
    assert decide(error) == decision


def test_throttling_waits_longer_from_try_to_try_up_to_a_quarter_of_an_hour() -> None:
    delays = [decide(JimengThrottledError("again"), number)[1] for number in range(1, 8)]
    assert delays == [45.0, 90.0, 180.0, 360.0, 675.0, 675.0, 675.0]


def test_an_error_that_became_the_cause_of_another_is_seen() -> None:
    outer = RuntimeError("my own words")
    outer.__cause__ = JimengInputError("image_url: no URL")
    assert decide(outer)[0] == "fail"
    looped = RuntimeError("its own cause")
    looped.__cause__ = looped
    assert decide(looped) == ("default", None)


def test_an_instance_that_says_that_a_retry_helps_is_believed() -> None:
    error = JimengConfigurationError("no such connection for now")
    error.retry_helps = True
    assert decide(error) == ("default", None)


def test_other_errors_are_another_policys() -> None:
    other = ExceptionRetryPolicy([RetryRule(ConnectionError, RetryAction.FAIL)])
    assert decide(ConnectionError(), otherwise=other) == ("fail", None)
    assert decide(JimengLandingError(), otherwise=other) == ("default", None)


def run_out(error: Exception, should_retry: bool = True) -> Any:
    """Return what Airflow's task runner tells the supervisor of a failure."""
    ti: Any = SimpleNamespace(
        task=SimpleNamespace(retry_policy=JimengRetryPolicy(now=lambda: LATE, jitter=lambda: 0.5)),
        _ti_context_from_server=SimpleNamespace(max_tries=3, should_retry=should_retry),
        try_number=1,
        end_date=None,
        stats_tags={},
        rendered_map_index=None,
        _failure_metrics_emitted=False,
    )
    message, _ = task_runner._handle_current_task_failed(ti, error, structlog.get_logger())
    return message


def test_airflows_task_runner_takes_the_decisions() -> None:
    assert run_out(JimengCredentialError("wrong key")).state == "failed"
    assert run_out(JimengUnknownSubmitError("no answer")).state == "failed"
    throttled = run_out(JimengThrottledError("50429"))
    assert (throttled.type, throttled.retry_delay_seconds) == ("RetryTask", 45.0)
    assert "has to wait" in throttled.retry_reason
    assert run_out(JimengLandingError("later")).retry_delay_seconds is None


def test_a_dag_with_the_policy_is_stored_by_airflow() -> None:
    with DAG("with_a_policy", schedule=None) as dag:

        @task(retries=3, retry_policy=JimengRetryPolicy())
        def submit() -> None:
            """Nothing."""

        submit()
    stored = DagSerialization.to_dict(dag)
    assert stored["dag"]["tasks"][0]["__var"]["has_retry_policy"] is True


def test_before_airflow_3_3_the_module_loads_and_the_policy_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retries, "RetryDecision", None)
    with pytest.raises(
        JimengConfigurationError, match=r"needs Airflow 3\.3 or later.*leave out retry_policy"
    ):
        JimengRetryPolicy()
