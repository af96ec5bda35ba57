# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How bytes leave the emulator: whole, late, in drops, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from airflow_provider_jimeng.emulator.answers import Delivery, Reply


class Deliverer:
    """Sends replies; every wait ends at once when the server stops or the caller leaves."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait in real seconds, or until the server stops."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return

    async def send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """Deliver an answer the way it wants to be."""
        if reply.delay:
            await self.sleep(reply.delay)
        if reply.delivery is Delivery.RESET:
            reset(request)
            return web.Response()
        if reply.delivery is Delivery.HANG:
            await self._hang(request, reply.seconds)
            reset(request)
            return web.Response()
        if reply.delivery is Delivery.DRIP:
            return await self._drip(request, reply)
        return web.Response(
            status=reply.status, body=reply.body, content_type=reply.content_type, headers=dict(reply.headers)
        )

    async def _hang(self, request: web.Request, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while loop.time() < deadline and not self.stopping.is_set():
            if request.transport is None or request.transport.is_closing():
                return
            await self.sleep(min(0.1, max(0.0, deadline - loop.time())))

    async def _drip(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
        response.content_type = reply.content_type
        response.content_length = len(reply.body)
        drop = max(1, len(reply.body) // 100)
        pause = reply.seconds * drop / max(1, len(reply.body))
        try:
            await response.prepare(request)
            for start in range(0, len(reply.body), drop):
                await response.write(reply.body[start : start + drop])
                await self.sleep(pause)
            await response.write_eof()
        except ConnectionError:
            reset(request)
        return response


def reset(request: web.Request) -> None:
    """Cut the connection so that the caller sees a reset, not an orderly end."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Linger of zero seconds: the kernel sends RST instead of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
