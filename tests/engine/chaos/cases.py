# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The matrix: which signal strikes what, while which work is where. Pure: nothing here runs anything."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.engine.chaos.points import Point


class Work(StrEnum):
    """The ways to run items; the DAGs are called ``chaos_<work>``."""

    BLOCKS = "blocks"
    MAPPED = "mapped"
    WORKER = "worker"
    DEFERRED = "deferred"

    @property
    def dag(self) -> str:
        return f"chaos_{self.value}"


MEANING = {
    Work.BLOCKS: "submit + sensor + landing",
    Work.MAPPED: "all-in-one, mapped",
    Work.WORKER: "batch on the worker",
    Work.DEFERRED: "batch, deferred",
}

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGSTOP": signal.SIGSTOP}
TASK, WORKER = "task process", "worker"
#: Parts of an installation; the worker is the one that runs the first task that is held.
VICTIMS = (
    WORKER,
    "scheduler",
    "triggerer",
    "both triggerers",
    "dag-processor",
    "api-server",
    "airflow database",
    "ledger database",
    "vendor",
)

_ITEM = (
    Point.BEFORE_INTENT,
    Point.AFTER_INTENT,
    Point.BYTES_SENT,
    Point.VENDOR_ACCEPTED,
    Point.AFTER_ANSWER,
    Point.ID_RECORDED,
    Point.VERDICT_SEEN,
    Point.DOWNLOADING,
    Point.PUBLISHED,
)
_REPORT = (Point.COPIED, Point.BEFORE_REPORT, Point.HALF_REPORTED)
#: The points that a task's process comes by, for each way to run items.
ON_THE_WAY: Mapping[Work, tuple[Point, ...]] = {
    Work.BLOCKS: (*_ITEM, Point.RESUMED),
    Work.MAPPED: (*_ITEM, Point.RESUMED),
    Work.WORKER: (*_ITEM, *_REPORT),
    Work.DEFERRED: (*_ITEM, Point.RESUMED, *_REPORT),
}

#: Struck in one wave: far apart in the life of an item, and no more than a task has tries.
GROUPS: tuple[tuple[Point, ...], ...] = (
    (Point.BEFORE_INTENT, Point.ID_RECORDED, Point.DOWNLOADING),
    (Point.AFTER_INTENT, Point.RESUMED, Point.PUBLISHED),
    (Point.BYTES_SENT, Point.VERDICT_SEEN, Point.BEFORE_REPORT),
    (Point.VENDOR_ACCEPTED, Point.COPIED),
    (Point.AFTER_ANSWER, Point.HALF_REPORTED),
)
#: Where works are held while a part of the installation is struck: each in another place, turn by turn.
HELD = (Point.AFTER_INTENT, Point.ID_RECORDED, Point.DOWNLOADING, Point.PUBLISHED)


@dataclass(frozen=True, slots=True)
class Wave:
    """
    Blows that are struck while one run of each way is under way.

    :param victim: ``task process``, which strikes itself at each of the points, or a part that is struck once
        while the works are held at theirs.
    :param points: for each way to run items.
    """

    name: str
    signal: str
    victim: str
    points: Mapping[Work, Sequence[Point]]

    @property
    def number(self) -> int:
        return int(SIGNALS[self.signal])


def task_waves(signals: Sequence[str] = tuple(SIGNALS)) -> Iterator[Wave]:
    """Yield the waves in which the tasks' own processes are struck, at every point they come by."""
    for name in signals:
        for at, group in enumerate(GROUPS):
            points = {work: [point for point in group if point in ON_THE_WAY[work]] for work in Work}
            yield Wave(
                f"{name}-task-{at}", name, TASK, {work: found for work, found in points.items() if found}
            )


def part_waves(
    signals: Sequence[str] = tuple(SIGNALS), victims: Sequence[str] = VICTIMS, turn: int = 0
) -> Iterator[Wave]:
    """
    Yield the waves in which a part of the installation is struck.

    :param turn: which way to run items is held where; four turns hold each of them everywhere.
    """
    for name in signals:
        for victim in victims:
            held = {work: [HELD[(at + turn) % len(HELD)]] for at, work in enumerate(Work)}
            yield Wave(f"{name}-{victim}-{turn}", name, victim, held)
