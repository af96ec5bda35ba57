# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The clock that decides whether an intent is still fresh."""

from __future__ import annotations

import time


def through_suspension() -> float:
    """
    Return seconds on a clock that goes on while the process is stopped and the machine sleeps.

    ``time.monotonic`` stands still while a laptop or a virtual machine is suspended, and an owner that
    trusted it would send an intent that everyone else has given up.
    """
    boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
