# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Links from a task instance to what it works on.

Airflow evaluates a link on the worker at the end of every leg, deferring ones included, and stores the
answer; so a link is there while the task is still deferred, and it never is a signed URL that expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

_CONSOLE = "https://console.volcengine.com/ai/ability/detail/2"


def task_page(origin: str, task_id: str | None, *, loopback: bool) -> str:
    """Return where to look at a running task: the vendor's console, or the emulator's page of the task."""
    if loopback:
        return f"{origin}/_emulator/tasks/{quote(task_id, safe='')}" if task_id else f"{origin}/"
    return _CONSOLE


def object_page(uri: str) -> str:
    """Return where a person can look at a landed object: its store's console, or its own URL."""
    parts = urlsplit(uri)
    bucket, key = parts.netloc.rpartition("@")[2], quote(parts.path.lstrip("/"))
    if parts.scheme in ("s3", "s3a"):
        return f"https://s3.console.aws.amazon.com/s3/object/{bucket}?prefix={key}"
    if parts.scheme in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/_details/{bucket}/{key}"
    if parts.scheme == "tos":
        return f"https://console.volcengine.com/tos/bucket/setting?bucket={bucket}&prefix={key}"
    return f"file://{quote(uri)}" if not parts.scheme else uri


class JimengResultLink(BaseOperatorLink):
    """The landed result; until there is one, the task at the vendor."""

    name = "Jimeng result"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return what the operator's last leg left."""
        target: Any = getattr(operator, "link_target", None)
        return target if isinstance(target, str) else ""


class JimengReportLink(BaseOperatorLink):
    """The report of a bulk run, which is there while it runs."""

    name = "Jimeng report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return where the operator's last leg wrote it."""
        target: Any = getattr(operator, "report_target", None)
        return target if isinstance(target, str) else ""
