# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How a run is getting on: counts, a line in the log at most every few seconds, and numbers to publish."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.items import BAD_OUTCOMES, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_LEAST_SECONDS = 10.0
#: The rate is that of the last so many ends.
_RECENT = 100


@dataclass(slots=True)
class Progress:
    """
    Counts what a run does.

    :param total: lines of the manifest.
    :param refused: submits that the vendor refused for now.
    :param before: lines that had their fate before this leg.
    :param since: epoch seconds of the run's beginning, where it has earlier legs that landed something.
    """

    total: int
    gauge: Callable[[str, float], None]
    clock: Callable[[], float] = time.monotonic
    counts: Counter[Outcome] = field(default_factory=Counter)
    accepted: int = 0
    refused: int = 0
    before: int = 0
    since: float | None = None
    wall: Callable[[], float] = time.time
    _ends: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _told: str = ""
    _told_at: float = float("-inf")

    @property
    def done(self) -> int:
        """Lines with a fate."""
        return self.before + self.counts.total()

    @property
    def bad(self) -> int:
        """Lines whose fate counts against the tolerance."""
        return sum(self.counts[each] for each in BAD_OUTCOMES)

    def of_a_leg(self, since: float | None) -> None:
        """Tell at the leg's end, since its beginning only repeats what the last one said."""
        self.since, self._told_at = since, self.clock()

    def settled(self, outcome: Outcome, *, just_now: bool = True) -> None:
        """
        A line has a fate.

        :param just_now: it was not found to have it already.
        """
        self.counts[outcome] += 1
        if outcome is Outcome.LANDED and just_now:
            self._ends.append(self.clock())

    def rate(self) -> float | None:
        """Return landed results a second, lately or in a leg of all legs; ``None`` if nobody knows."""
        if self.since is not None:
            span = self.wall() - self.since
            landed = self.before + self.counts[Outcome.LANDED]
            return landed / span if landed and span > 0 else None
        if len(self._ends) < 2:
            return None
        span = self.clock() - self._ends[0]
        return (len(self._ends) - 1) / span if span > 0 else None

    def tell(self, *, open_tasks: int, limit: int | None, final: bool = False) -> None:
        """Log and publish how far it is, if that has changed and was not told a moment ago."""
        now = self.clock()
        if not final and (now - self._told_at < _LEAST_SECONDS or not (self.done or open_tasks)):
            return
        self.gauge("done", float(self.done))
        self.gauge("total", float(self.total))
        self.gauge("slots_in_use", float(open_tasks))
        self.gauge("refused", float(self.refused))
        self.gauge("failed", float(self.bad))
        change = f"{self.done}/{open_tasks}/{limit}/{self.refused}/{self.bad}"
        if change == self._told:
            return
        self._told, self._told_at = change, now
        rate = self.rate()
        left = self.total - self.done
        log.info(
            "%d of %d done, %d of %s slots in use, %s, %s, %d refused, %d failed.",
            self.done,
            self.total,
            open_tasks,
            "an unknown number of" if limit is None else limit,
            "rate not known yet" if rate is None else f"{60 * rate:.1f} a minute",
            "end not known yet" if not rate else f"{_spell(left / rate)} left",
            self.refused,
            self.bad,
        )


def _spell(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
