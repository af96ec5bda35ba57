# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The HTTP side: routes, raw requests in, replies out."""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import random
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_jimeng.emulator import answers
from airflow_provider_jimeng.emulator.book import Book
from airflow_provider_jimeng.emulator.control import Control
from airflow_provider_jimeng.emulator.delivery import Deliverer
from airflow_provider_jimeng.emulator.downloads import Downloads
from airflow_provider_jimeng.emulator.faults import Fault, FaultBook
from airflow_provider_jimeng.emulator.journal import Journal
from airflow_provider_jimeng.emulator.media_files import MediaFiles
from airflow_provider_jimeng.emulator.params import MAX_BODY_BYTES
from airflow_provider_jimeng.emulator.signature import Received
from airflow_provider_jimeng.emulator.studio import Studio
from airflow_provider_jimeng.emulator.vendor import Vendor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_jimeng.emulator.config import EmulatorConfig


class Server:
    """
    One emulator on the running event loop.

    :param config: settings; some can change later, through the control API.
    :param faults: switched on from the start.
    """

    def __init__(self, config: EmulatorConfig, faults: Sequence[Fault] = ()) -> None:
        rng = random.Random(config.seed)  # noqa: S311 - faults and ids that a seed repeats
        journal = None if config.state is None else Journal(config.state)
        try:
            self.book = Book(journal)
        except BaseException:
            if journal is not None:
                journal.close()
            raise
        self.faults = FaultBook(random.Random(rng.getrandbits(64)), faults)  # noqa: S311 - faults and ids that a seed repeats
        self.studio = Studio(config)
        self.vendor = Vendor(
            config, book=self.book, faults=self.faults, rng=rng, on_accepted=self.studio.accepted
        )
        self.stopped = asyncio.Event()
        self._deliverer = Deliverer()
        self._downloads = Downloads(self.vendor, self._deliverer, self.studio.result)
        self.control = Control(self.vendor, self.studio, self.stopped.set)
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Bind and serve."""
        await self.studio.start(self.vendor)
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        config = self.vendor.config
        site = web.TCPSite(self._runner, config.host, config.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        # Only now: the inputs of a task may be this server's own media.
        for task in list(self.book.tasks.values()):
            self.studio.resume(task)

    async def stop(self) -> None:
        """Stop serving, let waits end, and release the state file."""
        self.stopped.set()
        self._deliverer.stopping.set()
        # First of all: a fetch from a server that is gone would look like an input that can't be read.
        await self.studio.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        self.book.close()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES + 1024)
        app.router.add_get("/results/{name}", self._downloads.handle)
        self.control.add_routes(app)
        folder = self.vendor.config.media_dir
        if folder is not None:
            app.router.add_get("/media/{name:.+}", MediaFiles(self.book, folder).handle)
        app.router.add_route("*", "/{path:.*}", self._api)
        return app

    async def _api(self, request: web.Request) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and "Action" not in request.query:
            return await self.control.page(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            self.book.refuse("submit", "50213")
            too_large = answers.business(50213, request_id=answers.new_request_id(0.0, random.Random()))  # noqa: S311 - a request id of a local stand-in
            return await self._deliverer.send(request, too_large)
        except ConnectionResetError:
            # The caller hung up before its request was whole: nothing was asked, and nobody hears an answer.
            return web.Response(status=400)
        received = Received(
            request.method,
            request.raw_path,
            [(_text(name), _text(value)) for name, value in request.raw_headers],
            body,
        )
        reply = await self.vendor.call(
            received, host=request.headers.get("Host", ""), sleep=self._deliverer.sleep
        )
        date = email.utils.format_datetime(self.vendor.gateway_time(), usegmt=True)
        reply = dataclasses.replace(reply, headers={"Date": date, **reply.headers})
        return await self._deliverer.send(request, reply)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
