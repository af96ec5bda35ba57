# Licensed under the Apache License, Version 2.0. See LICENSE.
"""QPS limits, counted the way an account notices them."""

from __future__ import annotations

from collections import deque


class QpsWindow:
    """
    At most ``limit`` calls in any second; for a fraction, one call in ``1 / limit`` seconds.

    A refused call doesn't count: hammering a limit doesn't prolong it.
    """

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def allow(self, now: float, limit: float | None) -> bool:
        """Count one call at ``now`` (seconds of a steady clock), or refuse it."""
        if limit is None:
            return True
        burst, window = (int(limit), 1.0) if limit >= 1 else (1, 1.0 / limit)
        while self._calls and self._calls[0] <= now - window:
            self._calls.popleft()
        if len(self._calls) >= burst:
            return False
        self._calls.append(now)
        return True
