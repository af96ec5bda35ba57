# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Where results come from: beside the clock, never in its way.

Inputs are fetched and looked at right after a submit, in a pool of their own, since the verdict depends on
it. Rendering has until the download: a query never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from airflow_provider_jimeng.api.models import MOTION_IMITATION_2
from airflow_provider_jimeng.emulator.answers import SUCCESS
from airflow_provider_jimeng.emulator.inputs import InputError, Inputs, fetch_inputs, sniff
from airflow_provider_jimeng.emulator.pictures import cheap_picture, size_of
from airflow_provider_jimeng.emulator.pool import WorkerError, WorkerPool
from airflow_provider_jimeng.emulator.results import ResultUnavailableError, cheap_result

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from airflow_provider_jimeng.emulator.config import EmulatorConfig
    from airflow_provider_jimeng.emulator.tasks import Task
    from airflow_provider_jimeng.emulator.vendor import Vendor

log = logging.getLogger(__name__)


class Studio:
    """
    Looks at inputs and makes results.

    :param config: the current settings; replaced when they change.
    """

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config
        self._inspectors = WorkerPool(1)
        self._renderers = WorkerPool(config.render_workers)
        self._work: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, str] = {}
        self._stopping = False
        self._temporary = config.state is None
        self._folder = Path(f"{config.state}.files") if config.state is not None else Path()

    async def start(self, vendor: Vendor) -> None:
        """Get ready; workers start when they are first needed."""
        self._vendor = vendor
        # No proxy and no cookies: nothing of the host's environment belongs to the vendor's fetch.
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        if self.config.effective_inputs == "decode":
            # The first verdict should not wait for an interpreter to start.
            self._begin("warm-up", self._warm_up())

    async def stop(self) -> None:
        """Let go of everything; unfinished work is done again after a restart with the same state."""
        self._stopping = True
        await self._cancel()
        await asyncio.to_thread(self._inspectors.close)
        await asyncio.to_thread(self._renderers.close)
        if hasattr(self, "_session"):
            await self._session.close()
        if self._temporary and self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)

    async def reset(self) -> None:
        """Forget all tasks."""
        await self._cancel()
        self._failed.clear()
        if self._folder != Path() and self._folder.exists():
            for path in self._folder.iterdir():
                path.unlink()

    def accepted(self, task: Task) -> None:
        """A task was accepted: fetch what it needs."""
        # A task that is accepted while stopping stays unsettled: the next start looks at its inputs.
        if self.config.effective_inputs != "ignore" and not self._stopping:
            self._make_folder()
            self._begin(task.task_id, self._prepare(task))

    def resume(self, task: Task) -> None:
        """A task was read back from the state file: finish what was not."""
        if task.done_at is None and self.config.effective_inputs == "ignore":
            self._vendor.measured(task, clip_seconds=self.config.clip_seconds, code=SUCCESS, message=None)
        elif task.done_at is None or (task.rendered and task.verdict == SUCCESS and not self._made(task)):
            self.accepted(task)

    async def result(self, task: Task, name: str) -> bytes:
        """
        The bytes of one of a finished task's results; waits for the renderer where it is still at work.

        :raises ResultUnavailableError: where rendering failed.
        """
        work = self._work.get(task.task_id)
        if work is not None:
            # Shielded: a caller that leaves must not stop the rendering.
            await asyncio.wait([work])
        if task.task_id in self._failed:
            raise ResultUnavailableError(f"rendering failed: {self._failed[task.task_id]}")
        if not task.rendered:
            return cheap_picture(task.tag(name)) if task.pictures else cheap_result(task.tag(name))
        output = self._folder / name
        if not output.exists():
            raise ResultUnavailableError("the emulator was stopped or reset before the result was rendered")
        return await asyncio.to_thread(output.read_bytes)

    def _make_folder(self) -> None:
        # Not before it is needed: a killed emulator that made no file leaves no folder either.
        if self._folder == Path():
            self._folder = Path(tempfile.mkdtemp(prefix="jimeng-emulator-"))
        self._folder.mkdir(parents=True, exist_ok=True)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._work[name] = asyncio.create_task(work)
        self._work[name].add_done_callback(lambda _: self._work.pop(name, None))

    async def _warm_up(self) -> None:
        with contextlib.suppress(WorkerError):
            await self._inspectors.run({"job": "inspect", "image": None, "video": None, "limits": False})

    # -- work ---------------------------------------------------------------------------------------------

    async def _prepare(self, task: Task) -> None:
        try:
            inputs = await fetch_inputs(self._session, task.body, self._folder, task.task_id)
            seconds = await self._inspect(task, inputs)
        except InputError as error:
            self._vendor.measured(task, clip_seconds=None, code=error.code, message=error.message)
        except WorkerError as error:
            # A file that kills the decoder can't be decoded.
            self._vendor.measured(task, clip_seconds=None, code=50210, message=f"Video decode error: {error}")
        except Exception:
            # The emulator's own trouble must not leave a task that never ends.
            log.exception("Inputs of task %s could not be looked at", task.task_id)
            self._vendor.measured(task, clip_seconds=None, code=50501, message=None)
        else:
            self._vendor.measured(task, clip_seconds=seconds, code=SUCCESS, message=None)
            if task.rendered and task.verdict == SUCCESS:
                await self._render(task, inputs)
        finally:
            for kind in ("image", "video"):
                (self._folder / f"{task.task_id}.{kind}").unlink(missing_ok=True)

    async def _inspect(self, task: Task, inputs: Inputs) -> float:
        if self.config.effective_inputs != "decode":
            sniff(inputs)
            return self.config.clip_seconds
        order = _order("inspect", inputs)
        answer = await self._inspectors.run({**order, "limits": task.req_key == MOTION_IMITATION_2})
        if answer["code"] != SUCCESS:
            raise InputError(answer["code"], answer["message"])
        return self.config.clip_seconds if answer["seconds"] is None else float(answer["seconds"])

    async def _render(self, task: Task, inputs: Inputs) -> None:
        order = _order("render", inputs)
        second = task.req_key == MOTION_IMITATION_2
        try:
            for name in task.names:
                await self._renderers.run(
                    {
                        **order,
                        "output": str(self._folder / name),
                        "height": self.config.render_height,
                        "tag": json.dumps(task.tag(name)),
                        "picture": size_of(task.body) if task.pictures else None,
                        "cut": second and task.body.get("cut_result_first_second_switch") is not False,
                    }
                )
        except WorkerError as error:
            self._failed[task.task_id] = str(error)

    async def _cancel(self) -> None:
        running = list(self._work.values())
        for work in running:
            work.cancel()
        for work in running:
            with contextlib.suppress(asyncio.CancelledError):
                await work
        self._work.clear()

    def _made(self, task: Task) -> bool:
        return all((self._folder / name).exists() for name in task.names)


def _order(job: str, inputs: Inputs) -> dict[str, Any]:
    image = None if inputs.image is None else str(inputs.image)
    return {"job": job, "image": image, "video": None if inputs.video is None else str(inputs.video)}
