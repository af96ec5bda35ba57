# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A bulk run as a report sees it: items and what became of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.bulk.items import BadLine, Fate, Item, Outcome
from airflow_provider_jimeng.bulk.report import ReportWriter, RunFacts
from airflow_provider_jimeng.bulk.timeline import Timeline
from airflow_provider_jimeng.media.target import Target

START = 1_795_000_000.0
SIGNATURE = "X-Amz-Signature=5ec2e7"

#: Outcomes as a bad night has them, with the vendor's code and words.
_MISHAPS = (
    (Outcome.FAILED, 50511, "Post Img Risk Not Pass"),
    (Outcome.FAILED, 50411, "Pre Img Risk Not Pass"),
    (Outcome.INVALID, None, None),
    (Outcome.EXPIRED, 50215, "Input invalid for this service"),
    (Outcome.UNKNOWN, 50500, "Internal Error"),
    (Outcome.SKIPPED, None, None),
)


def folder_at(path: Path) -> Target:
    path.mkdir(parents=True, exist_ok=True)
    return Target(LocalFileSystem(auto_mkdir=True), str(path), str(path))


def item(line: int, name: str | None = None, **changes: object) -> Item:
    values: dict = {
        "line": line,
        "id": name or f"clip-{line:05d}",
        "image": f"https://media.example.com/catalog/{line % 20:02d}/front-{line:05d}.png?{SIGNATURE}",
        "video": f"https://media.example.com/templates/dance-{line % 12:02d}.mp4?{SIGNATURE}",
        "variant": 0,
        "req_key": MOTION_IMITATION,
        "carried": {"sku": f"SKU-{line}"},
    }
    return Item(**{**values, **changes})


def landed(each: Item, folder: Target, **changes: object) -> Fate:
    begin = START + each.line * 2
    values: dict = {
        "line": each.line,
        "id": each.id,
        "outcome": Outcome.LANDED,
        "content_key": f"{each.line:064x}",
        "task_id": f"88{each.line:017d}",
        "attempts": 1,
        "code": 10000,
        "message": "Success",
        "uri": f"{folder.uri}/{each.id}.mp4",
        "bytes": 1_048_576,
        "sha256": f"{each.line:064x}",
        "submitted_at": begin,
        "finished_at": begin + 20,
        "elapsed": 20.0 + each.line % 7,
    }
    return Fate(**{**values, **changes})


def mixed_fates(folder: Target, items: list[Item], seed: int = 3) -> Iterator[tuple[Fate, Item]]:
    """Yield a fate for each item: most landed, some reused, one in fifteen in trouble."""
    chance = random.Random(seed)
    for each in items:
        draw = chance.random()
        if draw > 1 / 15:
            yield landed(each, folder, outcome=Outcome.LANDED if draw < 0.8 else Outcome.REUSED), each
            continue
        outcome, code, message = chance.choice(_MISHAPS)
        yield (
            Fate(
                each.line,
                each.id,
                outcome,
                code=code,
                message=message,
                attempts=chance.randint(1, 3) if code else 0,
                error=None if code else "the image is 240 x 180 px, at least 480 x 480 are needed",
            ),
            each,
        )


def slots_of(items: int, slots: int = 10, seed: int = 7) -> Timeline:
    """Return a timeline of slots that are kept busy but for a breath between two tasks."""
    chance = random.Random(seed)
    ends, intervals = [START] * slots, []
    for _ in range(items):
        slot = min(range(slots), key=ends.__getitem__)
        begin = ends[slot] + chance.uniform(0.1, 0.9)
        ends[slot] = begin + chance.uniform(18, 22)
        intervals.append((begin, ends[slot]))
    return Timeline.of_intervals(intervals)


def facts_of(submits: int, slots: int = 10) -> RunFacts:
    timeline = slots_of(submits, slots)
    begin, end = timeline.span or (START, START)
    return RunFacts(
        started_at=START,
        finished_at=end + 1,
        submits=submits,
        possibly_billed=3,
        slots=slots,
        timeline=timeline,
        first_submit=begin,
        last_submit=max(begin, end - 22),
    )


def write_report(
    folder: Target, fates: Sequence[tuple[Fate, Item | BadLine]], total: int | None = None
) -> dict:
    writer = ReportWriter(folder, len(fates) if total is None else total)
    try:
        for fate, each in fates:
            writer.add(fate, each)
        submits = sum(fate.outcome in (Outcome.LANDED, Outcome.FAILED, Outcome.EXPIRED) for fate, _ in fates)
        return writer.finish(facts_of(submits))
    finally:
        writer.close()
