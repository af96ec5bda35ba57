# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A headless Chromium for tests, driven over its own debugging protocol: nothing to install beside it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ANNOUNCED = b"DevTools listening on "


def chromium_path() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """A tab: loads, evaluates, and remembers what went wrong on it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None
        self.loaded = asyncio.Event()
        #: Exceptions, console errors and what the content security policy stopped.
        self.errors: list[str] = []
        #: URLs of all requests.
        self.requests: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            else:
                self._notice(told["method"], told["params"])

    def _notice(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["source"] in ("security", "javascript"):
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        where = {"sessionId": self._session} if self._session else {}
        await self._socket.send_json({"id": number, "method": method, "params": params, **where})
        told = await asyncio.wait_for(answer, 60)
        assert "error" not in told, told
        return told["result"]

    async def begin(self, width: int, height: int) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.resize(width, height)

    async def resize(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def open(self, url: str) -> None:
        """Load a page, its pictures aside."""
        self.loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self.loaded.wait(), 60)

    async def evaluate(self, expression: str) -> Any:
        """Return an expression's value; a promise is awaited."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true, looking again and again."""
        look = f"const look = () => ({expression}) ? done(1) : setTimeout(look, 20); look();"
        await self.evaluate(f"new Promise(done => {{ {look} }})")

    async def screenshot(self) -> bytes:
        """Return the window as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])


@contextlib.asynccontextmanager
async def chromium_page(
    home: Path, width: int = 1440, height: int = 1000, seconds: float = 90.0
) -> AsyncIterator[Page]:
    """Start a browser with a profile of its own, yield a blank page, and end it, after some time by force."""
    path = chromium_path()
    assert path is not None
    process = await asyncio.create_subprocess_exec(
        path,
        "--headless=new",
        # In a container there is no namespace for the sandbox, and root is refused with it.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        f"--user-data-dir={home}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as client:
            socket = await client.ws_connect(await _address(process), max_msg_size=0)
            page = Page(socket)
            listener = asyncio.create_task(page.listen())
            try:
                await page.begin(width, height)
                yield page
            finally:
                await socket.close()
                await listener
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        # The rest of its complaints, so that the pipe is closed with the loop still there.
        await process.stderr.read()  # type: ignore[union-attr]


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = b""
    async for line in process.stderr:
        said += line
        if line.startswith(_ANNOUNCED):
            return line.removeprefix(_ANNOUNCED).decode().strip()
    raise AssertionError(f"Chromium did not start: {said.decode(errors='replace')[-2000:]}")
