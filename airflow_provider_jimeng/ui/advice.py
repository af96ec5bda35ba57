# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What to do about a failure, by the vendor's code and by what became of the submit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.codes import RULES, Family
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_jimeng.api.codes import CodeRule

__all__ = ["cost_of", "meaning_of", "what_to_do"]

_BY_FAMILY: Mapping[Family, str] = {
    Family.PARAMETER: "Correct the argument that the message is about, and run again.",
    Family.MEDIA: "Replace the image or the video, and run again: the same input stays failed.",
    Family.INPUT_REVIEW: "The vendor's review refuses this input. Use another image or video: this one "
    "stays refused.",
    Family.OUTPUT_REVIEW: "The result did not pass the vendor's review. Use another image or video.",
    Family.REVIEW_SERVICE: "The vendor's review service failed. To try the same input again, give "
    "force_new a reason.",
    Family.RATE: "Too many calls a second. Lower submit_qps and query_qps of the connection, and run again.",
    Family.CONCURRENCY: "Every slot of the account was busy. If other programs use the account, lower "
    "max_concurrency of the connection; run again.",
    Family.INTERNAL: "The vendor's own trouble. Run again.",
    Family.REQUEST: "Check the connection's endpoint, region and service, and the req_key.",
    Family.CREDENTIAL: "Check Access Key ID and Secret Access Key of the connection, and run again.",
    Family.TOKEN: "The session token has expired: renew it in the connection, and run again.",
    Family.CLOCK: "The clock of the worker is wrong. Set it (NTP), and run again.",
    Family.PERMISSION: "Activate the product, or allow the key to use it, in the vendor's console, and run "
    "again.",
    Family.UNMODELLED: "This release does not know the code. Ask the vendor's support, with the request id.",
}
_BY_STATE: Mapping[TaskState, str] = {
    TaskState.UNKNOWN: "Look whether the vendor has the task: adopt its id where it has, release it where it "
    "has not.",
    TaskState.EXPIRED: "The result was not fetched within 12 hours, or the vendor lost it. Run again with "
    'on_missing_output="resubmit" to pay for it once more.',
}
_COSTS: Mapping[TaskState, str] = {
    TaskState.FAILED: "not billed",
    TaskState.REJECTED: "nothing was created, nothing was paid",
    TaskState.UNKNOWN: "possibly billed",
    TaskState.EXPIRED: "possibly billed",
}


def _rule(code: int | None) -> CodeRule | None:
    return None if code is None else RULES.get(code)


def meaning_of(code: int | None) -> str:
    """Return a code's meaning in plain English, empty where none is known."""
    rule = _rule(code)
    return "" if rule is None else rule.meaning


def what_to_do(state: TaskState, code: int | None) -> str:
    """Return the advice for rows that came to nothing."""
    if state in _BY_STATE:
        return _BY_STATE[state]
    rule = _rule(code)
    if rule is None:
        return "Read the message; the log of the task says more."
    if state is TaskState.FAILED and rule.new_attempt:
        return "The vendor allows another attempt, which is only paid where it succeeds: run again."
    return _BY_FAMILY.get(rule.family, "Read the message; the log of the task says more.")


def cost_of(state: TaskState) -> str:
    """Return what rows of a state have cost."""
    return _COSTS.get(state, "")
