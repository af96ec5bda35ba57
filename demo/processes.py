# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Child processes that never outlive the demo: not after a failure, not after Ctrl-C, not after kill -9."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from demo.terminal import DemoError

#: An orderly end: a scheduler waits for the tasks that it has started.
_GRACE_SECONDS = 10.0
_SWEEP_SECONDS = 5.0
_LEASH = str(Path(__file__).with_name("leash.py"))


class Child:
    """
    A process in a session of its own, with its output in a file.

    Airflow gives task processes groups of their own, so a group does not find what a killed scheduler leaves
    behind; the session does. A terminal's Ctrl-C does not reach another session either: the demo decides the
    order.

    :param name: for messages, and of the log file.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._command = [sys.executable, "-I", "-S", _LEASH, *command]
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is this repository's own
                self._command,
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise if it ended though nobody asked it to."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise DemoError(f"{self.name} ended with {code}. The end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """Return the end of its output."""
        if not self.log.exists():
            return "(no output)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def ask_to_stop(self) -> None:
        """Ask for an orderly end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End it and all that it started."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._sweep(self._process.pid)
        self._process = None

    def _sweep(self, session: int) -> None:
        deadline = time.monotonic() + _SWEEP_SECONDS
        while left := members(session):
            for process in left:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, timeout=0.5)
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name}: processes that do not end: {left}")


def members(session: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return found


class Children:
    """The processes of one demo; ended in the reverse of the order in which they were started."""

    def __init__(self) -> None:
        self._groups: list[list[Child]] = []

    def start(self, *children: Child) -> None:
        """Start some that end together."""
        self._groups.append([])
        for child in children:
            self._groups[-1].append(child)
            child.start()

    def check(self) -> None:
        """Raise if one of them ended."""
        for group in self._groups:
            for child in group:
                child.check()

    def stop(self) -> None:
        """End all; whatever one of them does, the others are ended too."""
        trouble: list[BaseException] = []
        while self._groups:
            group = self._groups.pop()
            for child in group:
                child.ask_to_stop()
            for child in group:
                try:
                    child.stop()
                except Exception as error:
                    trouble.append(error)
        if trouble:
            raise trouble[0]
