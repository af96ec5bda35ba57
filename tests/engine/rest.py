# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The public REST API of Airflow 3 as far as tests use it: what a person does in the UI, as methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import requests

Json = dict[str, Any]

#: Seconds between two looks at something that Airflow can't notify us of.
LOOK_EVERY = 0.25
PAGE = 100
TASK_DONE = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
RUN_DONE = frozenset({"success", "failed"})


class ApiError(RuntimeError):
    """The API answered with an error."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"{method} {path}: HTTP {status}: {text[:2000]}")
        self.status = status


class NotSeenError(AssertionError):
    """What a test waited for did not come about in time."""


class AirflowApi:
    """
    A client of one api-server.

    :param base_url: for example ``http://127.0.0.1:8080``.
    :param check: called between two looks of every wait; raises when waiting on makes no sense any more.
    """

    def __init__(self, base_url: str, check: Callable[[], None] = lambda: None) -> None:
        self.base_url = base_url
        self._check = check
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def log_in(self) -> None:
        """Get a token; with all users admins nobody asks for a password."""
        token = self._session.get(f"{self.base_url}/auth/token", timeout=30)
        token.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Make one call of ``/api/v2`` and return the decoded answer, ``None`` where it has no body."""
        answer = self._session.request(
            method, f"{self.base_url}/api/v2{path}", json=body, params=params, timeout=60
        )
        if answer.status_code >= 400:
            raise ApiError(method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def wait(self, what: str, look: Callable[[], Any], seconds: float, tell: Callable[[], Any] = str) -> Any:
        """Return the first truthy thing that ``look`` returns; ``tell`` describes what there was instead."""
        deadline = time.monotonic() + seconds
        while True:
            if seen := look():
                return seen
            self._check()
            if time.monotonic() > deadline:
                raise NotSeenError(f"not within {seconds:.0f} s: {what}. Instead: {tell()}")
            time.sleep(LOOK_EVERY)

    def _all(self, path: str, key: str, **params: Any) -> list[Json]:
        found: list[Json] = []
        while True:
            page = self.call("GET", path, limit=PAGE, offset=len(found), **params)
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    # -- the installation

    def health(self) -> dict[str, str]:
        """Return the status of each kind of component, as the api-server reads it from the database."""
        parts = self.call("GET", "/monitor/health")
        return {name: part.get("status") or "absent" for name, part in parts.items() if part}

    def jobs(self, kind: str) -> list[Json]:
        """Return the living jobs of a kind: ``SchedulerJob``, ``TriggererJob`` or ``DagProcessorJob``."""
        return self._all("/jobs", "jobs", job_type=kind, is_alive="true")

    def add_connection(self, conn_id: str, conn_type: str, **fields: Any) -> None:
        self.call("POST", "/connections", {"connection_id": conn_id, "conn_type": conn_type, **fields})

    def set_variable(self, key: str, value: str) -> None:
        self.call("POST", "/variables", {"key": key, "value": value})

    # -- DAGs

    def import_errors(self) -> dict[str, str]:
        """Return the stack traces of files that could not be read as DAGs, by file name."""
        errors = self._all("/importErrors", "import_errors")
        return {error["filename"]: error["stack_trace"] for error in errors}

    def wait_for_dag(self, dag_id: str, seconds: float = 60) -> Json:
        """Wait until the DAG is known and its file was read without errors."""

        def look() -> Json | None:
            try:
                return self.call("GET", f"/dags/{dag_id}")
            except ApiError as error:
                if error.status != 404:
                    raise
            if errors := self.import_errors():
                raise NotSeenError(f"DAG {dag_id} is not there; files with errors: {errors}")
            return None

        return self.wait(f"DAG {dag_id}", look, seconds)

    def unpause(self, dag_id: str) -> None:
        self.wait_for_dag(dag_id)
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def delete_dag(self, dag_id: str) -> None:
        self.call("DELETE", f"/dags/{dag_id}")

    # -- runs

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Start a run and return its id; ``dag_run_id`` and ``logical_date`` may be given as fields."""
        body = {"logical_date": None, "conf": dict(conf or {}), **fields}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, seconds: float = 120) -> Json:
        """Unpause, start a run and wait for its end."""
        self.unpause(dag_id)
        return self.wait_for_run(dag_id, self.trigger(dag_id, conf), seconds)

    def dag_run(self, dag_id: str, run_id: str) -> Json:
        return self.call("GET", self._run_path(dag_id, run_id))

    def dag_runs(self, dag_id: str) -> list[Json]:
        return self._all(f"/dags/{dag_id}/dagRuns", "dag_runs")

    def wait_for_run(
        self, dag_id: str, run_id: str, seconds: float = 120, states: Collection[str] = RUN_DONE
    ) -> Json:
        """Wait until the run is in one of the states and return it."""

        def look() -> Json | None:
            run = self.dag_run(dag_id, run_id)
            return run if run["state"] in states else None

        what = f"{dag_id} {run_id} in {sorted(states)}"
        return self.wait(what, look, seconds, lambda: self.states(dag_id, run_id))

    def delete_run(self, dag_id: str, run_id: str) -> None:
        self.call("DELETE", self._run_path(dag_id, run_id))

    def backfill(self, dag_id: str, from_date: str, to_date: str, *, reprocess: str = "none") -> Json:
        """Start a backfill; ``reprocess`` is ``none``, ``failed`` or ``completed``."""
        body = {"dag_id": dag_id, "from_date": from_date, "to_date": to_date, "reprocess_behavior": reprocess}
        return self.call("POST", "/backfills", body)

    # -- task instances

    def task_instances(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[Json]:
        """Return all task instances of a run, mapped ones too, by task and map index."""
        found = self._all(f"{self._run_path(dag_id, run_id)}/taskInstances", "task_instances")
        wanted = [each for each in found if task_id in (None, each["task_id"])]
        return sorted(wanted, key=lambda each: (each["task_id"], each["map_index"]))

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return a line per task instance, for an error message: ``task[map] -> state (try)``."""
        return {
            f"{each['task_id']}[{each['map_index']}]": f"{each['state']} (try {each['try_number']})"
            for each in self.task_instances(dag_id, run_id)
        }

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Json:
        """Return one task instance; its ``rendered_fields`` are what Airflow stored of its arguments."""
        return self.call("GET", self._task_path(dag_id, run_id, task_id, map_index))

    def rendered_fields(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Json:
        return self.task_instance(dag_id, run_id, task_id, map_index)["rendered_fields"]

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> list[Json]:
        path = self._task_path(dag_id, run_id, task_id, map_index)
        return self.call("GET", f"{path}/tries")["task_instances"]

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Collection[str] = TASK_DONE,
        *,
        map_index: int = -1,
        seconds: float = 60,
    ) -> Json:
        """Wait until one task instance is in one of the states and return it."""

        def look() -> Json | None:
            found = self.task_instances(dag_id, run_id, task_id)
            fitting = (each for each in found if each["map_index"] == map_index)
            return next((each for each in fitting if each["state"] in states), None)

        what = f"{dag_id} {run_id} {task_id}[{map_index}] in {sorted(states)}"
        return self.wait(what, look, seconds, lambda: self.states(dag_id, run_id))

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Iterable[str | tuple[str, int]] | None = None,
        **options: Any,
    ) -> list[Json]:
        """
        Clear task instances of a run and return them; all by default, done or not.

        :param task_ids: task ids, or pairs of a task id and a map index.
        :param options: of the API: ``only_failed``, ``include_downstream`` and so on.
        """
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, **options}
        if task_ids is not None:
            body["task_ids"] = [each if isinstance(each, str) else list(each) for each in task_ids]
        cleared = self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)
        return cleared["task_instances"]

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task instance ``success``, ``failed`` or ``skipped``."""
        self.call("PATCH", self._task_path(dag_id, run_id, task_id, map_index), {"new_state": state})

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        path = f"{self._task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key, safe='')}"
        return self.call("GET", path, map_index=map_index)["value"]

    def xcom_keys(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> set[str]:
        path = f"{self._task_path(dag_id, run_id, task_id)}/xcomEntries"
        return {each["key"] for each in self._all(path, "xcom_entries", map_index=map_index)}

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the extra links of a task instance by their names, as the UI's buttons would get them."""
        path = f"{self._task_path(dag_id, run_id, task_id)}/links"
        return self.call("GET", path, map_index=map_index)["extra_links"]

    def _run_path(self, dag_id: str, run_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"

    def _task_path(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
        suffix = "" if map_index < 0 else f"/{map_index}"
        return f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}{suffix}"
