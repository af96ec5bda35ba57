# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a run cost and what it has to show for it, from the vendor's book and the files.

Pure but for the look at the files: a book goes in, figures come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.slots import quantile


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a run: what it is at the vendor, and where its result should be."""

    image: str
    output: Path


@dataclass(frozen=True, slots=True)
class Money:
    """
    What the vendor took for some items.

    :param accepted: submits that the vendor accepted for them.
    :param paid_again: accepted submits beyond the first of an item.
    :param paid_again_items: items that were paid more than once.
    :param landed: items whose file is there.
    :param lost: items that were paid for, and have no file.
    :param never_paid: items that were not even submitted.
    """

    items: int
    accepted: int
    paid_again: int
    paid_again_items: int
    landed: int
    lost: int
    never_paid: int

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def accepted_of(book: Mapping[str, Any]) -> dict[str, int]:
    """Return the accepted submits of each image."""
    found: dict[str, int] = {}
    for entry in book["contents"].values():
        image = entry["content"]["image_url"]
        found[image] = found.get(image, 0) + entry["accepted"]
    return found


def money(book: Mapping[str, Any], items: Sequence[Item]) -> Money:
    """Return what these items cost; others in the book don't count."""
    accepted = accepted_of(book)
    counts = [accepted.get(each.image, 0) for each in items]
    there = [each.output.exists() for each in items]
    return Money(
        items=len(items),
        accepted=sum(counts),
        paid_again=sum(max(0, count - 1) for count in counts),
        paid_again_items=sum(count > 1 for count in counts),
        landed=sum(there),
        lost=sum(count > 0 and not file for count, file in zip(counts, there, strict=True)),
        never_paid=sum(count == 0 for count in counts),
    )


def landing_seconds(book: Mapping[str, Any], items: Sequence[Item]) -> dict[str, float]:
    """
    Return the median and the 95th percentile of the seconds from the vendor's *done* to the file.

    Of an item that was paid more than once, the task that ended last before its file counts.
    """
    done: dict[str, list[float]] = {}
    for task in book["tasks"].values():
        if task["done_at"] is not None:
            done.setdefault(task["content"]["image_url"], []).append(task["done_at"])
    found = []
    for each in items:
        if each.output.exists():
            stored = each.output.stat().st_mtime
            earlier = [moment for moment in done.get(each.image, ()) if moment <= stored]
            found += [stored - max(earlier)] if earlier else []
    return {"landed_median": quantile(found, 0.5), "landed_p95": quantile(found, 0.95)}
