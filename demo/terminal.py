# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a person sees: one line per change, each with the seconds since the start."""

from __future__ import annotations

import time
from collections.abc import Sequence

_PROGRESS_SECONDS = 3.0


class DemoError(RuntimeError):
    """Something is off; the text says what, where to look and what to do."""


class Clock:
    """
    The demo's time.

    :param limit: seconds after which it gives up, whatever it waits for.
    """

    def __init__(self, limit: float) -> None:
        self._began = time.monotonic()
        self._limit = limit

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds until the demo gives up."""
        return self._limit - self.passed

    def check(self, waiting_for: str) -> None:
        """Raise when the time is up."""
        if self.left <= 0:
            raise DemoError(
                f"not done after {self._limit:.0f} s (--timeout), while waiting for {waiting_for}"
            )


class Teller:
    """Prints, and repeats nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = ""
        self._told_at = 0.0

    def step(self, text: str) -> None:
        """Tell of a change, with the time."""
        if text != self._last:
            print(f"{self._clock.passed:5.0f} s  {text}", flush=True)
            self._last = text
            self._told_at = self._clock.passed

    def progress(self, text: str, *, final: bool) -> None:
        """Tell of a change, but not of every one."""
        if final or self._clock.passed - self._told_at >= _PROGRESS_SECONDS:
            self.step(text)

    def title(self, text: str) -> None:
        """Begin a part."""
        print(f"\n{text}", flush=True)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print rows under heads, columns aligned; a column whose head starts with ``>`` to the right."""
        right = [head.startswith(">") for head in heads]
        lines = [[head.removeprefix(">") for head in heads], *[list(row) for row in rows]]
        widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
        for line in lines:
            cells = (
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(line, widths, right, strict=True)
            )
            print(f"  {'  '.join(cells).rstrip()}", flush=True)
