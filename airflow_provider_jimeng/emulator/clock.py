# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The emulator's one clock: wall time that never steps backwards and can be moved forward on purpose."""

from __future__ import annotations

import time


class Clock:
    """
    Epoch seconds, advanced by the monotonic clock so that an adjusted host clock moves no task.

    It starts from the host's wall time, hence a restarted emulator has "lived on" while it was down, as the
    vendor does.

    :param offset: seconds added to the host's time, from earlier :meth:`advance` calls.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self._origin = time.time() - time.monotonic()
        self.offset = offset

    def now(self) -> float:
        """Vendor time in epoch seconds."""
        return self.host_time() + self.offset

    def host_time(self) -> float:
        """Time without the jumps: what signatures are dated by."""
        return self._origin + time.monotonic()

    def advance(self, seconds: float) -> None:
        """
        Jump forward: what would take twelve hours is over at once.

        :raises ValueError: for a step backwards.
        """
        if not seconds >= 0:
            raise ValueError(f"seconds: the clock only moves forward, got {seconds!r}")
        self.offset += seconds
