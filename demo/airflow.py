# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A real Airflow for the length of the demo: api-server, scheduler, dag-processor and triggerer, each a process.

Not ``airflow standalone``, which leaves its children behind when it is told to end with SIGTERM; and not
``dag.test()``, which runs mapped tasks one after the other and so shows neither deferral nor slots.

The metadata database is SQLite, which needs nothing installed: with four worker processes and a dozen short
tasks it is far from the load at which its one writer becomes a problem. Anything larger wants PostgreSQL.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from demo.home import Home, free_port
from demo.processes import Child
from demo.terminal import DemoError

WORKERS = 4
#: Settings of the person who starts the demo that must not steer it. Nothing in it leaves this machine.
_FOREIGN = ("AIRFLOW", "VOLC", "JIMENG", "PYTHON")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
_MIGRATE_SECONDS = 300


def clean_environment() -> dict[str, str]:
    """Return the environment without what is configured in it for another Airflow."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }


def settings(home: Home, dags: Path, port: int) -> dict[str, str]:
    """Return Airflow's configuration as environment variables."""
    url = f"http://127.0.0.1:{port}"
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags,
            "executor": "LocalExecutor",
            "parallelism": WORKERS,
            "load_examples": False,
            "simple_auth_manager_all_admins": True,
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": "",
            # A deferred task that Airflow failed by mistake re-attaches at once.
            "default_task_retry_delay": 1,
        },
        "database": {
            "sql_alchemy_conn": f"sqlite:///{home.airflow}/airflow.db",
            "load_default_connections": False,
        },
        "api": {"host": "127.0.0.1", "port": port, "base_url": url, "secret_key": secrets.token_hex(16)},
        "api_auth": {"jwt_secret": secrets.token_hex(32)},
        "logging": {"base_log_folder": home.airflow / "logs", "colored_console_log": False},
        "scheduler": {"scheduler_idle_sleep_time": 0.5, "enable_health_check": False},
        "dag_processor": {"refresh_interval": 5, "parsing_processes": 1},
        # How late the end of a worker's process may be noticed, and so how long our triggers stay quiet.
        "workers": {"min_heartbeat_interval": 1},
        "usage_data_collection": {"enabled": False},
    }
    named = {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for section, values in options.items()
        for name, value in values.items()
    }
    return {"AIRFLOW_HOME": str(home.airflow), **named}


class Airflow:
    """
    One installation, its components and its public REST API.

    :param environment: what the tasks find, beyond Airflow's own settings.
    """

    def __init__(self, home: Home, dags: Path, environment: Mapping[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._home = home
        self._environment = {**environment, **settings(home, dags, port)}
        self.api_server = self._component("api-server", "--workers", "1")
        self.others = [
            self._component("scheduler", "--skip-serve-logs"),
            self._component("dag-processor"),
            self._component("triggerer", "--skip-serve-logs"),
        ]
        self._session = requests.Session()
        self._session.trust_env = False

    def _component(self, name: str, *options: str) -> Child:
        command = [sys.executable, "-m", "airflow", name, *options]
        return Child(name, command, self._environment, self._home.logs)

    def migrate(self) -> None:
        """Create the metadata database, unless an earlier run of the same Airflow did."""
        from airflow import __version__ as version

        if self._home.fact("migrated") == version:
            return
        log = self._home.logs / "db-migrate.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=_MIGRATE_SECONDS,
            )
        if done.returncode:
            raise DemoError(f"airflow db migrate failed; see {log}")
        self._home.note(migrated=version)

    # -- the REST API ---------------------------------------------------------------------------------------

    def healthy(self) -> bool:
        """Tell whether every component has a fresh heartbeat."""
        try:
            token = self._session.get(f"{self.url}/auth/token", timeout=10)
            token.raise_for_status()
            self._session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
            health = self.call("GET", "/monitor/health")
        except (requests.RequestException, ValueError, KeyError, DemoError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Make one call of ``/api/v2``."""
        answer = self._session.request(
            method, f"{self.url}/api/v2{path}", json=body, params=params, timeout=60
        )
        if answer.status_code >= 400:
            raise DemoError(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def has_dag(self, dag_id: str) -> bool:
        """Tell whether a DAG was read; a file that can't be read is an error."""
        found = self.call("GET", "/dags", dag_id_pattern=dag_id, limit=10)["dags"]
        if any(dag["dag_id"] == dag_id for dag in found):
            return True
        if errors := self.call("GET", "/importErrors")["import_errors"]:
            raise DemoError(f"a DAG file can't be read: {errors[0]['stack_trace']}")
        return False

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Unpause a DAG, start a run with its default parameters but for ``conf``; return the run's id."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        started = self.call(
            "POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})}
        )
        return str(started["dag_run_id"])

    def clear(self, dag_id: str, run_id: str) -> int:
        """Clear every task of a run, as a person does to have it run again; return how many there are."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "reset_dag_runs": True}
        return len(self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)["task_instances"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.call("GET", _run_path(dag_id, run_id))["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, mapped ones by their index."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        found: list[dict[str, Any]] = self.call("GET", path, limit=100)["task_instances"]
        return sorted(found, key=lambda each: (each["task_id"], each["map_index"]))

    def returned(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return what a task returned."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self.call("GET", path, map_index=map_index)["value"]
        if not isinstance(value, dict):
            raise DemoError(f"{dag_id}.{task_id} returned {value!r}, not where the result is")
        return value


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
