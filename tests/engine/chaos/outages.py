# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What lasts longer than a blow: a ledger that is away for minutes, a machine whose clock is an hour off::

    python -m tests.engine.chaos.outages --seconds 300 --records outages.jsonl
    python -m tests.engine.chaos.outages --what clock-ahead --seconds 60
    python -m tests.engine.chaos.outages --what ledger-full --seconds 60   # as root: it mounts a small disk

It begins while every way to run items is under way, and ends. Then what failed is cleared once, as a person
would do, and everything has to be landed, and nothing paid twice.

The clock is the product's, in every process of the installation (workers, triggerers): what it reads, and
what its signatures are dated with. Airflow's own reads of the time are left as they are, and so are the
vendor's and the databases'.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.engine.chaos.cases import Work
from tests.engine.chaos.judge import first_after
from tests.engine.chaos.works import Run, Works
from tests.engine.chaos.world import Setup, World

#: More items than slots, so that some are running, some wait, and some were not yet thought of.
#: By how much a clock is off.
JUMPS = {"clock-ahead": 3600.0, "clock-behind": -3600.0}
LEDGER, FULL = "ledger-away", "ledger-full"
#: Fewer than slots, and as many again that begin while the clock is wrong: their submits are refused.
FEW = {Work.BLOCKS: 1, Work.MAPPED: 2, Work.WORKER: 2, Work.DEFERRED: 2}
#: What the ledger's server has to itself where its disk gets full: a new server takes a tenth of it.
DISK_MEGABYTES = 512
ITEMS = {Work.BLOCKS: 4, Work.MAPPED: 8, Work.WORKER: 14, Work.DEFERRED: 14}


class Outages:
    """
    Takes an installation's ledger away, or its time.

    :param world: the installation.
    :param what: ``ledger-away``, ``ledger-full``, or one of :data:`JUMPS`.
    """

    def __init__(self, world: World, what: str = LEDGER) -> None:
        self._world, self._works, self._what = world, Works(world), what

    def run(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Let everything begin, let the outage last, make it good, and tell what became of each run."""
        self._works.ready()
        self._world.settle()
        items = FEW if self._what in JUMPS else ITEMS
        runs = [self._works.prepare(work, self._what, items[work]) for work in Work]
        self._works.start(runs)
        self._wait_for_submits(runs)
        at = time.time()
        accepted = self._accepted()
        if self._what in JUMPS:
            self._world.points.jump(JUMPS[self._what])
            late = [self._works.prepare(work, f"{self._what}-late", items[work]) for work in Work]
            self._works.start(late)
            runs += late
        self._last(seconds)
        meanwhile = self._accepted() - accepted
        self._world.settle()
        self._works.finish(runs, time.monotonic() + 600.0)
        self._works.clear_failed(runs)
        for run in runs:
            yield self._record(seconds, run, at, meanwhile)

    def _wait_for_submits(self, runs: list[Run]) -> None:
        until = time.monotonic() + 180.0
        while time.monotonic() < until:
            # By the vendor's book: the ledger's tables are made at the first submit.
            paid = {entry["content"]["image_url"] for entry in self._entries() if entry["accepted"]}
            if all(any(each.image in paid for each in run.contents) for run in runs):
                return
            time.sleep(0.5)
        raise RuntimeError("no work came as far as a submit")

    def _entries(self) -> list[dict[str, Any]]:
        return list(self._world.vendor.book()["contents"].values())

    def _accepted(self) -> int:
        return sum(int(entry["accepted"]) for entry in self._entries())

    def _last(self, seconds: float) -> None:
        server = self._world.ledger_server
        if self._what == FULL:
            with filled(server.folder / "filler"):
                time.sleep(seconds)
            if not server.running:
                print("the full disk ended the ledger's server", flush=True)
                server.revive()
            return
        if self._what in JUMPS:
            time.sleep(seconds)
            self._world.points.jump(0.0)
            return
        for each in self._world.victims()["ledger database"]():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        time.sleep(seconds)
        server.revive()

    def _record(self, seconds: float, run: Run, at: float, meanwhile: int) -> dict[str, Any]:
        verdict = self._works.judge(run)
        went_on = first_after(self._works.rows(run), at + seconds)
        wrong = [*verdict.wrong]
        if verdict.fates.get("landed", 0) != verdict.items:
            wrong.append(f"not everything landed: {dict(verdict.fates)}")
        return {
            "executor": self._world.setup.executor,
            "outage": self._what,
            "seconds": seconds,
            "work": run.work.value,
            "began_meanwhile": "-late--" in run.marker,
            "state": run.state,
            "alone": run.alone,
            "cleared": run.cleared,
            "tries": self._works.tries(run),
            "accepted_meanwhile": meanwhile,
            "went_on": None if went_on is None else round(went_on, 1),
            **{**verdict.to_dict(), "wrong": wrong},
        }


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put a small file system of its own at a folder; needs the right to mount."""
    options = f"size={DISK_MEGABYTES}m,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def filled(filler: Path) -> Iterator[None]:
    """Leave no byte free on a file's disk, until the end of this."""
    try:
        for size in (2**20, 2**12):
            with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
                while file.write(b"0" * size) == size:
                    pass
        yield
    finally:
        filler.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.chaos.outages", description=__doc__)
    parser.add_argument("--executor", choices=("local", "celery"), default="local")
    parser.add_argument("--what", choices=(LEDGER, FULL, *JUMPS), default=LEDGER)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long it lasts")
    parser.add_argument("--records", type=Path, help="append the records here")
    parser.add_argument("--keep", type=Path, help="keep the installation's files in this folder")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wrong = 0
    with contextlib.ExitStack() as cleanup:
        home = chosen.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        world = World(home, Setup(chosen.executor == "celery", seconds=12.0))
        if chosen.what == FULL:
            cleanup.enter_context(small_disk(world.ledger_server.folder))
        cleanup.enter_context(world)
        for record in Outages(world, chosen.what).run(chosen.seconds):
            print(json.dumps(record), flush=True)
            wrong += bool(record["wrong"])
            if chosen.records:
                with chosen.records.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
