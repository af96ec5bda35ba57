# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How well slots were used, from the emulator's own book: who was accepted when, and done when.

Pure: the book goes in, figures come out.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figures:
    """
    What a run came to.

    :param utilisation: busy slot-seconds over slots times span, from the first to the last accepted submit.
    :param idle_median: seconds from a task's end to the next accepted submit on its slot.
    :param refused_share: refused submits over items.
    :param noticed_median: seconds from a task's end to the first query that saw it.
    """

    items: int
    accepted: int
    refused: int
    refused_share: float
    paid_twice: int
    most_in_use: int
    span: float
    utilisation: float
    idle_median: float
    idle_p95: float
    queries_per_item: float
    noticed_median: float
    noticed_p95: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, rounded, ready for JSON."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def figures(book: Mapping[str, Any], *, slots: int, items: int) -> Figures:
    """Return the figures of a book in which nothing but the run was written."""
    spans = sorted((each["submitted_at"], each["done_at"]) for each in book["tasks"].values())
    idle = idle_seconds(spans, slots)
    totals = book["totals"]
    noticed = book["latency"]
    return Figures(
        items=items,
        accepted=totals["accepted"],
        refused=totals["refused"],
        refused_share=totals["refused"] / items,
        paid_twice=len(book["paid_more_than_once"]),
        most_in_use=max(each["max_in_use"] for each in book["slots"].values()),
        span=spans[-1][0] - spans[0][0],
        utilisation=utilisation(spans, slots),
        idle_median=quantile(idle, 0.5),
        idle_p95=quantile(idle, 0.95),
        queries_per_item=totals["queries"] / items,
        noticed_median=noticed["median"],
        noticed_p95=noticed["p95"],
    )


def utilisation(spans: Sequence[tuple[float, float]], slots: int) -> float:
    """Return busy slot-seconds over slots times span; after the last submit a run only drains."""
    first, last = spans[0][0], spans[-1][0]
    busy = sum(min(done, last) - begin for begin, done in spans if begin < last)
    return busy / (slots * (last - first)) if last > first else math.nan


def idle_seconds(spans: Sequence[tuple[float, float]], slots: int) -> list[float]:
    """
    Return how long slots stood empty between two tasks: each submit takes the slot that was free longest.

    The first fill of the slots is no turn.
    """
    ended: list[float] = []
    idle: list[float] = []
    for number, (begin, done) in enumerate(spans):
        if number >= slots:
            idle.append(max(0.0, begin - heapq.heappop(ended)))
        heapq.heappush(ended, done)
    return sorted(idle)


def quantile(values: Iterable[float], share: float) -> float:
    """Return a quantile by nearest rank; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
