# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Result URLs: signed, one hour alive, with ranges and digests; and every way a download goes wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_jimeng.emulator.answers import SUCCESS, Delivery, Reply, html
from airflow_provider_jimeng.emulator.delivery import Deliverer, reset
from airflow_provider_jimeng.emulator.results import ResultUnavailableError
from airflow_provider_jimeng.emulator.tasks import Task

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator.faults import Fault
    from airflow_provider_jimeng.emulator.vendor import Vendor

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z", re.ASCII)
_CHUNK = 64 * 1024

#: Faults that strike before a byte of the file is needed.
_WITHOUT_FILE = frozenset({"status", "html", "empty", "expired", "reset", "hang", "redirect"})

Fetch = Callable[[Task, str], Awaitable[bytes]]


class Downloads:
    """
    Serves ``/results/<task_id>.mp4``, and ``<task_id>-<number>.jpeg`` of products that make pictures.

    :param fetch: the bytes of one of a task's results; waits for the renderer where it is still at work.
    """

    def __init__(self, vendor: Vendor, deliverer: Deliverer, fetch: Fetch) -> None:
        self._vendor = vendor
        self._deliverer = deliverer
        self._fetch = fetch
        self._dead: set[str] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one download."""
        book = self._vendor.book
        task = self._authorized(request)
        if task is None:
            book.refuse("download", "403")
            return _denied()
        fault = None
        if request.method != "HEAD":
            book.downloaded(task, completed=False)
            struck = self._vendor.faults.strike(
                "download", f"{task.task_id} {json.dumps(task.body, ensure_ascii=False)}"
            )
            fault = None if struck is None else struck.fault
        if fault is not None:
            book.refuse("download", fault.label)
        if fault is not None and fault.kind in _WITHOUT_FILE:
            return await self._refused(request, fault)
        try:
            data = await self._fetch(task, request.match_info["name"])
        except ResultUnavailableError as error:
            book.refuse("download", "unavailable")
            return web.Response(status=500, text=str(error))
        if fault is not None and fault.kind == "delay":
            await self._deliverer.sleep(1.0 if fault.seconds is None else fault.seconds)
        elif fault is not None:
            return await self._spoiled(request, fault, data)
        response = _whole(request, data)
        if request.method == "HEAD":
            return response
        await response.prepare(request)
        if await _write(request, response, response.pending) and response.complete:
            book.downloaded(task, completed=True)
        return response

    def _authorized(self, request: web.Request) -> Task | None:
        name = request.match_info["name"]
        task = self._vendor.book.tasks.get(name.partition(".")[0].partition("-")[0])
        expires, nonce, signature = (
            request.query.get(name, "") for name in ("x-expires", "x-nonce", "x-signature")
        )
        if task is None or name not in task.names or nonce in self._dead:
            return None
        if task.verdict != SUCCESS or not task.done(self._vendor.clock.now()):
            return None
        return task if self._vendor.url_valid(name, expires, nonce, signature) else None

    async def _refused(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.kind == "expired":
            self._dead.add(request.query["x-nonce"])
            return _denied()
        if fault.kind == "html":
            return await self._deliverer.send(request, html(fault.http_status or 502))
        if fault.kind == "redirect":
            location = fault.location or request.raw_path
            return web.Response(status=fault.http_status or 302, headers={"Location": location})
        if fault.kind in ("status", "empty"):
            usual = 503 if fault.kind == "status" else 200
            return web.Response(status=fault.http_status or usual, body=b"")
        delivery = Delivery.RESET if fault.kind == "reset" else Delivery.HANG
        seconds = 3600.0 if fault.seconds is None else fault.seconds
        return await self._deliverer.send(request, Reply(0, delivery=delivery, seconds=seconds))

    async def _spoiled(self, request: web.Request, fault: Fault, data: bytes) -> web.StreamResponse:
        if fault.kind == "drip":
            reply = Reply(
                200,
                data,
                content_type=_type(request),
                headers=_digests(data),
                delivery=Delivery.DRIP,
                seconds=10.0 if fault.seconds is None else fault.seconds,
            )
            return await self._deliverer.send(request, reply)
        if fault.kind == "corrupt":
            headers = _digests(data) if fault.digest else {}
            return web.Response(body=_flipped(data), content_type=_type(request), headers=headers)
        # "short" and "cut": half of what Content-Length promises, then the connection is gone.
        if fault.kind == "cut":
            self._dead.add(request.query["x-nonce"])
        response = web.StreamResponse(headers=_digests(data))
        response.content_type = _type(request)
        response.content_length = len(data)
        await response.prepare(request)
        await _write(request, response, data[: len(data) // 2], end=False)
        if fault.kind == "cut":
            reset(request)
        elif request.transport is not None:
            request.transport.close()
        return response


def _type(request: web.Request) -> str:
    return "video/mp4" if request.match_info["name"].endswith(".mp4") else "image/jpeg"


class _Part(web.StreamResponse):
    """A 200, 206, 304 or 416 with the bytes that are to follow its headers."""

    pending: bytes = b""
    complete: bool = False


def _whole(request: web.Request, data: bytes) -> _Part:
    headers = _digests(data)
    headers["Accept-Ranges"] = "bytes"
    wanted = request.headers.get("Range")
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return _Part(status=304, headers=headers)
    bounds = None if wanted is None else _bounds(wanted, len(data))
    if bounds is None:
        response = _Part(headers=headers)
        response.pending, response.complete = data, True
    elif bounds[0] >= len(data):
        response = _Part(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    else:
        first, last = bounds
        # A digest of the whole would be wrong for a part.
        del headers["Content-MD5"]
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        response = _Part(status=206, headers=headers)
        response.pending, response.complete = data[first : last + 1], last == len(data) - 1
    response.content_type = _type(request)
    response.content_length = len(response.pending)
    return response


def _bounds(header: str, size: int) -> tuple[int, int] | None:
    match = _RANGE.match(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = int(match[2])
        return (max(0, size - length), size - 1) if length else (size, size)
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    return (first, last) if first <= last or first >= size else None


async def _write(
    request: web.Request, response: web.StreamResponse, data: bytes, *, end: bool = True
) -> bool:
    try:
        for start in range(0, len(data), _CHUNK):
            await response.write(data[start : start + _CHUNK])
        if end:
            await response.write_eof()
    except ConnectionError:
        reset(request)
        return False
    return True


def _digests(data: bytes) -> dict[str, str]:
    digest = hashlib.md5(data, usedforsecurity=False)
    return {"ETag": f'"{digest.hexdigest()}"', "Content-MD5": base64.b64encode(digest.digest()).decode()}


def _flipped(data: bytes) -> bytes:
    spoiled = bytearray(data)
    for offset in range(len(spoiled) // 2, len(spoiled), 97):
        spoiled[offset] ^= 0xFF
    return bytes(spoiled)


def _denied() -> web.Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    )
    return web.Response(status=403, text=body, content_type="application/xml")
