# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Where results come from: beside the clock, never in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.emulator.results import cheap_result

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator.config import EmulatorConfig
    from airflow_provider_jimeng.emulator.tasks import Task
    from airflow_provider_jimeng.emulator.vendor import Vendor


class Studio:
    """Looks at inputs and makes results."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config

    async def start(self, vendor: Vendor) -> None:
        """Get ready."""

    def accepted(self, task: Task) -> None:
        """A task was accepted."""

    def resume(self, task: Task) -> None:
        """A task was read back from the state file."""

    async def result(self, task: Task) -> bytes:
        """The bytes of a finished task's result."""
        return cheap_result(
            {"task_id": task.task_id, "content_key": task.content_key, "content": task.content}
        )

    async def stop(self) -> None:
        """Let go of everything."""

    def reset(self) -> None:
        """Forget all tasks."""
