# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A whole installation that can be struck anywhere: Airflow, two databases, a vendor, Redis for Celery."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import requests

from airflow_provider_jimeng.emulator.config import EmulatorConfig

from tests.engine.airflow_stack import AirflowStack, migrate
from tests.engine.chaos.rendezvous import Rendezvous
from tests.engine.rest import ApiError
from tests.engine.vendor import Vendor
from tests.postgres import Databases, PostgresServer
from tests.redis_server import RedisServer

DAGS = Path(__file__).parent / "dags"
SLOTS = 12
#: Of a task at the vendor: short, since an *unknown* holds its slot for 1.5 times what tasks take.
SECONDS = 4.0
#: After this long without a heartbeat Airflow gives a component up; its own default is 30 to 300 s.
THRESHOLD = 15
#: How long a stopped process stays stopped: longer than the threshold and its detection.
STOPPED_SECONDS = 22.0
DOWN_SECONDS = 3.0
#: A component that runs and has had no heartbeat for so long is ended, as a liveness probe does.
PROBE_SECONDS = 60.0

#: So that five minutes of Airflow's patience are fifteen seconds, and a matrix is done in an hour.
QUICK = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(THRESHOLD),
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": str(THRESHOLD),
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__CORE__PARALLELISM": "12",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """
    Which installation.

    :param celery: CeleryExecutor on Redis with two workers, instead of LocalExecutor.
    :param seconds: of a task at the vendor.
    """

    celery: bool = False
    triggerers: int = 2
    seconds: float = SECONDS

    @property
    def executor(self) -> str:
        return "CeleryExecutor" if self.celery else "LocalExecutor"


class World:
    """
    The installation. Start it from a process's main thread.

    :param home: a folder for all of it; what is left there at the end tells what happened.
    """

    def __init__(self, home: Path, setup: Setup) -> None:
        self.home, self.setup = home.resolve(), setup
        self.home.mkdir(parents=True, exist_ok=True)
        self.points = Rendezvous(self.home / "points")
        self._cleanup = contextlib.ExitStack()
        # The ledger's server is set to forget its last commits at a kill: the provider must not let it.
        self.metadata_server, self.ledger_server = PostgresServer(commits="on"), PostgresServer()
        self.ledger_url = ""
        self._ailing: dict[str, float] = {}
        self._looked = 0.0
        #: What was ended because it lived and did nothing.
        self.probed: list[str] = []

    def start(self) -> Self:
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Self:
        for server in (self.metadata_server, self.ledger_server):
            self._cleanup.callback(server.stop)
            server.start()
        metadata = Databases(self.metadata_server.url).create("metadata")
        self.ledger_url = Databases(self.ledger_server.url).create("ledger")
        self.vendor = Vendor(
            slots=SLOTS,
            seconds=self.setup.seconds,
            jitter=0.1,
            log=self.home / "vendor.log",
            state=self.home / "vendor.jsonl",
        )
        self._cleanup.callback(self.vendor.stop)
        self.vendor.wait()
        env = {
            **QUICK,
            **self.points.environment,
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": self._connection(),
            "AIRFLOW__JIMENG__LEDGER_URL": self.ledger_url,
            "AIRFLOW__JIMENG__PROBE": "False",
        }
        workers = 0
        if self.setup.celery:
            redis = RedisServer()
            self._cleanup.callback(redis.stop)
            env |= {
                "AIRFLOW__CELERY__BROKER_URL": redis.start().url,
                "AIRFLOW__CELERY__RESULT_BACKEND": metadata.replace("postgresql+", "db+postgresql+"),
                "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
            }
            workers = 2
        self.airflow = AirflowStack(
            self.home / "airflow",
            metadata,
            DAGS,
            self.setup.executor,
            self.setup.triggerers,
            env=env,
            workers=workers,
        )
        (self.home / "airflow").mkdir(exist_ok=True)
        migrate(self.airflow.environment)
        self._cleanup.callback(self.airflow.stop)
        self.airflow.start(migrated=True)
        # What dies here was meant to: everything is revived, and a wait ends by its own limit.
        self.airflow.check = lambda: None  # type: ignore[method-assign]
        self.airflow.api._check = lambda: None
        return self

    def stop(self) -> None:
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *ignored: object) -> None:
        self.stop()

    def _connection(self) -> str:
        config = EmulatorConfig()
        extra = {"max_concurrency": SLOTS, "submit_qps": 20, "query_qps": 30, "submit_deadline": 8}
        return json.dumps(
            {
                "conn_type": "volcengine",
                "login": config.access_key,
                "password": config.secret_key,
                "host": self.vendor.url,
                "extra": {**extra, "read_timeout": 10},
            }
        )

    # -- blows --------------------------------------------------------------------------------------------

    def victims(self) -> Mapping[str, Callable[[], list[psutil.Process]]]:
        """Return what can be struck by name, and how its processes are found."""
        stack = self.airflow.components
        found: dict[str, Callable[[], list[psutil.Process]]] = {
            name: component.processes for name, component in stack.items()
        }
        found["both triggerers"] = lambda: [
            each for name in self._triggerers() for each in stack[name].processes()
        ]
        found["airflow database"] = lambda: _family(self.metadata_server.pid)
        found["ledger database"] = lambda: _family(self.ledger_server.pid)
        found["vendor"] = lambda: _family(self.vendor.pid)
        return found

    def _triggerers(self) -> Iterator[str]:
        return (name for name in self.airflow.components if name.startswith("triggerer"))

    def strike(self, victim: str, number: int) -> Callable[[], None]:
        """
        Strike a part of the installation, and return what makes it whole again.

        SIGKILL and SIGSTOP strike all its processes, as when its machine dies or stands still; SIGTERM asks
        its first process, as an orderly restart does.
        """
        processes = self.victims()[victim]()
        mains = [each for each in processes if each.pid in self._mains()]
        for each in mains if number == signal.SIGTERM else processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)
        if number == signal.SIGSTOP:
            return lambda: self._go_on(processes)
        return lambda: self._revive(mains)

    def strike_worker(self, pid: int, parent: int, number: int) -> Callable[[], None]:
        """
        Strike the worker that runs a task.

        :param pid: of the task's process.
        :param parent: of its supervisor: with LocalExecutor the worker is that, and the scheduler's child.
        """
        for name, component in self.airflow.components.items():
            if name.startswith("worker") and pid in {each.pid for each in component.processes()}:
                return self.strike(name, number)
        return self.strike_family(parent, number)

    def strike_family(self, pid: int, number: int) -> Callable[[], None]:
        """Strike one process and all that it started: a worker with the task it runs."""
        processes = _family(pid)
        for each in processes[:1] if number == signal.SIGTERM else processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)
        if number == signal.SIGSTOP:
            return lambda: self._go_on(processes)
        return lambda: self._revive([])

    def _mains(self) -> set[int]:
        pids = {each.pid for each in self.airflow.components.values() if each.running}
        return pids | {self.metadata_server.pid, self.ledger_server.pid, self.vendor.pid}

    @staticmethod
    def _go_on(processes: list[psutil.Process]) -> None:
        time.sleep(STOPPED_SECONDS)
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGCONT)

    def _revive(self, struck: list[psutil.Process]) -> None:
        _, left = psutil.wait_procs(struck, timeout=15)
        for each in left:
            # As a supervisor does with what does not end when asked; PostgreSQL waits for its clients.
            server = each.pid in (self.metadata_server.pid, self.ledger_server.pid)
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGINT if server else signal.SIGKILL)
        psutil.wait_procs(left, timeout=15)
        time.sleep(DOWN_SECONDS)
        self.revive()

    def revive(self) -> list[str]:
        """Start again whatever has ended, databases first; return what that was."""
        started = []
        for name, server in (
            ("airflow database", self.metadata_server),
            ("ledger database", self.ledger_server),
        ):
            if not server.running:
                server.revive()
                started.append(name)
        if not self.vendor.running:
            self.vendor.start()
            self.vendor.wait()
            started.append("vendor")
        return started + self.airflow.revive()

    def probe(self) -> None:
        """
        End what lives and does nothing, as an installation's liveness probes do; what ended is revived.

        A scheduler that loses its database in the wrong moment neither ends nor goes on.
        """
        now = time.monotonic()
        if now < self._looked + 5.0:
            return
        self._looked = now
        ailing = self._sick()
        self._ailing = {name: self._ailing.get(name, now) for name in ailing}
        for name, since in self._ailing.items():
            if now > since + PROBE_SECONDS:
                print(f"probe: {name} lives and has no heartbeat", flush=True)
                self.probed.append(name)
                self.airflow.kill(name, whole=True)
        self.revive()

    def _sick(self) -> list[str]:
        try:
            health = self.airflow.api.health()
        except (requests.RequestException, ApiError):
            return ["api-server"]
        if health.get("metadatabase") != "healthy":
            return []
        parts = {"scheduler": "scheduler", "dag_processor": "dag-processor"}
        return [name for part, name in parts.items() if health.get(part) != "healthy"]

    def settle(self, seconds: float = 240.0) -> None:
        """Revive, again and again, until Airflow says that it is healthy."""
        until = time.monotonic() + seconds
        while True:
            self.revive()
            self.probe()
            try:
                self.airflow.wait_until_healthy(5.0)
                return
            except (AssertionError, requests.RequestException, ApiError):
                if time.monotonic() > until:
                    raise


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants, it first; nothing where it is gone."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def ours(pid: int) -> bool:
    """Return whether a process was started by this one: nothing else may be struck."""
    try:
        return any(parent.pid == os.getpid() for parent in psutil.Process(pid).parents())
    except psutil.NoSuchProcess:
        return False
