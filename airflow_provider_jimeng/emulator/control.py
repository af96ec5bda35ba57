# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The control API under ``/_emulator/``: ledger, faults, settings, clock, reset and shutdown."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_jimeng.emulator import pages
from airflow_provider_jimeng.emulator.faults import Fault
from airflow_provider_jimeng.emulator.ledger import ledger_view

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator.studio import Studio
    from airflow_provider_jimeng.emulator.vendor import Vendor

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """
    Handlers that a test, the demo or a person drives the emulator with.

    :param shut_down: called once, by ``POST /_emulator/shutdown`` from this machine.
    """

    def __init__(self, vendor: Vendor, studio: Studio, shut_down: Callable[[], None]) -> None:
        self._vendor = vendor
        self._studio = studio
        self._shut_down = shut_down

    def add_routes(self, app: web.Application) -> None:
        """Register everything under ``/_emulator/``."""
        router = app.router
        router.add_get("/_emulator/ledger", self._ledger)
        router.add_get("/_emulator/tasks/{task_id}", self._task)
        router.add_get("/_emulator/faults", _guarded(self._faults))
        router.add_post("/_emulator/faults", _guarded(self._add_faults))
        router.add_delete("/_emulator/faults", _guarded(self._remove_faults))
        router.add_get("/_emulator/config", _guarded(self._config))
        router.add_post("/_emulator/config", _guarded(self._configure))
        router.add_post("/_emulator/advance", _guarded(self._advance))
        router.add_post("/_emulator/reset", _guarded(self._reset))
        router.add_post("/_emulator/shutdown", _guarded(self._shutdown))

    # -- what tests call directly -------------------------------------------------------------------------

    def ledger(self) -> dict[str, Any]:
        """The emulator's ledger at this instant."""
        return ledger_view(self._vendor.book, self._vendor.clock.now())

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change settings; a ``ValueError`` names what can't be."""
        config = self._vendor.config.patched(changes)
        self._vendor.config = config
        self._studio.config = config

    def advance(self, seconds: float) -> None:
        """Move the vendor's clock forward."""
        self._vendor.clock.advance(seconds)
        self._vendor.book.moved(self._vendor.clock.offset)

    async def reset(self) -> None:
        """Forget all tasks, counters and faults; settings and the clock stay."""
        await self._studio.reset()
        self._vendor.book.reset()
        self._vendor.faults.remove()

    # -- handlers ----------------------------------------------------------------------------------------

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The status page, for people."""
        if request.path != "/":
            raise web.HTTPNotFound
        text = pages.status_page(self.ledger(), self._vendor.config.public(), self._vendor.faults.shown())
        return web.Response(text=text, content_type="text/html")

    async def _ledger(self, request: web.Request) -> web.StreamResponse:
        with_tasks = request.query.get("tasks", "1") != "0"
        return _json(ledger_view(self._vendor.book, self._vendor.clock.now(), with_tasks=with_tasks))

    async def _task(self, request: web.Request) -> web.StreamResponse:
        task = self._vendor.book.tasks.get(request.match_info["task_id"])
        if task is None:
            raise web.HTTPNotFound(text="There is no such task.")
        now = self._vendor.clock.now()
        url = self._vendor.result_url(task, request.headers.get("Host", ""))
        text = pages.task_page(task.shown(now), url if task.done(now) else None)
        return web.Response(text=text, content_type="text/html")

    async def _faults(self, request: web.Request) -> web.StreamResponse:
        return _json(self._vendor.faults.shown())

    async def _add_faults(self, request: web.Request) -> web.StreamResponse:
        given = await _body(request)
        specs = given if isinstance(given, list) else [given]
        faults = [
            Fault.parse(spec) if isinstance(spec, str) else Fault.from_dict(_object(spec)) for spec in specs
        ]
        return _json({"ids": [self._vendor.faults.add(fault) for fault in faults]})

    async def _remove_faults(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("id")
        return _json({"removed": self._vendor.faults.remove(None if wanted is None else int(wanted))})

    async def _config(self, request: web.Request) -> web.StreamResponse:
        return _json(self._vendor.config.public())

    async def _configure(self, request: web.Request) -> web.StreamResponse:
        self.configure(_object(await _body(request)))
        return _json(self._vendor.config.public())

    async def _advance(self, request: web.Request) -> web.StreamResponse:
        self.advance(float(_object(await _body(request))["seconds"]))
        return _json({"now": self._vendor.clock.now()})

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        await self.reset()
        return _json({})

    async def _shutdown(self, request: web.Request) -> web.StreamResponse:
        if not ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback:  # noqa: S104 - an address that is not known counts as foreign
            raise web.HTTPForbidden(text="Only this machine may shut the emulator down.")
        self._shut_down()
        return _json({})


def _guarded(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return answer


async def _body(request: web.Request) -> Any:
    return json.loads(await request.text())


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _json(value: Any) -> web.Response:
    return web.json_response(value)
