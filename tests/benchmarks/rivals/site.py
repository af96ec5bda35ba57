# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One installation for all contenders: Airflow and the ledger on a PostgreSQL, and the local vendor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import requests

from airflow_provider_jimeng.emulator.config import EmulatorConfig

from tests.benchmarks.rivals.contenders import CONTENDERS
from tests.engine.airflow_stack import AirflowStack
from tests.engine.vendor import Vendor
from tests.postgres import Databases, PostgresServer

ROOT = Path(__file__).parents[3]
DAGS = Path(__file__).parent / "dags"

#: So that Airflow sees within seconds, not after its five minutes, that a worker is gone. It counts for all.
PATIENCE = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    # A queued task's token lives as long: with less, mapped tasks that queue for long fail at their start.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "150",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What is the same for all.

    :param seconds: of a task at the vendor, give or take ``jitter``.
    :param heartbeat: ``[workers] min_heartbeat_interval``; Airflow's own is 5.
    """

    slots: int = 8
    seconds: float = 10.0
    jitter: float = 0.1
    heartbeat: int = 5


class Site:
    """
    The installation. Start it from a process's main thread.

    :param home: a folder for all of it.
    """

    def __init__(self, home: Path, settings: Settings) -> None:
        self.home, self.settings = home.resolve(), settings
        self._cleanup = contextlib.ExitStack()

    def start(self) -> Self:
        """Start everything; whatever fails takes the rest along."""
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Self:
        settings = self.settings
        self.home.mkdir(parents=True, exist_ok=True)
        server = PostgresServer()
        self._cleanup.callback(server.stop)
        databases = Databases(server.start().url)
        self.vendor = Vendor(
            slots=settings.slots,
            seconds=settings.seconds,
            jitter=settings.jitter,
            log=self.home / "vendor.log",
            # The same durations, in the order of the submits, for everybody.
            seed=1,
        )
        self._cleanup.callback(self.vendor.stop)
        self.vendor.wait()
        self.ledger_url = databases.create("ledger")
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        env = {
            **PATIENCE,
            **self._connections(),
            "PYTHONPATH": path,
            "AIRFLOW__JIMENG__LEDGER_URL": self.ledger_url,
            # The emulator leaves inputs alone, and so serves none.
            "AIRFLOW__JIMENG__PROBE": "False",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": str(settings.heartbeat),
        }
        self.airflow = AirflowStack(self.home / "airflow", databases.create("metadata"), DAGS, env=env)
        self._cleanup.enter_context(self.airflow)
        slots = {"name": "rivals_slots", "slots": settings.slots, "include_deferred": True}
        self.airflow.api.call("POST", "/pools", slots)
        for each in CONTENDERS:
            self.airflow.api.unpause(each.dag)
        return self

    def _connections(self) -> dict[str, str]:
        """Return the rivals' connection, and one of each of ours, with an account of its own."""
        found = {"AIRFLOW_CONN_RIVALS_VENDOR": self._connection({})}
        for each in CONTENDERS:
            if each.ours:
                # The rivals have no limit of their own on submits and queries a second.
                rates = {"submit_qps": 10, "query_qps": 20}
                extra = {"account": each.key, "max_concurrency": self.settings.slots, **rates}
                found[f"AIRFLOW_CONN_RIVALS_{each.key.upper()}"] = self._connection(extra)
        return found

    def _connection(self, extra: dict[str, Any]) -> str:
        config = EmulatorConfig()
        return json.dumps(
            {
                "conn_type": "volcengine",
                "login": config.access_key,
                "password": config.secret_key,
                "host": self.vendor.url,
                "extra": extra,
            }
        )

    def new_book(self) -> None:
        """Make the vendor forget everything."""
        requests.post(f"{self.vendor.url}/_emulator/reset", timeout=30).raise_for_status()

    def workers(self) -> list[int]:
        """Return the pids of the executor's workers, whether they run a task or not."""
        return [each.pid for each in psutil.Process(self.airflow.components["scheduler"].pid).children()]

    @staticmethod
    def kill_busy(workers: Iterable[int]) -> int:
        """
        Kill those workers that run a task, with their tasks, as when their machine goes away.

        A worker has a child while it runs a task. One that runs none waits on the executor's queue, and would
        take the queue's lock along. It looks into ``/proc``, since a look at all processes takes so long that
        the moment is over.

        :return: how many.
        """
        killed = 0
        for pid in workers:
            try:
                tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except FileNotFoundError:
                continue
            for each in (pid, *map(int, tasks)) if tasks else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            killed += bool(tasks)
        return killed

    def stop(self) -> None:
        """End everything."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *ignored: object) -> None:
        self.stop()
