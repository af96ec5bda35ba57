# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Errors as Airflow sees them: which end a task, and that all survive their way between processes."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng import exceptions
from airflow_provider_jimeng.hooks.failures import for_airflow

if TYPE_CHECKING:
    from airflow_provider_jimeng.exceptions import JimengError

KINDS = [getattr(exceptions, name) for name in exceptions.__all__]
FINAL = {
    "JimengConfigurationError", "JimengCredentialError", "JimengInputChangedError", "JimengInputError",
    "JimengMissingOutputError", "JimengOutputExistsError", "JimengPermissionError",
    "JimengRetryableTaskError", "JimengRunIncompleteError", "JimengTaskExpiredError", "JimengTaskFailedError",
    "JimengToleranceExceededError", "JimengUnknownSubmitError",
}  # fmt: skip
FACTS = {"code": 50411, "request_id": "r", "task_id": "7", "content_key": "k", "http_status": 400}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_kind_and_its_facts(kind: type[JimengError]) -> None:
    raised = for_airflow(kind("words", **FACTS))  # type: ignore[arg-type]
    assert isinstance(raised, kind)
    assert isinstance(raised, AirflowFailException) is (kind.__name__ in FINAL)

    again = pickle.loads(pickle.dumps(raised))
    assert type(again) is type(raised)
    assert str(again) == str(raised)
    assert {name: getattr(again, name) for name in FACTS} == FACTS
    assert again.message == "words"


def test_what_airflow_retries_is_what_a_retry_can_change() -> None:
    assert {kind.__name__ for kind in KINDS if not kind.retry_helps} == FINAL


def test_an_error_that_may_pass_is_retried_whatever_its_class() -> None:
    error = exceptions.JimengConfigurationError("its API was away")
    error.retry_helps = True
    assert for_airflow(error) is error
    assert pickle.loads(pickle.dumps(error)).retry_helps
    assert not pickle.loads(pickle.dumps(exceptions.JimengConfigurationError("words"))).retry_helps


def test_a_subclass_that_is_not_known_is_still_raised() -> None:
    class Odd(exceptions.JimengLandingError):
        """Of a later release."""

    error = Odd("words")
    assert for_airflow(error) is error
