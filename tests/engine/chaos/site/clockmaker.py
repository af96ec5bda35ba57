# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The product's clock in the processes of a test's Airflow, which a file sets ahead or behind.

Only what the product reads: a machine's whole clock can't be moved from within, and libfaketime breaks
Airflow's own sleep. Clocks that go on through such a jump (monotonic, boot time) go on here, too.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from types import ModuleType
from typing import Any

#: How often a process looks whether the clock has jumped.
_LOOK_SECONDS = 0.2

_file = ""
_looked_at, _offset = 0.0, 0.0


def offset() -> float:
    """Return by how many seconds the clock is ahead."""
    global _looked_at, _offset
    now = time.monotonic()
    if now - _looked_at >= _LOOK_SECONDS:
        _looked_at = now
        try:
            with open(_file) as file:
                _offset = float(file.read() or 0.0)
        except (OSError, ValueError):
            _offset = 0.0
    return _offset


class _Time:
    """The module ``time``, with a wall clock of our own."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return time.time() + offset()


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=offset())


_ours = _Time()


def watch(folder: str) -> None:
    """Tell where the clock is set."""
    global _file
    _file = os.path.join(folder, "clock")


def give(module: ModuleType) -> None:
    """Let a module of the product read this clock."""
    if ".emulator" in module.__name__:
        return
    if vars(module).get("time") is time:
        vars(module)["time"] = _ours
    for name in ("SyncClient", "AsyncClient"):
        client = vars(module).get(name)
        if isinstance(client, type) and client.__module__ == module.__name__:
            # The date of the signature.
            defaults = client.__init__.__kwdefaults__  # type: ignore[misc]
            assert "now" in defaults, f"{name} reads its clock from elsewhere"
            defaults["now"] = _utc_now
