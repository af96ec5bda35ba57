# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Run the matrix, or a part of it, and write a record of every blow::

    python -m tests.engine.chaos.matrix --executor local --records chaos.jsonl
    python -m tests.engine.chaos.matrix --executor celery --only "SIGSTOP-scheduler"
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.chaos.cases import TASK, WORKER, Wave, Work, part_waves, task_waves
from tests.engine.chaos.judge import first_after
from tests.engine.chaos.points import Point
from tests.engine.chaos.rendezvous import ANY, Hit
from tests.engine.chaos.works import RUN_SECONDS, Run, Works
from tests.engine.chaos.world import STOPPED_SECONDS, Setup, World
from tests.engine.rest import RUN_DONE

#: How many items a run of each way has: more than points are struck in a wave.
ITEMS = {Work.BLOCKS: 3, Work.MAPPED: 4, Work.WORKER: 5, Work.DEFERRED: 5}
HIT_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Blow:
    """A signal that was sent; ``at`` in epoch seconds."""

    at: float
    works: tuple[Work, ...]
    point: Point | None


class Matrix:
    """Runs waves on one installation, one after the other."""

    def __init__(self, world: World) -> None:
        self._world, self._works = world, Works(world)

    def warm_up(self) -> None:
        """Run every way once unharmed: the ledger learns how long tasks take, and that all is well."""
        runs = [self._works.prepare(work, "warm-up", ITEMS[work]) for work in Work]
        self._works.ready()
        self._works.start(runs)
        self._works.finish(runs, time.monotonic() + RUN_SECONDS)
        for run in runs:
            verdict = self._works.judge(run)
            if run.state != "success" or verdict.wrong or verdict.fates.get("landed") != len(run.contents):
                raise RuntimeError(f"{run.work} does not even run unharmed: {run.state}, {verdict}")

    def run(self, wave: Wave) -> list[dict[str, Any]]:
        """Run a wave and return a record for every blow and way of running items that it struck."""
        self._world.settle()
        runs = [self._works.prepare(work, wave.name, ITEMS[work]) for work in wave.points]
        if wave.victim == TASK:
            blows = self._strike_tasks(wave, runs)
        else:
            blows = self._strike_part(wave, runs)
        self._world.points.disarm()
        deadline = time.monotonic() + RUN_SECONDS
        self._works.finish(runs, deadline)
        self._works.clear_failed(runs)
        return [record for run in runs for record in self._records(wave, run, blows)]

    # -- blows --------------------------------------------------------------------------------------------

    def _strike_tasks(self, wave: Wave, runs: list[Run]) -> list[Blow]:
        points = self._world.points
        ids = {
            points.arm(point, run.work.dag, signal=wave.number): (run.work, point)
            for run in runs
            for point in wave.points[run.work]
        }
        self._works.start(runs)
        hits: dict[str, Hit] = {}
        woken: set[str] = set()
        until = time.monotonic() + RUN_SECONDS / 2
        while (len(hits) < len(ids) or len(woken) < len(hits)) and time.monotonic() < until:
            for name in ids:
                if name not in hits and (hit := points.hit(name)) is not None:
                    hits[name] = hit
            for name, hit in hits.items():
                if name in woken:
                    continue
                if wave.number != signal.SIGSTOP:
                    woken.add(name)
                elif time.time() - hit.at > STOPPED_SECONDS:
                    woken.add(name)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(hit.pid, signal.SIGCONT)
            self._works.look(runs)
            if all(run.state in RUN_DONE for run in runs):
                break
            time.sleep(0.2)
        for name, hit in hits.items():
            if name not in woken:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(hit.pid, signal.SIGCONT)
        return [Blow(hit.at, (ids[name][0],), ids[name][1]) for name, hit in hits.items()]

    def _strike_part(self, wave: Wave, runs: list[Run]) -> list[Blow]:
        world, points = self._world, self._world.points
        held = {points.arm(point, run.work.dag): run.work for run in runs for point in wave.points[run.work]}
        telling = []
        if "triggerer" in wave.victim:
            telling.append(points.arm(Point.EVENT_TOLD, ANY))
        self._works.start(runs)
        hits = points.wait([*held, *telling], HIT_SECONDS)
        if not hits:
            raise RuntimeError(f"{wave.name}: no work came to where it was to be held")
        struck_at = time.time()
        if wave.victim == WORKER:
            hit = next(hit for hit in hits if hit.id in held)
            heal = world.strike_worker(hit.pid, hit.ppid, wave.number)
        else:
            heal = world.strike(wave.victim, wave.number)
        points.go([*held, *telling])
        heal()
        return [Blow(struck_at, tuple(run.work for run in runs), None)]

    # -- records ------------------------------------------------------------------------------------------

    def _records(self, wave: Wave, run: Run, blows: list[Blow]) -> Iterator[dict[str, Any]]:
        verdict = self._works.judge(run)
        rows = self._works.rows(run)
        wrong = [*verdict.wrong, *self._works.complaints(run, verdict)]
        mine = [(at, blow) for at, blow in enumerate(blows) if run.work in blow.works]
        if wrong and not mine:
            # It was not struck itself, and came to harm all the same: that is to be seen.
            mine = [(-1, Blow(run.ended_at, (run.work,), None))]
        for at, blow in mine:
            point = blow.point or wave.points[run.work][0]
            went_on = first_after(rows, blow.at)
            yield {
                "executor": self._world.setup.executor,
                "triggerers": self._world.setup.triggerers,
                "blow": f"{run.marker if blow.point else wave.name}-{at}-{blow.at:.3f}",
                "run": run.marker,
                "signal": wave.signal,
                "victim": wave.victim,
                "work": run.work.value,
                "point": point.value,
                "state": run.state,
                "cleared": run.cleared,
                "went_on": None if went_on is None else round(went_on, 1),
                "ended": round(run.ended_at - blow.at, 1),
                "tries": self._works.tries(run),
                **{**verdict.to_dict(), "wrong": wrong},
            }


def waves_of(part: str, turn: int) -> list[Wave]:
    """Return the waves of the tasks, of the installation's parts, or of both."""
    tasks = list(task_waves()) if part in ("tasks", "all") else []
    return [*tasks, *(part_waves(turn=turn) if part in ("parts", "all") else ())]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.chaos.matrix", description=__doc__)
    parser.add_argument("--executor", choices=("local", "celery"), default="local")
    parser.add_argument("--triggerers", type=int, default=2)
    parser.add_argument("--part", choices=("tasks", "parts", "all"), default="all")
    parser.add_argument("--turn", type=int, default=0)
    parser.add_argument("--only", default="", help="waves whose name contains this")
    parser.add_argument("--records", type=Path, help="append the records here")
    parser.add_argument("--keep", type=Path, help="keep the installation's files here")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failures = 0
    with contextlib.ExitStack() as cleanup:
        home = chosen.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        shutil.rmtree(home, ignore_errors=True)
        world = cleanup.enter_context(World(home, Setup(chosen.executor == "celery", chosen.triggerers)))
        matrix = Matrix(world)
        matrix.warm_up()
        print(f"ready after {world.airflow.boot_seconds:.0f} s", flush=True)
        for wave in waves_of(chosen.part, chosen.turn):
            if chosen.only not in wave.name:
                continue
            began = time.monotonic()
            try:
                records = matrix.run(wave)
            except Exception:
                traceback.print_exc()
                failures += 1
                continue
            bad = [record for record in records if record["wrong"]]
            failures += len(bad)
            blows = len({record["blow"] for record in records})
            print(
                f"{wave.name}: {blows} blows, {time.monotonic() - began:.0f} s, {summary(records)}",
                flush=True,
            )
            for record in bad:
                print(f"  WRONG {json.dumps(record)}", flush=True)
            if chosen.records:
                with chosen.records.open("a") as file:
                    file.writelines(json.dumps(record) + "\n" for record in records)
    return 1 if failures else 0


def summary(records: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Return what a wave came to, a run at a time."""
    return {
        record["work"]: f"{record['state']} {dict(record['fates'])} try {record['tries']}"
        for record in records
    }


if __name__ == "__main__":
    sys.exit(main())
