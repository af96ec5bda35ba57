# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a blow cost, from the three books that can't be argued with: the vendor's, the ledger's, and the files.

Pure but for the look at the files: books go in, a verdict comes out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

LANDED, UNKNOWN, OPEN, LOST, NEVER_PAID = "landed", "unknown", "open", "lost", "never paid"


@dataclass(frozen=True, slots=True)
class Content:
    """One item of a run: what it is at the vendor, and where its result should be."""

    image: str
    output: Path


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger says of a content; times in epoch seconds."""

    image: str
    state: str
    task_id: str | None
    possibly_billed: bool
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What became of a run's contents.

    :param fates: how many ended how.
    :param accepted: submits that the vendor accepted for them.
    :param most_accepted: for one content; more than one is paid twice.
    :param wrong: whatever breaks the promise, in words.
    """

    items: int
    fates: Mapping[str, int]
    accepted: int
    most_accepted: int
    wrong: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(contents: Sequence[Content], book: Mapping[str, Any], rows: Sequence[Row]) -> Verdict:
    """Say what became of each content: landed, told as unknown, still open, or something that must not be."""
    accepted: Counter[str] = Counter()
    for entry in book["contents"].values():
        accepted[entry["content"]["image_url"]] += entry["accepted"]
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    fates: Counter[str] = Counter()
    wrong = []
    for each in contents:
        paid, told = accepted[each.image], by_image.get(each.image, [])
        fate = _fate(each, paid, told)
        fates[fate] += 1
        if paid > 1:
            wrong.append(f"{each.image} was accepted {paid} times")
        if fate == LOST:
            wrong.append(f"{each.image}: accepted {paid} times, in the ledger {[row.state for row in told]}")
    return Verdict(
        len(contents),
        dict(fates),
        sum(accepted[each.image] for each in contents),
        max((accepted[each.image] for each in contents), default=0),
        tuple(wrong),
    )


def _fate(content: Content, paid: int, told: Sequence[Row]) -> str:
    states = {row.state for row in told}
    if is_video(content.output) and paid:
        # A file of nobody's record would be a landing that a rerun pays for again.
        return LANDED if "landed" in states else LOST
    if "unknown" in states:
        return UNKNOWN
    if states & {"intent", "submitted", "succeeded"}:
        return OPEN
    return LOST if paid else NEVER_PAID


def is_video(path: Path) -> bool:
    """Return whether a landed file begins as one."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == b"ftyp"
    except FileNotFoundError:
        return False


def rows_of(ledger_url: str, marker: str) -> list[Row]:
    """Return the ledger's rows whose inputs contain a text."""
    engine = create_engine(ledger_url)
    try:
        with engine.connect() as connection:
            found = connection.execute(
                text(
                    "SELECT t.*, (SELECT max(l.landed_at) FROM jimeng_landings l"
                    " WHERE l.content_key = t.content_key) AS stored_at"
                    " FROM jimeng_tasks t WHERE t.inputs LIKE :marker"
                ),
                {"marker": f"%{marker}%"},
            ).mappings()
            return [_row(each) for each in found]
    finally:
        engine.dispose()


def _row(each: Any) -> Row:
    names = ("created_at", "sent_at", "submitted_at", "finished_at", "landed_at", "stored_at")
    return Row(
        str(json.loads(each["inputs"])["image_url"]),
        str(each["state"]),
        each["task_id"],
        bool(each["possibly_billed"]),
        tuple(float(each[name]) for name in names if each[name] is not None),
    )


def first_after(rows: Sequence[Row], moment: float) -> float | None:
    """Return the seconds from a blow to the next thing that the ledger was told of these contents."""
    later = [time - moment for row in rows for time in row.times if time > moment]
    return min(later, default=None)
