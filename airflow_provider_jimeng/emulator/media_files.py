# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Sample inputs under ``/media/``, with validators and ranges as an object store has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_jimeng.emulator.inputs import USER_AGENT

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator.book import Book


class MediaFiles:
    """
    Serves one folder, and counts who asked for what.

    :param folder: read at each request, so that a file can be replaced while it is in use.
    """

    def __init__(self, book: Book, folder: Path | str) -> None:
        self._book = book
        self._folder = Path(folder).resolve()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; queries are ignored, as a presigned URL's are by the store's file."""
        name = request.match_info["name"]
        if "\0" in name:
            raise web.HTTPNotFound
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            raise web.HTTPNotFound(text=f"There is no {name!r} here.")
        vendor = request.headers.get("User-Agent") == USER_AGENT
        self._book.media_served(name, vendor=vendor)
        return web.FileResponse(path)
