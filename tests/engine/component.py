# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One component of Airflow as a process with a log file, that takes its descendants along when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.postgres import leashed

#: How long a component may take over an orderly end. The scheduler waits for its running tasks.
STOP_SECONDS = 8.0


class ComponentDiedError(RuntimeError):
    """A component ended though nobody had asked it to."""


class Component:
    """
    A process in a session of its own.

    Airflow gives task processes groups of their own and renames its processes, so neither the group nor the
    command line finds what a killed scheduler leaves behind; the session does.
    """

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-m", "airflow", *arguments]
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                leashed(self._command),
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions.add(self._process.pid)

    def check(self) -> None:
        """Raise with the end of the log if the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise ComponentDiedError(
                f"{self.name} ended with {self._process.returncode}; the end of {self.log}:\n{self.tail()}"
            )

    def tail(self, lines: int = 30) -> str:
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, number: int, *, whole: bool = False) -> None:
        """
        Send a signal to the process, or to it and all its descendants.

        :param whole: as when the machine under the component goes away.
        """
        for process in self.processes() if whole else [psutil.Process(self.pid)]:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def wait(self, seconds: float) -> int:
        """Wait for the process to end and return its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the process in an orderly way if it takes that, and what is left of its session in any case."""
        self.ask_to_stop()
        self.make_sure_it_stopped(seconds)

    def ask_to_stop(self) -> None:
        if self.running:
            # A stopped process would keep the request for later.
            self.signal(signal.SIGCONT, whole=True)
            self.signal(signal.SIGTERM)

    def make_sure_it_stopped(self, seconds: float = STOP_SECONDS) -> None:
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.sweep()

    def sweep(self) -> None:
        """Kill what the component left behind."""
        deadline = time.monotonic() + STOP_SECONDS
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, timeout=1)
        if left:
            raise RuntimeError(f"{self.name}: processes that do not end: {left}")

    def processes(self) -> list[psutil.Process]:
        """Return the living processes of the sessions that this component has had."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) in self._sessions and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, PermissionError, psutil.Error):
                continue
        return found
