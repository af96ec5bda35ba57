# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Bulk runs and mapped items side by side for a long time, and a random blow every 60 to 90 seconds::

    python -m tests.engine.chaos.soak --executor celery --minutes 90 --records soak.json

At the end a person's part is played: each *unknown* is looked up in the vendor's book and adopted or
released, and what failed is cleared. Then everything has to be landed, and nothing paid twice.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.engine.chaos.cases import ON_THE_WAY, SIGNALS, TASK, VICTIMS, WORKER, Work
from tests.engine.chaos.judge import judge
from tests.engine.chaos.works import TROUBLE, Run, Works
from tests.engine.chaos.world import STOPPED_SECONDS, Setup, World
from tests.engine.rest import RUN_DONE

#: How many items a run of each way has; a new one begins when one ends.
ITEMS = {Work.BLOCKS: 6, Work.MAPPED: 12, Work.WORKER: 40, Work.DEFERRED: 40}
PAUSE = (60.0, 90.0)
END_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Struck:
    """A blow, in seconds since the soak began."""

    at: float
    signal: str
    victim: str
    point: str | None = None


@dataclass(slots=True)
class Soak:
    """
    A soak of one installation.

    :param seconds: for how long new work begins and blows fall.
    :param seed: of the blows.
    """

    world: World
    seconds: float
    seed: int
    runs: list[Run] = field(default_factory=list)
    blows: list[Struck] = field(default_factory=list)
    failed_runs: int = 0

    def run(self) -> dict[str, Any]:
        """Soak, and return what came of it."""
        works, chance = Works(self.world), random.Random(self.seed)
        works.ready()
        began = time.monotonic()
        current: dict[Work, Run] = {}
        blow_at = began + 45.0
        while (now := time.monotonic()) < began + self.seconds:
            self._keep_busy(works, current)
            self.world.revive()
            self.world.probe()
            if now >= blow_at:
                self._strike(chance, now - began)
                # From blow to blow, however long this one took.
                blow_at = now + chance.uniform(*PAUSE)
            time.sleep(1.0)
        self.world.points.disarm()
        self.world.settle()
        works.finish(self.runs, time.monotonic() + END_SECONDS)
        before = self._verdict(works)
        decided = self._decide()
        failed = [run for run in self.runs if run.state == "failed"]
        self.failed_runs = len(failed)
        works.clear_failed(failed)
        return self._told(time.monotonic() - began, before, decided, self._verdict(works))

    def _keep_busy(self, works: Works, current: dict[Work, Run]) -> None:
        for work in Work:
            run = current.get(work)
            if run is not None:
                works.look([run])
            if run is None or run.state in RUN_DONE:
                with contextlib.suppress(*TROUBLE):
                    fresh = works.prepare(work, f"soak-{len(self.runs)}", ITEMS[work])
                    works.start([fresh])
                    current[work] = fresh
                    self.runs.append(fresh)

    def _strike(self, chance: random.Random, at: float) -> None:
        name = chance.choice(list(SIGNALS))
        victim = chance.choice([TASK, TASK, *VICTIMS])
        point: str | None = None
        if victim in (TASK, WORKER):
            work = chance.choice(list(Work))
            where = chance.choice(ON_THE_WAY[work])
            own = int(SIGNALS[name]) if victim == TASK else None
            order = self.world.points.arm(where, work.dag, signal=own)
            hits = self.world.points.wait([order], 40.0)
            if not hits:
                self.world.points.disarm()
                return
            point = f"{work}: {where}"
            if victim == TASK:
                if name == "SIGSTOP":
                    time.sleep(STOPPED_SECONDS)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(hits[0].pid, signal.SIGCONT)
            else:
                heal = self.world.strike_worker(hits[0].pid, hits[0].ppid, int(SIGNALS[name]))
                self.world.points.go([order])
                heal()
        else:
            self.world.strike(victim, int(SIGNALS[name]))()
        self.blows.append(Struck(round(at, 1), name, victim, point))
        print(f"{at:6.0f} s  {name} {victim} {point or ''}", flush=True)

    def _decide(self) -> Counter[str]:
        """Do what docs/recovery.md tells a person: adopt what the vendor has, release what it has not."""
        by_image: dict[str, list[str]] = {}
        for entry in self.world.vendor.book()["contents"].values():
            by_image.setdefault(entry["content"]["image_url"], []).extend(entry["task_ids"])
        decided: Counter[str] = Counter()
        for line in self._ledger("list", "--state", "unknown", "--limit", "10000", "--json").splitlines():
            row = json.loads(line)
            found = by_image.get(row["inputs"]["image_url"], [])
            word = "adopt" if found else "release"
            self._ledger(word, str(row["id"]), *found[:1], "--reason", "the soak's end", "--yes")
            decided[word] += 1
        return decided

    def _ledger(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "airflow_provider_jimeng", "ledger", *arguments],
            env=self.world.airflow.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"ledger {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def _verdict(self, works: Works) -> dict[str, Any]:
        contents = [each for run in self.runs for each in run.contents]
        rows = [row for run in self.runs for row in works.rows(run)]
        return judge(contents, self.world.vendor.book(), rows).to_dict()

    def _told(
        self, seconds: float, before: dict[str, Any], decided: Counter[str], after: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "executor": self.world.setup.executor,
            "triggerers": self.world.setup.triggerers,
            "seed": self.seed,
            "minutes": round(seconds / 60, 1),
            "blows": len(self.blows),
            "by_signal": Counter(each.signal for each in self.blows),
            "by_victim": Counter(each.victim for each in self.blows),
            "ended_by_liveness_probes": self.world.probed,
            "runs": len(self.runs),
            "runs_by_state": Counter(run.state for run in self.runs),
            "runs_failed_before_a_person_came": self.failed_runs,
            "before": before,
            "decided": decided,
            "after": after,
            "struck": [[each.at, each.signal, each.victim, each.point] for each in self.blows],
        }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.chaos.soak", description=__doc__)
    parser.add_argument("--executor", choices=("local", "celery"), default="local")
    parser.add_argument("--triggerers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--seconds", type=float, default=12.0, help="of a task at the vendor")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--records", type=Path, help="write what came of it here")
    parser.add_argument("--keep", type=Path, help="keep the installation's files here")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as cleanup:
        home = chosen.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        shutil.rmtree(home, ignore_errors=True)
        setup = Setup(chosen.executor == "celery", chosen.triggerers, chosen.seconds)
        world = cleanup.enter_context(World(home, setup))
        print(f"ready after {world.airflow.boot_seconds:.0f} s", flush=True)
        try:
            told = Soak(world, 60 * chosen.minutes, chosen.seed).run()
        except BaseException:
            traceback.print_exc()
            raise
    text = json.dumps(told, indent=1)
    print(text)
    if chosen.records:
        chosen.records.write_text(text + "\n")
    landed = told["after"]["fates"].get("landed", 0)
    return 0 if landed == told["after"]["items"] and not told["after"]["wrong"] else 1


if __name__ == "__main__":
    sys.exit(main())
