# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a trigger is told of a task: enough to poll it, and nothing that is secret or large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_jimeng.api.validation import check_req_key, check_task_id
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.hooks.jimeng import epoch_of, iso
from airflow_provider_jimeng.lifecycle.wanted import rendered


@dataclass(frozen=True, slots=True)
class TaskReference:
    """
    A task of the vendor's, by reference.

    :param submitted_at: ISO 8601 UTC; ``None`` where only the id is known.
    :param expected_seconds: how long tasks of this kind have taken, if that is known.
    :param volcengine_conn_id: the connection that it was submitted or waited for with.
    """

    task_id: str
    req_key: str
    content_key: str | None = None
    submitted_at: str | None = None
    expected_seconds: float | None = None
    volcengine_conn_id: str | None = None

    @property
    def submitted_epoch(self) -> float | None:
        """``submitted_at`` in epoch seconds."""
        return epoch_of(self.submitted_at)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that a trigger keeps, without what is not known."""
        # A trigger has one connection for all its tasks, beside them.
        told = {**asdict(self), "volcengine_conn_id": None}
        return {name: value for name, value in told.items() if value is not None}


def reference_of(value: Any, field: str = "task") -> TaskReference:
    """
    Return the reference in a submit operator's or a sensor's output.

    :raises JimengInputError: it is no reference; nothing is lost, the task is still in the ledger.
    """
    if isinstance(value, TaskReference):
        return value
    if not isinstance(value, Mapping):
        raise JimengInputError(
            f"{field} must be a task reference (the output of a submit operator or a sensor), not "
            f"{type(value).__name__}. Nothing was paid by this task"
        )
    missing = [name for name in ("task_id", "req_key") if not value.get(name)]
    if missing:
        raise JimengInputError(
            f"{field} is no task reference: {', '.join(missing)} missing. Nothing was paid by this task"
        )
    submitted_at, conn_id = value.get("submitted_at"), value.get("volcengine_conn_id")
    expected = value.get("expected_seconds")
    try:
        submitted = iso(epoch_of(submitted_at))
    except (TypeError, ValueError) as error:
        raise JimengInputError(f"{field}.submitted_at is no ISO 8601 time") from error
    return TaskReference(
        task_id=check_task_id(rendered(value["task_id"], f"{field}.task_id"), f"{field}.task_id"),
        req_key=check_req_key(rendered(value["req_key"], f"{field}.req_key"), f"{field}.req_key"),
        content_key=value.get("content_key"),
        submitted_at=submitted,
        expected_seconds=float(expected) if isinstance(expected, (int, float)) else None,
        volcengine_conn_id=conn_id if isinstance(conn_id, str) and conn_id else None,
    )
