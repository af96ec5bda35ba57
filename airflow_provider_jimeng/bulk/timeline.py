# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How many slots were busy when: the number that says whether what is paid for idles."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class SlotEvent:
    """From ``time`` (epoch seconds) on, ``in_use`` slots were busy."""

    time: float
    in_use: int


class Timeline:
    """Slot events in twelve bytes each, in the order of their times."""

    def __init__(self, events: Iterable[SlotEvent] = ()) -> None:
        self._times = array("d")
        self._in_use = array("I")
        for each in events:
            self.add(each.time, each.in_use)

    @classmethod
    def of_intervals(cls, intervals: Iterable[tuple[float, float]]) -> Timeline:
        """
        Make a timeline of when slots were taken and given back, as the ledger's rows tell it.

        :param intervals: begin and end of each task, in epoch seconds, in any order.
        """
        begins, ends = array("d"), array("d")
        for begin, end in intervals:
            begins.append(begin)
            ends.append(max(begin, end))
        steps = sorted([(time, -1) for time in ends] + [(time, 1) for time in begins])
        made, in_use = cls(), 0
        for time, step in steps:
            in_use += step
            made.add(time, max(0, in_use))
        return made

    def add(self, time: float, in_use: int) -> None:
        """Take the next event; a time before the last one (a clock set back) counts as the last one's."""
        self._times.append(max(time, self._times[-1]) if self._times else time)
        self._in_use.append(in_use)

    def __iter__(self) -> Iterator[SlotEvent]:
        for time, in_use in zip(self._times, self._in_use, strict=True):
            yield SlotEvent(time, in_use)

    @property
    def span(self) -> tuple[float, float] | None:
        """Times of the first and the last event, ``None`` if there is none."""
        return (self._times[0], self._times[-1]) if self._times else None

    @property
    def most(self) -> int:
        """The most slots that were busy at once."""
        return max(self._in_use, default=0)

    def averages(self, start: float, end: float, buckets: int) -> list[float]:
        """Return the mean number of busy slots in each of some equal parts of a time."""
        width = (end - start) / buckets
        busy = [0.0] * buckets
        for begin, until, in_use in self._steps(start, end):
            first = min(buckets - 1, int((begin - start) / width))
            last = min(buckets - 1, int((until - start) / width))
            for at in range(first, last + 1):
                left, right = start + at * width, start + (at + 1) * width
                busy[at] += in_use * max(0.0, min(until, right) - max(begin, left))
        return [each / width for each in busy]

    def utilisation(self, slots: int, first_submit: float, last_submit: float) -> float | None:
        """
        Return the busy share of the slots, from the first to the last accepted submit.

        After the last submit a run only drains, which no runner can help.

        :returns: ``None`` where there is nothing to divide by.
        """
        if slots < 1 or last_submit <= first_submit:
            return None
        busy = sum((until - begin) * n for begin, until, n in self._steps(first_submit, last_submit))
        return busy / (slots * (last_submit - first_submit))

    def _steps(self, start: float, end: float) -> Iterator[tuple[float, float, int]]:
        """Yield begin, end and busy slots of each stretch within a time."""
        for at, time in enumerate(self._times):
            until = min(end, self._times[at + 1]) if at + 1 < len(self._times) else end
            begin = max(time, start)
            if until > begin and self._in_use[at]:
                yield begin, until, self._in_use[at]
