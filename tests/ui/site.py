# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The tab without the rest of Airflow: the application, mounted as by the api-server, and a little API."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow_provider_jimeng.ui.app import make_app
from airflow_provider_jimeng.ui.desk import open_desk

from tests.postgres import free_port

if TYPE_CHECKING:
    from tests.ui.auth import PerDagAuthManager

_FRAME = """<!doctype html><html class="{theme}"><body style="margin:0">
<iframe src="/jimeng/view/{dag}/{run}" sandbox="allow-scripts allow-same-origin allow-forms allow-downloads"
style="border:none;width:100vw;height:100vh"></iframe></body></html>"""


def application(ledger_url: str, instances: list[dict[str, Any]]) -> FastAPI:
    """
    Return Airflow as far as the tab sees it.

    :param instances: what the API tells of each run's task instances; may be changed later.
    """
    tab = make_app()
    tab.app.state.open_desk = lambda: open_desk(lambda: ledger_url)
    root = FastAPI()

    @root.get("/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
    def task_instances(dag_id: str, run_id: str, limit: int, offset: int) -> Mapping[str, Any]:
        return {"task_instances": instances[offset : offset + limit], "total_entries": len(instances)}

    @root.get("/frame/{theme}/{dag}/{run}")
    def frame(theme: str, dag: str, run: str) -> HTMLResponse:
        return HTMLResponse(_FRAME.format(theme=theme, dag=dag, run=run))

    root.mount("/jimeng", tab)
    return root


def token_of(manager: PerDagAuthManager, name: str) -> str:
    """Return what a user has after signing in."""
    return manager.generate_jwt(SimpleAuthManagerUser(username=name, role="USER"))


class Site:
    """An application on a port of its own, in a thread."""

    def __init__(self, app: FastAPI) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="ui-site")

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert self._thread.is_alive(), "the site did not start"
            assert time.monotonic() < deadline, "the site did not start in time"
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(20)
