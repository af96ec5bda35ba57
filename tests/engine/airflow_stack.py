# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Real Airflow for tests: scheduler, dag-processor, api-server and triggerers as processes of their own.

By hand, with a PostgreSQL that goes away at the end::

    python -m tests.engine.airflow_stack --dags dags --home .test/airflow

Start it from a process's main thread: the components end when the thread that started them does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from sqlalchemy import create_engine

from tests.engine.component import Component
from tests.engine.rest import AirflowApi, ApiError
from tests.postgres import Databases, PostgresServer, free_port

BOOT_SECONDS = 180.0

#: Settings of the person who starts the tests that must not reach the components.
FOREIGN = ("AIRFLOW", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "COVERAGE", "COV_CORE")


def settings(home: Path, database_url: str, dags_folder: Path, executor: str, port: int) -> dict[str, str]:
    """Return the configuration of a stack as environment variables: quick, and open to all on loopback."""
    base_url = f"http://127.0.0.1:{port}"
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags_folder,
            "executor": executor,
            "parallelism": 8,
            "load_examples": False,
            "simple_auth_manager_all_admins": True,
            "execution_api_server_url": f"{base_url}/execution/",
            "fernet_key": "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk=",
            "max_active_tasks_per_dag": 64,
            # Airflow fails healthy deferred tasks now and then; five minutes is long to wait for a retry.
            "default_task_retry_delay": 1,
            "min_serialized_dag_update_interval": 0,
        },
        "database": {"sql_alchemy_conn": database_url, "load_default_connections": False},
        "api": {"host": "127.0.0.1", "port": port, "base_url": base_url, "secret_key": "only-for-tests"},
        "api_auth": {"jwt_secret": "only-for-tests-only-for-tests-only-for-tests-only-for-tests-only"},
        "logging": {"base_log_folder": home / "logs", "colored_console_log": False},
        "scheduler": {
            "scheduler_idle_sleep_time": 0.25,
            "trigger_timeout_check_interval": 2,
            "enable_health_check": False,
            "use_job_schedule": True,
        },
        "dag_processor": {
            "refresh_interval": 2,
            "bundle_refresh_check_interval": 1,
            "min_file_process_interval": 5,
            "parsing_processes": 1,
        },
        # How late the end of a worker's process may be noticed, and so how long our triggers stay quiet.
        "workers": {"min_heartbeat_interval": 1},
        "triggerer": {"job_heartbeat_sec": 2, "triggerer_health_check_threshold": 12},
        "usage_data_collection": {"enabled": False},
    }
    named = {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for section, values in options.items()
        for name, value in values.items()
    }
    return {"AIRFLOW_HOME": str(home), **named}


class AirflowStack:
    """
    The components of one Airflow installation.

    :param home: ``AIRFLOW_HOME``: made if need be; the components' logs are in its ``components/``.
    :param database_url: of the metadata database, ``postgresql+psycopg2://``; migrated by
        :meth:`start` unless told that it is.
    :param dags_folder: where the DAG files are.
    :param executor: ``LocalExecutor``, or any other that needs no component beyond these.
    :param triggerers: how many triggerers; they are called ``triggerer``, ``triggerer-2`` and so on.
    :param env: environment variables of all components, beyond and above the settings of a stack.
    :param workers: how many Celery workers; they are called ``worker-1``, ``worker-2`` and so on.
    """

    def __init__(
        self,
        home: Path,
        database_url: str,
        dags_folder: Path,
        executor: str = "LocalExecutor",
        triggerers: int = 1,
        env: Mapping[str, str] | None = None,
        workers: int = 0,
    ) -> None:
        self.home = home.resolve()
        self.database_url = database_url
        self.dags_folder = dags_folder.resolve()
        port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        configured = settings(self.home, database_url, self.dags_folder, executor, port)
        self.environment = {**kept, "no_proxy": "*", **configured, **(env or {})}
        self.api = AirflowApi(f"http://127.0.0.1:{port}", self.check)
        self.components: dict[str, Component] = {}
        self.boot_seconds: float | None = None
        self._down: set[str] = set()
        self._describe("api-server", "api-server")
        self._describe("scheduler", "scheduler", "--skip-serve-logs")
        self._describe("dag-processor", "dag-processor")
        for number in range(1, triggerers + 1):
            name = "triggerer" if number == 1 else f"triggerer-{number}"
            self._describe(name, "triggerer", "--skip-serve-logs")
        for number in range(1, workers + 1):
            name = f"worker-{number}"
            where = [
                "--celery-hostname",
                f"{name}@%h",
                "--concurrency",
                "4",
                "--pid",
                str(home / f"{name}.pid"),
            ]
            self._describe(name, "celery", "worker", "--skip-serve-logs", *where)

    def _describe(self, name: str, *arguments: str) -> None:
        folder = self.home / "components"
        self.components[name] = Component(name, [*arguments], self.environment, folder / f"{name}.log")

    def start(self, *, migrated: bool = False, seconds: float = BOOT_SECONDS) -> Self:
        """
        Start all components and wait until each is healthy.

        :param migrated: the database has Airflow's tables already.
        """
        began = time.monotonic()
        (self.home / "components").mkdir(parents=True, exist_ok=True)
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        try:
            if not migrated:
                migrate(self.environment)
            for component in self.components.values():
                component.start()
            self.wait_until_healthy(seconds)
        except BaseException:
            self.stop()
            raise
        self.boot_seconds = time.monotonic() - began
        return self

    def wait_until_healthy(self, seconds: float = BOOT_SECONDS) -> None:
        """Wait until the API answers and every component that should run has a fresh heartbeat."""
        triggerers = sum(1 for name in self._expected() if name.startswith("triggerer"))

        def look() -> bool:
            try:
                self.api.log_in()
                health = self.api.health()
                alive = len(self.api.jobs("TriggererJob"))
            except (requests.RequestException, ApiError):
                return False
            parts = ("metadatabase", "scheduler", "dag_processor")
            return all(health.get(part) == "healthy" for part in parts) and alive >= triggerers

        self.api.wait("a healthy Airflow", look, seconds, self.report)

    def _expected(self) -> list[str]:
        return [name for name in self.components if name not in self._down]

    def check(self) -> None:
        """Raise if a component has ended that no test has killed."""
        for name in self._expected():
            self.components[name].check()

    def kill(self, name: str, number: int = signal.SIGKILL, *, whole: bool = False) -> None:
        """
        Send a signal to a component, and wait for its end if the signal ends it.

        :param whole: send it to all its descendants too, as when the machine goes away. Without it, what a
            scheduler leaves behind finishes its tasks.
        """
        component = self.components[name]
        deadly = number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        if deadly:
            self._down.add(name)
        component.signal(number, whole=whole)
        if deadly:
            component.wait(60)

    def revive(self) -> list[str]:
        """Start every component again that has ended, as an installation's supervisor would; return which."""
        dead = [name for name, component in self.components.items() if not component.running]
        for name in dead:
            self.components[name].sweep()
            self.components[name].start()
            self._down.discard(name)
        return dead

    def restart(self, name: str, *, seconds: float = BOOT_SECONDS) -> None:
        """Start a component again, after ending what is left of it, and wait until all are healthy."""
        component = self.components[name]
        component.stop()
        component.start()
        self._down.discard(name)
        self.wait_until_healthy(seconds)

    def stop(self) -> None:
        """End every component and all that they started; safe to call twice, and after a failure."""
        self.api.close()
        self._down.update(self.components)
        for component in self.components.values():
            component.ask_to_stop()
        with contextlib.ExitStack() as all_of_them:
            for component in self.components.values():
                all_of_them.callback(component.make_sure_it_stopped)

    def report(self) -> str:
        """Return the end of each component's log."""
        return "".join(f"\n--- {name}\n{each.tail(15)}" for name, each in self.components.items())

    def cli(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``airflow`` with the stack's configuration; the exit code is the caller's to look at."""
        return subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def files_with(self, needle: str) -> Iterator[Path]:
        """Yield the files below the stack's home, logs above all, that contain a text."""
        for path in self.home.rglob("*"):
            if path.is_file() and needle.encode() in path.read_bytes():
                yield path

    def __enter__(self) -> Self:
        return self.start() if self.boot_seconds is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def migrate(environment: Mapping[str, str]) -> None:
    """Create Airflow's tables in the database that the environment names."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=BOOT_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"airflow db migrate failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def make_template(databases: Databases, home: Path) -> str:
    """Return the URL of a migrated metadata database to copy others from, which takes no time at all."""
    home.mkdir(parents=True, exist_ok=True)
    url = databases.create("template")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    migrate({**kept, **settings(home, url, home / "dags", "LocalExecutor", 1)})
    # Nobody may be connected to a template.
    create_engine(url).dispose()
    return url


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.airflow_stack", description=__doc__)
    parser.add_argument("--dags", type=Path, required=True, help="the folder of the DAG files")
    parser.add_argument(
        "--home", type=Path, default=Path(".test/airflow"), help="AIRFLOW_HOME; kept at the end"
    )
    parser.add_argument("--database-url", help="an empty database; default: a PostgreSQL of its own")
    parser.add_argument("--executor", default="LocalExecutor")
    parser.add_argument("--triggerers", type=int, default=1)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    chosen = parser.parse_args(arguments)
    env: dict[str, Any] = dict(pair.split("=", 1) for pair in chosen.env)
    # Both ways to be told to end clean up, also while Airflow is still starting.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as cleanup:
        url = chosen.database_url
        if url is None:
            server = PostgresServer()
            cleanup.callback(server.stop)
            url = Databases(server.start().url).create("metadata")
        shutil.rmtree(chosen.home / "components", ignore_errors=True)
        stack = AirflowStack(chosen.home, url, chosen.dags, chosen.executor, chosen.triggerers, env)
        cleanup.enter_context(stack)
        print(
            f"ready after {stack.boot_seconds:.0f} s: {stack.api.base_url}; logs in {stack.home}/components"
        )
        print("Ctrl-C ends it", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
