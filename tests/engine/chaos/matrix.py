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

import requests

from tests.engine.chaos.cases import TASK, WORKER, Wave, Work, part_waves, task_waves
from tests.engine.chaos.judge import Content, Verdict, first_after, judge, rows_of
from tests.engine.chaos.points import Point
from tests.engine.chaos.rendezvous import ANY, Hit
from tests.engine.chaos.world import STOPPED_SECONDS, Setup, World
from tests.engine.rest import RUN_DONE, ApiError

#: How many items a run of each way has: more than points are struck in a wave.
ITEMS = {Work.BLOCKS: 3, Work.MAPPED: 4, Work.WORKER: 5, Work.DEFERRED: 5}
HIT_SECONDS = 45.0
RUN_SECONDS = 300.0
_TROUBLE = (requests.RequestException, ApiError)


@dataclass(slots=True)
class Run:
    """One run of one way, with its items."""

    work: Work
    marker: str
    contents: list[Content]
    conf: dict[str, Any]
    run_id: str = ""
    state: str = "not started"
    ended_at: float = 0.0
    cleared: int = 0


@dataclass(frozen=True, slots=True)
class Blow:
    """A signal that was sent; ``at`` in epoch seconds."""

    at: float
    works: tuple[Work, ...]
    point: Point | None


class Matrix:
    """Runs waves on one installation, one after the other."""

    def __init__(self, world: World) -> None:
        self._world = world

    def warm_up(self) -> None:
        """Run every way once unharmed: the ledger learns how long tasks take, and that all is well."""
        runs = [self._prepare(work, "warm-up") for work in Work]
        for work in Work:
            self._world.airflow.api.wait_for_dag(work.dag)
            self._world.airflow.api.unpause(work.dag)
        self._start(runs)
        self._finish(runs, time.monotonic() + RUN_SECONDS)
        for run in runs:
            verdict = self._judge(run)
            if run.state != "success" or verdict.wrong or verdict.fates.get("landed") != len(run.contents):
                raise RuntimeError(f"{run.work} does not even run unharmed: {run.state}, {verdict}")

    def run(self, wave: Wave) -> list[dict[str, Any]]:
        """Run a wave and return a record for every blow and way of running items that it struck."""
        self._world.settle()
        runs = [self._prepare(work, wave.name) for work in wave.points]
        if wave.victim == TASK:
            blows = self._strike_tasks(wave, runs)
        else:
            blows = self._strike_part(wave, runs)
        self._world.points.disarm()
        deadline = time.monotonic() + RUN_SECONDS
        self._finish(runs, deadline)
        self._clear_failed(runs)
        return [record for run in runs for record in self._records(wave, run, blows)]

    # -- works --------------------------------------------------------------------------------------------

    def _prepare(self, work: Work, name: str) -> Run:
        world = self._world
        marker = f"{name.replace(' ', '-')}--{work}--{time.time_ns()}"
        folder = world.home / "results" / marker
        folder.mkdir(parents=True)
        images = [f"{world.vendor.url}/media/{marker}--{number}.png" for number in range(ITEMS[work])]
        contents = [Content(image, folder / f"{at}.mp4") for at, image in enumerate(images)]
        video = f"{world.vendor.url}/media/{work}.mp4"
        lines = [{"id": str(at), "image": each.image, "video": video} for at, each in enumerate(contents)]
        manifest = folder / "manifest.jsonl"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        items = [
            {"image_url": each.image, "video_url": video, "output": str(each.output)} for each in contents
        ]
        conf = {"items": items, "manifest": str(manifest), "output": str(folder)}
        return Run(work, marker, contents, conf)

    def _start(self, runs: list[Run]) -> None:
        for run in runs:
            run.run_id = self._world.airflow.api.trigger(run.work.dag, run.conf)

    def _finish(self, runs: list[Run], deadline: float) -> None:
        """Wait for all runs' ends; whatever dies meanwhile is revived."""
        api = self._world.airflow.api
        while any(run.state not in RUN_DONE for run in runs):
            for run in runs:
                if run.state in RUN_DONE:
                    continue
                try:
                    run.state = api.dag_run(run.work.dag, run.run_id)["state"]
                except _TROUBLE:
                    self._world.revive()
                    with contextlib.suppress(*_TROUBLE):
                        api.log_in()
                    continue
                run.ended_at = time.time()
            if time.monotonic() > deadline:
                return
            self._world.revive()
            time.sleep(0.5)

    def _clear_failed(self, runs: list[Run]) -> None:
        """Do with failed runs what a person does: clear what failed. It must not cost a second submit."""
        failed = [run for run in runs if run.state == "failed"]
        if not failed:
            return
        self._world.settle()
        for run in failed:
            run.cleared += 1
            self._world.airflow.api.clear(run.work.dag, run.run_id, only_failed=True)
            run.state = "cleared"
        self._finish(failed, time.monotonic() + RUN_SECONDS)

    # -- blows --------------------------------------------------------------------------------------------

    def _strike_tasks(self, wave: Wave, runs: list[Run]) -> list[Blow]:
        points = self._world.points
        ids = {
            points.arm(point, run.work.dag, signal=wave.number): (run.work, point)
            for run in runs
            for point in wave.points[run.work]
        }
        self._start(runs)
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
            self._finish_quietly(runs)
            if all(run.state in RUN_DONE for run in runs):
                break
            time.sleep(0.2)
        for name, hit in hits.items():
            if name not in woken:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(hit.pid, signal.SIGCONT)
        return [Blow(hit.at, (ids[name][0],), ids[name][1]) for name, hit in hits.items()]

    def _finish_quietly(self, runs: list[Run]) -> None:
        for run in runs:
            if run.state not in RUN_DONE:
                with contextlib.suppress(*_TROUBLE):
                    run.state = self._world.airflow.api.dag_run(run.work.dag, run.run_id)["state"]
                    run.ended_at = time.time()

    def _strike_part(self, wave: Wave, runs: list[Run]) -> list[Blow]:
        world, points = self._world, self._world.points
        held = {points.arm(point, run.work.dag): run.work for run in runs for point in wave.points[run.work]}
        telling = []
        if "triggerer" in wave.victim:
            telling.append(points.arm(Point.EVENT_TOLD, ANY))
        self._start(runs)
        hits = points.wait([*held, *telling], HIT_SECONDS)
        if not hits:
            raise RuntimeError(f"{wave.name}: no work came to where it was to be held")
        struck_at = time.time()
        if wave.victim == WORKER:
            heal = self._strike_worker(next(hit for hit in hits if hit.id in held), wave.number)
        else:
            heal = world.strike(wave.victim, wave.number)
        points.go([*held, *telling])
        heal()
        return [Blow(struck_at, tuple(run.work for run in runs), None)]

    def _strike_worker(self, hit: Hit, number: int) -> Any:
        for name, component in self._world.airflow.components.items():
            if name.startswith("worker") and hit.pid in {each.pid for each in component.processes()}:
                return self._world.strike(name, number)
        return self._world.strike_family(hit.ppid, number)

    # -- records ------------------------------------------------------------------------------------------

    def _judge(self, run: Run) -> Verdict:
        return judge(run.contents, self._world.vendor.book(), rows_of(self._world.ledger_url, run.marker))

    def _records(self, wave: Wave, run: Run, blows: list[Blow]) -> Iterator[dict[str, Any]]:
        verdict = self._judge(run)
        rows = rows_of(self._world.ledger_url, run.marker)
        wrong = [*verdict.wrong, *self._complaints(run, verdict)]
        for at, blow in enumerate(blows):
            if run.work not in blow.works:
                continue
            point = blow.point or wave.points[run.work][0]
            went_on = first_after(rows, blow.at)
            yield {
                "executor": self._world.setup.executor,
                "triggerers": self._world.setup.triggerers,
                "blow": f"{run.marker if blow.point else wave.name}-{at}-{blow.at:.3f}",
                "signal": wave.signal,
                "victim": wave.victim,
                "work": run.work.value,
                "point": point.value,
                "state": run.state,
                "cleared": run.cleared,
                "went_on": None if went_on is None else round(went_on, 1),
                "ended": round(run.ended_at - blow.at, 1),
                "tries": self._tries(run),
                **{**verdict.to_dict(), "wrong": wrong},
            }

    @staticmethod
    def _complaints(run: Run, verdict: Verdict) -> Iterator[str]:
        if run.state not in RUN_DONE:
            yield f"the run never ended: {run.state}"
        told = verdict.fates.get("unknown", 0)
        if run.state == "failed" and not told:
            yield "the run failed, and nothing of it is unknown"
        if run.state == "success" and verdict.fates.get("landed", 0) != verdict.items:
            yield f"the run succeeded with {dict(verdict.fates)}"
        unlanded = verdict.items - verdict.fates.get("landed", 0) - told
        if unlanded:
            yield f"{unlanded} items neither landed nor told as unknown: {dict(verdict.fates)}"

    def _tries(self, run: Run) -> int:
        with contextlib.suppress(*_TROUBLE):
            found = self._world.airflow.api.task_instances(run.work.dag, run.run_id)
            return max((int(each["try_number"]) for each in found), default=0)
        return 0


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
