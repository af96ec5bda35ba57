# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Rivals (c) and (d): a deferrable operator that submits in ``execute()``, and its trigger.

The trigger asks every 5 seconds, in a thread, since the SDK knows no asyncio. An item has two legs on a
worker, submit and download. With ``durable``, (d), the task id is kept in Airflow 3.3's task state store, so
that another try of the same task of the same run finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from tests.benchmarks.rivals.theirs.vendor import (
    POLL_SECONDS,
    GenerationFailedError,
    download,
    result_url,
    submit,
)


class ResultTrigger(BaseTrigger):
    """
    Waits for one task.

    :param vendor_id: the task's id; a trigger's ``task_id`` is Airflow's.
    """

    def __init__(self, vendor_id: str, poll_seconds: float) -> None:
        super().__init__()
        self.vendor_id = vendor_id
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow keeps of it."""
        kwargs = {"vendor_id": self.vendor_id, "poll_seconds": self.poll_seconds}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until the task is done."""
        while True:
            try:
                url = await asyncio.to_thread(result_url, self.vendor_id)
            except GenerationFailedError as error:
                yield TriggerEvent({"error": str(error)})
                return
            if url is not None:
                yield TriggerEvent({"url": url})
                return
            await asyncio.sleep(self.poll_seconds)


class MotionOperator(BaseOperator):
    """
    Makes one item.

    :param path: of the file.
    :param durable: keep the task id in the task state store, and go on with it at the next try.
    """

    template_fields: Sequence[str] = ("image_url", "video_url", "path")

    def __init__(
        self, *, image_url: str, video_url: str, path: str, durable: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.image_url, self.video_url, self.path = image_url, video_url, path
        self.durable = durable

    def execute(self, context: Any) -> None:
        """Submit and defer."""
        if Path(self.path).exists():
            return
        store = context["task_state_store"] if self.durable else None
        sent = store.get("task_id") if store is not None else None
        if sent is None:
            sent = submit(self.image_url, self.video_url)
            if store is not None:
                store.set("task_id", sent)
        self.defer(trigger=ResultTrigger(sent, POLL_SECONDS), method_name="finish")

    def finish(self, context: Any, event: dict[str, str]) -> None:
        """Store the result."""
        if "error" in event:
            if self.durable:
                context["task_state_store"].delete("task_id")
            raise GenerationFailedError(event["error"])
        download(event["url"], self.path)
