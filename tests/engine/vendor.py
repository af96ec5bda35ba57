# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The emulator as a process of its own: it shares nobody's interpreter, and can be killed and revived."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from tests.postgres import free_port, leashed


class Vendor:
    """
    One emulator on a port of its own that leaves inputs alone and makes cheap results.

    :param options: of its command, with underscores: ``state`` makes it remember over a kill.
    """

    def __init__(self, *, slots: int, seconds: float, jitter: float, log: Path, **options: Any) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        named = {
            "port": self.url.rpartition(":")[2],
            "concurrency": slots,
            "duration": seconds,
            "jitter": jitter,
            "results": "cheap",
            "inputs": "ignore",
            **options,
        }
        self._log = log
        self._command = [sys.executable, "-m", "airflow_provider_jimeng.emulator"]
        self._command += [f"--{name.replace('_', '-')}={value}" for name, value in named.items()]
        self._session = requests.Session()
        self._session.trust_env = False
        self.start()

    def start(self) -> None:
        """Start it, also after its end: the same address."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                leashed(self._command), stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for_end(self, seconds: float) -> None:
        """Wait for its end, after a signal that ends it."""
        self._process.wait(seconds)

    def wait(self, seconds: float = 30.0) -> None:
        """Wait until it answers."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.book(tasks=False)
            except requests.RequestException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def book(self, *, tasks: bool = True) -> dict[str, Any]:
        """Return what it accepted, refused and was asked."""
        answer = self._session.get(f"{self.url}/_emulator/ledger", params={"tasks": int(tasks)}, timeout=30)
        answer.raise_for_status()
        book: dict[str, Any] = answer.json()
        return book

    def stop(self) -> None:
        """End it."""
        self._session.close()
        self._process.terminate()
        self._process.wait(20)
