# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Answers that are given again for a moment, so that ten people who watch a run cost what one does."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Snapshots"]

#: An answer holds for so many seconds at least, and for so many times as long as it took.
_LEAST_SECONDS = 2.0
_SHARE = 20.0
_MOST = 64


class Snapshots:
    """
    Keeps the last answers; thread-safe.

    :param clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the answer of a key, a fresh one where the last is too old."""
        began = self._clock()
        with self._lock:
            until, value = self._kept.get(key, (0.0, None))
        if until > began:
            return value
        value = make()
        now = self._clock()
        with self._lock:
            self._kept[key] = (now + max(_LEAST_SECONDS, _SHARE * (now - began)), value)
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return value

    def forget(self) -> None:
        """Ask anew from here on: somebody changed something."""
        with self._lock:
            self._kept.clear()
