# Licensed under the Apache License, Version 2.0. See LICENSE.
"""An installation as an earlier release left it a moment ago, under the code of today."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.operators import jimeng as operators
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.golden import files
from tests.golden.scene import LATER, pin_endpoint
from tests.legs import Bench, DagRun, Deferred, Instance, first_event, quick

if TYPE_CHECKING:
    import pytest

_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+]00:00|Z)")
#: Columns of the ledger that hold a moment, and no duration.
_MOMENTS = {
    "jimeng_tasks": ("created_at", "sent_at", "submitted_at", "finished_at", "landed_at"),
    "jimeng_landings": ("landed_at",),
    "jimeng_limits": ("probe_after", "cooldown_until", "called_at"),
    "jimeng_waiters": ("created_at", "called_at"),
}


def read(version: str, name: str) -> Any:
    """Return a set's JSON value as it was written."""
    return json.loads((files.ROOT / version / name).read_text(encoding="utf-8"))


def rows(version: str) -> list[dict[str, Any]]:
    """Return every trigger row of a set, with the leg that follows."""
    found: list[dict[str, Any]] = read(version, "deferrals.json")
    return found


class _Resumed(Instance):
    """A task instance that was deferred before the upgrade; Airflow gives its next leg what was stored."""

    hints: dict[str, Any]

    def _execute(self, operator: Any, context: Any, deferred: Deferred | None, event: Any) -> Any:
        if deferred is None or not self.hints:
            return super()._execute(operator, context, deferred, event)
        method, hints = getattr(operator, deferred.method), self.hints
        # Later legs store hints of their own, which do no more than save time.
        self.hints = {}

        def resumed(ctx: Any, event: Any = None, **more: Any) -> Any:
            return method(ctx, event, **{**hints, **more})

        setattr(operator, deferred.method, resumed)
        return super()._execute(operator, context, deferred, event)


class Upgraded:
    """
    A golden set, brought to this machine and to this day.

    :ivar bench: the vendor, which holds the set's tasks, all of them over by now; the ledger; the outputs.
    """

    def __init__(self, version: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        golden = files.ROOT / version
        pin_endpoint(patch)
        quick(patch)
        self._later = time.time() - read(version, "made.json")["made_at"]
        self.folder = folder
        self._worker = threading.Lock()
        shutil.copy(golden / "vendor.jsonl", folder / "vendor.jsonl")
        config = EmulatorConfig(
            concurrency=None,
            duration=0.2,
            results="cheap",
            state=folder / "vendor.jsonl",
            # The vendor's tasks stay as old as they are.
            task_lifetime=1e10,
        )
        self.emu = Emulator(config).start()
        self.emu.advance(LATER)
        self._pairs = {files.FOLDER: str(folder), files.HOST: self.emu.host}
        shutil.copytree(golden / "out", folder / "out")
        for path in (folder / "out").rglob("*.json*"):
            path.write_text(self._today(path.read_text(encoding="utf-8")), encoding="utf-8")
        shutil.copy(golden / "ledger.db", folder / "ledger.db")
        files.swap_in_ledger(folder / "ledger.db", self._pairs)
        self._rejuvenate(folder / "ledger.db")
        self.bench = Bench(self.emu, folder, patch)
        self._accepted = self.bench.accepted
        self.rows = json.loads(self._today(json.dumps(rows(version))))
        self.xcoms = json.loads(self._today(json.dumps(read(version, "xcoms.json"))))

    def _today(self, text: str) -> str:
        def later(match: re.Match[str]) -> str:
            when = dt.datetime.fromisoformat(match[0].replace("Z", "+00:00"))
            moved = (when + dt.timedelta(seconds=self._later)).isoformat()
            return moved.replace("+00:00", match[2])

        return _TIME.sub(later, files.swapped(text, self._pairs))

    def _rejuvenate(self, file: Path) -> None:
        database = sqlite3.connect(file)
        for table, columns in _MOMENTS.items():
            for column in columns:
                database.execute(f"UPDATE {table} SET {column} = {column} + ?", (self._later,))  # noqa: S608 - of constants
        database.commit()
        database.close()

    @property
    def paid(self) -> int:
        """How many submits the vendor has accepted since the upgrade."""
        return self.bench.accepted - self._accepted

    def row(self, case: str) -> dict[str, Any]:
        (found,) = [each for each in self.rows if each["case"] == case]
        return dict(found)

    def resumed(self, row: dict[str, Any]) -> tuple[_Resumed, Deferred]:
        """Return the deferred task instance, and what Airflow's database holds of its wait."""
        kind: Callable[..., Any] = (
            JimengTaskSensor if row["operator"] == "JimengTaskSensor" else getattr(operators, row["operator"])
        )
        instance = _Resumed(DagRun(row["run_id"]), kind, "task", -1, row["arguments"])
        instance.hints = dict(row["next_kwargs"])
        return instance, Deferred(row["classpath"], json.dumps(row["kwargs"]), row["next_method"], None)

    def to_the_end(self, row: dict[str, Any], event: dict[str, Any] | None = None) -> Any:
        """Resume a task that was deferred before the upgrade, with a given event or its own trigger's."""
        instance, deferred = self.resumed(row)
        told = event
        if told is None:
            told = json.loads(json.dumps(asyncio.run(first_event(deferred.trigger()))))
        outcome = self._leg(instance, deferred, told)
        while isinstance(outcome, Deferred):
            outcome = self._leg(instance, outcome, instance.watch(outcome))
        return outcome

    def _leg(self, instance: Instance, deferred: Deferred, told: Any) -> Any:
        # Airflow has one context per process, so legs are one after the other here; triggers are not.
        with self._worker:
            return instance.leg(deferred, told)

    def all_to_the_end(self, rows: Iterable[dict[str, Any]], *, with_events: bool = False) -> dict[str, Any]:
        """Resume many at once, as Airflow does: they queue for the same slots."""
        chosen = list(rows)

        def one(row: dict[str, Any]) -> Any:
            return self.to_the_end(row, row.get("event") if with_events else None)

        with ThreadPoolExecutor(max(1, len(chosen))) as pool:
            return dict(zip((row["case"] for row in chosen), pool.map(one, chosen), strict=True))

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """The rows of the tasks that were deferred when the upgrade came."""
        return [row for row in self.rows if row.get("waiting")]

    def close(self) -> None:
        self.bench.ledger.close()
        self.emu.stop()
