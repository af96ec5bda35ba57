# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The harness's side of a crash point: arm it, see that a process has come by, let it go on."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.engine.chaos.points import Point

#: Where a component looks for its points.
SITE = Path(__file__).parent / "site"
#: The components run the provider that this harness belongs to, wherever that is.
ROOT = Path(__file__).parents[3]
#: Armed for whoever comes by first: the processes of a triggerer belong to no DAG.
ANY = "any"


@dataclass(frozen=True, slots=True)
class Hit:
    """A process was at a point. ``at`` in epoch seconds."""

    id: str
    point: Point
    dag: str
    pid: int
    ppid: int
    at: float


class Rendezvous:
    """
    Crash points by way of files.

    :param folder: shared with the processes of the stack, which find it in ``JIMENG_CHAOS_FOLDER``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("armed", "taken", "hits", "go"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()

    @property
    def environment(self) -> dict[str, str]:
        """What a component needs in its environment to have crash points."""
        return {"JIMENG_CHAOS_FOLDER": str(self.folder), "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}"}

    def arm(self, point: Point, dag: str = ANY, *, signal: int | None = None) -> str:
        """
        Arm a point for the next process of a DAG that comes by; return the hit's id.

        :param signal: what the process sends itself; ``None`` has it hold until :meth:`go`.
        """
        name = f"{next(self._numbers):05d}-{point.value}"
        place = self.folder / "armed" / point.value / dag
        place.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f"order-{name}"
        scratch.write_text(json.dumps({"id": name, "signal": signal}))
        scratch.rename(place / name)
        return name

    def hit(self, name: str) -> Hit | None:
        """Return where a process was, ``None`` while nobody has come by."""
        try:
            told = json.loads((self.folder / "hits" / name).read_text())
        except FileNotFoundError:
            return None
        return Hit(**{**told, "point": Point(told["point"])})

    def wait(self, names: Iterable[str], seconds: float) -> list[Hit]:
        """Wait until all have been hit, or as long as that; return the hits there are."""
        wanted = list(names)
        until = time.monotonic() + seconds
        while True:
            found = [hit for name in wanted if (hit := self.hit(name)) is not None]
            if len(found) == len(wanted) or time.monotonic() > until:
                return found
            time.sleep(0.1)

    def go(self, names: Iterable[str]) -> None:
        """Let held processes go on."""
        for name in names:
            (self.folder / "go" / name).touch()

    def jump(self, seconds: float) -> None:
        """Set the product's clock ahead (or behind) by so much, in all processes, within a moment."""
        scratch = self.folder / "clock-to-be"
        scratch.write_text(str(seconds))
        scratch.rename(self.folder / "clock")

    def disarm(self) -> None:
        """Take back every order that nobody has taken."""
        for path in (self.folder / "armed").iterdir():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)


def alive(pid: int) -> bool:
    """Return whether a process is there, zombies included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
