# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The errors that a submit can end in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengNotSentError,
    JimengStoppedError,
    JimengUnknownSubmitError,
)

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.policy.submit import SubmitOutcome


def unknown_error(record: TaskRecord, outcome: SubmitOutcome) -> JimengUnknownSubmitError:
    """Return the error that tells of a submit whose outcome is not known."""
    return JimengUnknownSubmitError(
        f"Nobody knows whether the vendor accepted this submit ({outcome.message or 'no answer came'}). It "
        "may be running and may be billed once; it is not sent again by itself. See `ledger list --state "
        "unknown`: adopt the task id if the vendor has one, or release the record to submit again",
        code=outcome.code,
        request_id=outcome.request_id,
        content_key=record.content_key,
        http_status=outcome.http_status,
    )


def refusal_error(outcome: SubmitOutcome, key: str) -> JimengError:
    """Return the error of a submit that certainly created nothing."""
    kind = outcome.error or JimengNotSentError
    return kind(
        f"The submit was refused: {outcome.message}",
        code=outcome.code,
        request_id=outcome.request_id,
        http_status=outcome.http_status,
        content_key=key,
    )


def stopped_error(key: str) -> JimengStoppedError:
    """Return the error of a submit that was not made because its task was told to stop."""
    return JimengStoppedError(
        "This task was told to stop before it submitted: this try created nothing and paid nothing. A later "
        "try of the task goes on here",
        content_key=key,
    )


def run_stopped_error(at_vendor: int) -> JimengStoppedError:
    """
    Return the error of a bulk run that was told to stop.

    :param at_vendor: tasks that it leaves there.
    """
    return JimengStoppedError(
        f"This run was told to stop: it submits and pays nothing more. {at_vendor} of its tasks are at the "
        "vendor, known to the ledger; a later try, or the same manifest again, goes on with them and does "
        "not pay for them again"
    )
