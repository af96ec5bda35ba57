# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A few worker processes, started when they are first needed and replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A job that takes longer than this many real seconds is given up.
JOB_SECONDS = 300.0


class WorkerError(RuntimeError):
    """A worker could not do its job, or died of it."""


class WorkerPool:
    """
    Runs jobs of :func:`~airflow_provider_jimeng.emulator.render.job` off the event loop.

    :param size: processes, and jobs at once.
    """

    def __init__(self, size: int) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="jimeng-emulator-worker")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._closed = False

    async def run(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """
        Do one job.

        :raises WorkerError: with the worker's words.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._call, dict(order))

    def close(self) -> None:
        """End all workers; waits for their exit."""
        with self._lock:
            self._closed = True
            running = list(self._processes)
        for process in running:
            process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in running:
            _reap(process)

    def _call(self, order: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process()
        watchdog = threading.Timer(JOB_SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = _exchange(process, json.dumps(order))
        finally:
            watchdog.cancel()
        if not line.endswith("\n"):
            self._own.process = None
            with self._lock:
                self._processes.discard(process)
            process.kill()
            _reap(process)
            raise WorkerError("the worker died of this job")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _process(self) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] | None = getattr(self._own, "process", None)
        if process is not None and process.poll() is None:
            return process
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        with self._lock:
            if self._closed:
                raise WorkerError("the emulator is stopping")
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow_provider_jimeng.emulator.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
            self._processes.add(process)
        self._own.process = process
        return process


def _exchange(process: subprocess.Popen[str], line: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise WorkerError("the worker has no pipes")
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except (OSError, ValueError):
        return ""


def _reap(process: subprocess.Popen[str]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
