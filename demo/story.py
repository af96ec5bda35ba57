# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the demo shows: everything landed once and paid once, and again for nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.terminal import Clock, DemoError, Teller
from demo.vendor import BULK_NEW, IMAGES, Vendor
from demo.verify import Film, check_film

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.home import Home
    from demo.processes import Children

SINGLE, MAPPED = "example_jimeng_motion_imitation", "example_jimeng_mapped"
_LOOK_SECONDS = 0.5
_STEPS = ("submit", "wait", "land")
_WORDS = {
    None: "not yet",
    "scheduled": "next",
    "queued": "next",
    "deferred": "in the triggerer",
    "success": "done",
}


@dataclass(frozen=True, slots=True)
class Landing:
    """One item's result: where it is, what it is, and which paid task made it."""

    dag_id: str
    name: str
    path: Path
    film: Film
    returned: Mapping[str, Any]
    task_id: str
    new: bool

    @property
    def fingerprint(self) -> tuple[str, Path, str, str]:
        """What must be the same the second time."""
        return self.dag_id, self.path, self.returned["sha256"], self.task_id


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of both DAGs brought, and what the vendor was paid for."""

    landings: list[Landing]
    accepted: int
    refused: int
    new: int
    retries: int = 0


class Story:
    """Runs the two DAGs and holds what comes out against what must."""

    def __init__(
        self, home: Home, airflow: Airflow, vendor: Vendor, children: Children, clock: Clock, tell: Teller
    ) -> None:
        self.home, self.airflow, self.vendor = home, airflow, vendor
        self._children, self._clock, self._tell = children, clock, tell

    def wait(self, what: str, look: Callable[[], bool]) -> None:
        """Look until it is so, a process has ended, or the time is up."""
        while not look():
            self._children.check()
            self._clock.check(what)
            time.sleep(_LOOK_SECONDS)

    def first(self) -> tuple[Round, dict[str, str]]:
        """Run the two DAGs, one after the other so that they can be followed; also return the runs' ids."""
        before, runs = {}, {}
        for dag_id in (SINGLE, MAPPED):
            self.wait(f"DAG {dag_id}", partial(self.airflow.has_dag, dag_id))
            before[dag_id] = self._paid()
            runs[dag_id] = self.airflow.trigger(dag_id)
            self.follow(dag_id, runs[dag_id])
        return self._harvest(runs, before), runs

    def again(self, runs: Mapping[str, str]) -> Round:
        """Clear the mapped run, and start another run of the single one: the two ways to ask twice."""
        before = dict.fromkeys((SINGLE, MAPPED), self._paid())
        cleared = self.airflow.clear(MAPPED, runs[MAPPED])
        self._tell.step(f"cleared all {cleared} tasks of {MAPPED}, and started {SINGLE} once more")
        repeated = {SINGLE: self.airflow.trigger(SINGLE), MAPPED: runs[MAPPED]}
        for dag_id, run_id in repeated.items():
            self.follow(dag_id, run_id)
        return self._harvest(repeated, before)

    def _paid(self) -> set[str]:
        return set(self.vendor.ledger()["tasks"])

    # -- following a run ------------------------------------------------------------------------------------

    def follow(self, dag_id: str, run_id: str) -> None:
        """Tell how a run gets on until it ends; raises if it fails."""
        self.wait(f"{dag_id} to end", partial(self._look, dag_id, run_id))

    def _look(self, dag_id: str, run_id: str) -> bool:
        state = self.airflow.run_state(dag_id, run_id)
        instances = self.airflow.task_instances(dag_id, run_id)
        self._tell.progress(self._summary(dag_id, instances), final=state in ("success", "failed"))
        if state == "failed":
            raise DemoError(self._failure(dag_id, run_id, instances))
        return state == "success"

    def _summary(self, dag_id: str, instances: list[dict[str, Any]]) -> str:
        if dag_id == SINGLE:
            states = {each["task_id"]: _WORDS.get(each["state"], each["state"]) for each in instances}
            return f"{dag_id}: {', '.join(f'{step} {states.get(step)}' for step in _STEPS)}"
        if dag_id not in (SINGLE, MAPPED):
            return self._bulk_summary(dag_id)
        items = [each for each in instances if each["task_id"] == "imitate" and each["map_index"] >= 0]
        if not items:
            return f"{dag_id}: listing the items"
        landed = sum(each["state"] == "success" for each in items)
        running = sum(usage["in_use"] for usage in self.vendor.ledger()["slots"].values())
        running = min(running, len(items) - landed)
        left = len(items) - landed - running
        return f"{dag_id}: {landed:2} landed, {running} at the vendor, {left:2} waiting or on their way"

    def _bulk_summary(self, dag_id: str) -> str:
        totals = self.vendor.ledger()["totals"]
        landed = len(list((self.home.results / "bulk").glob("*.mp4")))
        running = totals["accepted"] - totals["done"]
        return f"{dag_id}: {landed:2} landed, {running} at the vendor"

    def _failure(self, dag_id: str, run_id: str, instances: list[dict[str, Any]]) -> str:
        failed = [each for each in instances if each["state"] == "failed"]
        named = ", ".join(_name(each) for each in failed) or "no task"
        logs = self.home.airflow / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        text = f"{dag_id} failed ({named}). The logs are in {logs}"
        for each in failed[:1]:
            found = sorted(logs.glob(f"task_id={each['task_id']}/**/attempt={each['try_number']}.log"))
            if found:
                text += "\n" + errors_in(found[0])
        return text

    # -- what came out --------------------------------------------------------------------------------------

    def _harvest(self, runs: Mapping[str, str], before: Mapping[str, set[str]]) -> Round:
        """Look at every result; ``before`` is what was paid for when each run started."""
        landings = [self._landing(SINGLE, runs[SINGLE], "land", -1, before[SINGLE])]
        landings += [
            self._landing(MAPPED, runs[MAPPED], "imitate", index, before[MAPPED]) for index in range(IMAGES)
        ]
        book = self.vendor.ledger()
        totals = book["totals"]
        self._check_book(book)
        distinct = {each.returned["sha256"] for each in landings}
        if len(distinct) != IMAGES:
            raise DemoError(f"{len(distinct)} different results of {IMAGES} different pairs")
        return Round(
            landings,
            totals["accepted"],
            totals["refused"],
            new=len(set(book["tasks"]) - before[SINGLE]),
            retries=self._retries(runs),
        )

    def _retries(self, runs: Mapping[str, str]) -> int:
        """Count the tries beyond the first: Airflow now and then takes a healthy deferred task for killed."""
        every = [
            each for dag_id, run_id in runs.items() for each in self.airflow.task_instances(dag_id, run_id)
        ]
        return sum(max(0, each["try_number"] - 1) for each in every)

    def _landing(self, dag_id: str, run_id: str, task_id: str, index: int, before: set[str]) -> Landing:
        returned = self.airflow.returned(dag_id, run_id, task_id, index)
        reference = returned if index >= 0 else self.airflow.returned(dag_id, run_id, "submit")
        path = Path(returned["uri"])
        vendor_task = reference["task_id"]
        return Landing(
            dag_id=dag_id,
            name=path.name,
            path=path,
            film=check_film(path, returned),
            returned=returned,
            task_id=vendor_task,
            new=vendor_task not in before,
        )

    def _check_book(self, book: Mapping[str, Any]) -> None:
        accepted = book["totals"]["accepted"]
        # The bulk run wants more pairs; an earlier demo may have had them.
        if book["paid_more_than_once"] or accepted not in (IMAGES, IMAGES + BULK_NEW):
            raise DemoError(
                f"the vendor accepted {accepted} submits for {IMAGES} different pairs of inputs; "
                f"paid more than once: {book['paid_more_than_once']}"
            )


def errors_in(log: Path) -> str:
    """Return what went wrong according to a task's log, whose lines are JSON objects."""
    told = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("level") not in ("error", "critical"):
            continue
        details = entry.get("error_detail") or []
        told.append("  " + str(entry.get("event")))
        told += [f"    {each.get('exc_type')}: {each.get('exc_value')}" for each in details]
    return "\n".join(told) or f"  ({log} holds no error)"


def _name(instance: Mapping[str, Any]) -> str:
    index = instance["map_index"]
    return str(instance["task_id"]) if index < 0 else f"{instance['task_id']}[{index}]"
