# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What lasts longer than a blow: a ledger that is away for minutes, a machine whose clock is an hour off::

    python -m tests.engine.chaos.outages ledger-away --seconds 300 --records outages.jsonl
    python -m tests.engine.chaos.outages clock-ahead clock-behind --seconds 60

It strikes while every way to run items is under way, lasts, and is made good. Then what failed is cleared
once, as a person would do, and everything has to be landed, and nothing paid twice.

The clock needs libfaketime (``apt-get install faketime``): every process of Airflow is an hour off, all at
once, and neither the vendor nor the databases are. So the vendor refuses each signature until the clock is
right again, and Airflow takes its own tokens for expired.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.engine.chaos.cases import Work
from tests.engine.chaos.judge import first_after
from tests.engine.chaos.works import Run, Works
from tests.engine.chaos.world import Setup, World

HOUR = 3600
CLOCKS = {"clock-ahead": HOUR, "clock-behind": -HOUR}
OUTAGES = ("ledger-away", *CLOCKS)
#: More items than slots, so that some are running, some wait, and some were not yet thought of.
ITEMS = {Work.BLOCKS: 4, Work.MAPPED: 8, Work.WORKER: 14, Work.DEFERRED: 14}
_LIBRARY = "faketime/libfaketimeMT.so.1"


def library() -> Path | None:
    """Return libfaketime, where it is installed."""
    roots = (Path("/usr/lib"), Path("/usr/local/lib"))
    return next((path for root in roots for path in root.glob(f"**/{_LIBRARY}")), None)


class Clock:
    """
    A clock for all processes that are started with its environment, which can be put wrong while they run.

    Intervals are measured on the monotonic clock, which no administrator can set: it is left alone.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    @property
    def environment(self) -> Mapping[str, str]:
        found = library()
        if found is None:
            raise RuntimeError("libfaketime is not installed: apt-get install faketime")
        return {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "NO_FAKE_STAT": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Put it so many seconds ahead of what is right, or behind."""
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)


class Outages:
    """Runs outages on one installation, one after the other."""

    def __init__(self, world: World, clock: Clock | None) -> None:
        self._world, self._clock, self._works = world, clock, Works(world)

    def run(self, outage: str, seconds: float) -> Iterator[dict[str, Any]]:
        """Let everything begin, let the outage last, make it good, and tell what became of each run."""
        self._works.ready()
        self._world.settle()
        runs = [self._works.prepare(work, outage, ITEMS[work]) for work in Work]
        self._works.start(runs)
        self._wait_for_submits(runs)
        at = time.time()
        accepted = self._accepted()
        self._last(outage, seconds)
        meanwhile = self._accepted() - accepted
        self._world.settle()
        self._works.finish(runs, time.monotonic() + 600.0)
        self._works.clear_failed(runs)
        for run in runs:
            yield self._record(outage, seconds, run, at, meanwhile)

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

    def _last(self, outage: str, seconds: float) -> None:
        if self._clock is not None:
            self._clock.set(CLOCKS[outage])
            time.sleep(seconds)
            self._clock.set(0)
            return
        server = self._world.ledger_server
        for each in self._world.victims()["ledger database"]():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        time.sleep(seconds)
        server.revive()

    def _record(self, outage: str, seconds: float, run: Run, at: float, meanwhile: int) -> dict[str, Any]:
        verdict = self._works.judge(run)
        went_on = first_after(self._works.rows(run), at + seconds)
        wrong = [*verdict.wrong]
        if verdict.fates.get("landed", 0) != verdict.items:
            wrong.append(f"not everything landed: {dict(verdict.fates)}")
        return {
            "executor": self._world.setup.executor,
            "outage": outage,
            "seconds": seconds,
            "work": run.work.value,
            "state": run.state,
            "alone": run.alone,
            "cleared": run.cleared,
            "tries": self._works.tries(run),
            "accepted_meanwhile": meanwhile,
            "went_on": None if went_on is None else round(went_on, 1),
            **{**verdict.to_dict(), "wrong": wrong},
        }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.chaos.outages", description=__doc__)
    parser.add_argument("outages", nargs="+", choices=OUTAGES)
    parser.add_argument("--executor", choices=("local", "celery"), default="local")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long each lasts")
    parser.add_argument("--records", type=Path, help="append the records here")
    parser.add_argument("--keep", type=Path, help="keep the installations' files below this folder")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wrong = 0
    for outage in chosen.outages:
        with contextlib.ExitStack() as cleanup:
            home = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
            home = chosen.keep / outage if chosen.keep else home
            home.mkdir(parents=True, exist_ok=True)
            clock = Clock(home / "clock") if outage in CLOCKS else None
            setup = Setup(chosen.executor == "celery", seconds=12.0)
            world = cleanup.enter_context(World(home, setup, clock.environment if clock else {}))
            for record in Outages(world, clock).run(outage, chosen.seconds):
                print(json.dumps(record), flush=True)
                wrong += bool(record["wrong"])
                if chosen.records:
                    with chosen.records.open("a") as file:
                        file.write(json.dumps(record) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
