# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The plugin: which pages get a tab, and the application behind it.

Scheduler, workers and triggerers import this too, so the application is made by the first request for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.client.coerce import as_bool
from airflow_provider_jimeng.hooks.compat import conf

try:
    from airflow.sdk.plugins_manager import AirflowPlugin
except ImportError:  # Airflow 3.1
    from airflow.plugins_manager import AirflowPlugin  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

__all__ = ["JimengPlugin", "LazyApp"]

log = logging.getLogger(__name__)

#: Where the application is mounted in the api-server, below its base URL.
PREFIX = "/jimeng"
NAME = "Jimeng"


class LazyApp:
    """
    An ASGI application that is made when the first request comes.

    :param make: makes it; called once, in a thread.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._app: Any = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request, or have the application answer it."""
        if self._app is None:
            await asyncio.to_thread(self._prepare)
        await self._app(scope, receive, send)

    def _prepare(self) -> None:
        with self._lock:
            if self._app is None:
                self._app = self._make()


def _make() -> Any:
    from airflow_provider_jimeng.ui.app import make_app

    return make_app()


def _wanted() -> bool:
    """Tell whether ``[jimeng] ui`` leaves the tab on; what can't be read as a yes or no leaves it off."""
    text = conf.get("jimeng", "ui", fallback=None)
    if text is None or not str(text).strip():
        return True
    found = as_bool(str(text).strip())
    if found is None:
        log.error("[jimeng] ui must be True or False, not %r: the Jimeng tab is left out.", text)
    return found is True


def _view(destination: str, query: str = "") -> dict[str, str]:
    # Relative: Airflow's pages have a base, which is not the host's root behind some proxies.
    return {
        "name": NAME,
        "href": f"{PREFIX.lstrip('/')}/view/{{DAG_ID}}/{{RUN_ID}}{query}",
        "destination": destination,
        "url_route": f"jimeng_{destination}",
    }


_ON = _wanted()


class JimengPlugin(AirflowPlugin):
    """A tab on DAG runs and on task instances."""

    name = "jimeng"
    fastapi_apps = [{"app": LazyApp(_make), "url_prefix": PREFIX, "name": NAME}] if _ON else []
    external_views = (
        [_view("dag_run"), _view("task_instance", "?task_id={TASK_ID}&map_index={MAP_INDEX}")] if _ON else []
    )
