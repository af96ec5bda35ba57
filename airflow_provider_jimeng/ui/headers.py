# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What every answer of the tab says to a browser, errors included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.ui.view import DATA_POLICY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from fastapi import FastAPI

__all__ = ["GuardedApp"]

_ALWAYS = {
    "content-security-policy": DATA_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class GuardedApp:
    """
    The application with the headers that it would be unsafe without.

    :param app: what answers; a header that it sets itself stays.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request."""

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {bytes(name).lower() for name, _ in headers}
                for name, value in _ALWAYS.items():
                    if name.encode() not in there:
                        headers.append((name.encode(), value.encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_guarded)
