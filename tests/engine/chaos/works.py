# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Runs of items that are to be struck: begun, watched to their end whatever dies, cleared, and judged."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tests.engine.chaos.cases import Work
from tests.engine.chaos.judge import Content, Row, Verdict, judge, rows_of
from tests.engine.rest import RUN_DONE, ApiError

if TYPE_CHECKING:
    from tests.engine.chaos.world import World

RUN_SECONDS = 300.0
#: What the api-server answers while it, or its database, is down.
TROUBLE = (requests.RequestException, ApiError)


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
    #: How it ended before a person cleared what had failed.
    alone: str = "not started"
    cleared: int = 0


class Works:
    """
    Begins runs on an installation and tells what became of them.

    :param world: where.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def ready(self) -> None:
        """Wait until every DAG is known, and unpause it."""
        for work in Work:
            self._world.airflow.api.wait_for_dag(work.dag)
            self._world.airflow.api.unpause(work.dag)

    def prepare(self, work: Work, name: str, count: int) -> Run:
        world = self._world
        marker = f"{name.replace(' ', '-')}--{work}--{time.time_ns()}"
        folder = world.home / "results" / marker
        folder.mkdir(parents=True)
        images = [f"{world.vendor.url}/media/{marker}--{number}.png" for number in range(count)]
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

    def start(self, runs: list[Run]) -> None:
        for run in runs:
            run.run_id = self._world.airflow.api.trigger(run.work.dag, run.conf)

    def finish(self, runs: list[Run], deadline: float) -> None:
        """Wait for all runs' ends; whatever dies meanwhile is revived."""
        api = self._world.airflow.api
        while any(run.state not in RUN_DONE for run in runs):
            for run in runs:
                if run.state in RUN_DONE:
                    continue
                try:
                    run.state = api.dag_run(run.work.dag, run.run_id)["state"]
                except TROUBLE:
                    self._world.revive()
                    with contextlib.suppress(*TROUBLE):
                        api.log_in()
                    continue
                run.ended_at = time.time()
            if time.monotonic() > deadline:
                return
            self._world.revive()
            self._world.probe()
            time.sleep(0.5)

    def clear_failed(self, runs: list[Run]) -> None:
        """Do with failed runs what a person does: clear what failed. It must not cost a second submit."""
        for run in runs:
            run.alone = run.state
        failed = [run for run in runs if run.state == "failed"]
        if not failed:
            return
        self._world.settle()
        for run in failed:
            run.cleared += 1
            self._world.airflow.api.clear(run.work.dag, run.run_id, only_failed=True)
            run.state = "cleared"
        self.finish(failed, time.monotonic() + RUN_SECONDS)

    def look(self, runs: list[Run]) -> None:
        for run in runs:
            if run.state not in RUN_DONE:
                with contextlib.suppress(*TROUBLE):
                    run.state = self._world.airflow.api.dag_run(run.work.dag, run.run_id)["state"]
                    run.ended_at = time.time()

    def judge(self, run: Run) -> Verdict:
        return judge(run.contents, self._world.vendor.book(), self.rows(run))

    def rows(self, run: Run) -> list[Row]:
        """Return what the ledger says of a run's contents."""
        return rows_of(self._world.ledger_url, run.marker)

    @staticmethod
    def complaints(run: Run, verdict: Verdict) -> Iterator[str]:
        if run.state not in RUN_DONE:
            yield f"the run never ended: {run.state}"
        told = verdict.fates.get("unknown", 0)
        if "failed" in (run.state, run.alone) and not told:
            yield "the run failed, and nothing of it is unknown: a person had to clear it"
        if run.state == "success" and verdict.fates.get("landed", 0) != verdict.items:
            yield f"the run succeeded with {dict(verdict.fates)}"
        unlanded = verdict.items - verdict.fates.get("landed", 0) - told
        if unlanded:
            yield f"{unlanded} items neither landed nor told as unknown: {dict(verdict.fates)}"

    def tries(self, run: Run) -> int:
        with contextlib.suppress(*TROUBLE):
            found = self._world.airflow.api.task_instances(run.work.dag, run.run_id)
            return max((int(each["try_number"]) for each in found), default=0)
        return 0
