# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What hooks and sensor tell of an answer about a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.policy.polling import PollKind

if TYPE_CHECKING:
    from airflow_provider_jimeng.policy.polling import PollDecision

__all__ = ["as_result", "links_of"]

_STATUS = {
    PollKind.SUCCEEDED: "done",
    PollKind.FAILED: "failed",
    PollKind.EXPIRED: "expired",
}


def as_result(task_id: str, decision: PollDecision) -> dict[str, Any]:
    """Return what one question about a task has shown, as a dict for a ``@task``."""
    return {
        "task_id": task_id,
        "status": _STATUS.get(decision.kind, "running"),
        "code": decision.code,
        "message": decision.message,
        "request_id": decision.request_id,
        **links_of(decision),
    }


def links_of(decision: PollDecision) -> dict[str, Any]:
    """Return a result's links as sensor and hook tell them: one, and all where there are several."""
    links: dict[str, Any] = {"video_url": decision.video_url}
    if decision.further_urls:
        links["result_urls"] = [decision.video_url, *decision.further_urls]
    return links
