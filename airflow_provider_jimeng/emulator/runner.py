# Licensed under the Apache License, Version 2.0. See LICENSE.
"""An emulator in a background thread, for tests and notebooks."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from airflow_provider_jimeng.emulator.config import EmulatorConfig
from airflow_provider_jimeng.emulator.faults import Fault
from airflow_provider_jimeng.emulator.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import TracebackType

T = TypeVar("T")


class Emulator:
    """
    A local vendor on a free port.

    In a test::

        with Emulator(EmulatorConfig(concurrency=2, duration=0.5)) as emu:
            emu.add_fault("submit:50500,created=true")
            ...  # point a client at emu.url
            assert emu.ledger()["totals"]["accepted"] == 1

    All state lives on the emulator's own event loop; every method here asks that loop, so none of them can
    see half a change.

    :param config: settings.
    :param faults: switched on from the start.
    """

    def __init__(self, config: EmulatorConfig | None = None, faults: Sequence[Fault] = ()) -> None:
        self.config = config or EmulatorConfig()
        self._faults = tuple(faults)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> Emulator:
        """
        Bind and serve.

        :raises OSError: where the port is taken.
        """
        if self._thread is not None:
            raise RuntimeError("the emulator is running already")
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="jimeng-emulator", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise
        return self

    def stop(self) -> None:
        """Stop serving; waits until everything is closed. A second call does nothing."""
        thread, loop, server = self._thread, self._loop, self._server
        if thread is None or loop is None or server is None:
            return
        if thread.is_alive():
            loop.call_soon_threadsafe(server.stopped.set)
        thread.join()
        self._thread = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, started: Future[None]) -> None:
        try:
            server = Server(self.config, self._faults)
            try:
                await server.start()
            except BaseException:
                await server.stop()
                raise
        except BaseException as error:
            started.set_exception(error)
            return
        self._loop, self._server = asyncio.get_running_loop(), server
        started.set_result(None)
        await server.stopped.wait()
        await server.stop()

    # -- addresses ---------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._running().port

    @property
    def host(self) -> str:
        """Host and port, as the official SDK's ``set_host`` wants it."""
        return f"{self.config.host}:{self.port}"

    @property
    def url(self) -> str:
        """Origin of the endpoint."""
        return f"http://{self.host}"

    def media_url(self, name: str) -> str:
        """URL of a sample input."""
        return f"{self.url}/media/{quote(name)}"

    # -- control -----------------------------------------------------------------------------------------

    def ledger(self) -> dict[str, Any]:
        """What was accepted, refused, asked and handed out."""
        server = self._running()
        return self._ask(server.control.ledger)

    @property
    def accepted(self) -> int:
        """How many submits were accepted: what would have been paid for."""
        return int(self.ledger()["totals"]["accepted"])

    def add_fault(self, on: str | Fault, kind: str | None = None, **fields: Any) -> int:
        """
        Switch a fault on; returns its id.

        Takes a :class:`Fault`, a text as on the command line (``"submit:50500,created=true"``), or its fields
        (``"submit", "code", code=50500, created=True``).
        """
        if isinstance(on, Fault):
            fault = on
        elif kind is None:
            fault = Fault.parse(on)
        else:
            fault = Fault.from_dict({"on": on, "kind": kind, **fields})
        server = self._running()
        return self._ask(lambda: server.faults.add(fault))

    def faults(self) -> list[dict[str, Any]]:
        """All faults with their hits."""
        server = self._running()
        return self._ask(server.faults.shown)

    def clear_faults(self, fault_id: int | None = None) -> int:
        """Switch one fault off, or all; returns how many."""
        server = self._running()
        return self._ask(lambda: server.faults.remove(fault_id))

    def configure(self, **changes: Any) -> None:
        """Change settings while it runs."""
        server = self._running()
        self._ask(lambda: server.control.configure(changes))

    def advance(self, seconds: float) -> None:
        """Move the vendor's clock forward: what expires in that time has expired."""
        server = self._running()
        self._ask(lambda: server.control.advance(seconds))

    def reset(self) -> None:
        """Forget all tasks, counters and faults."""
        server = self._running()
        self._await(server.control.reset())

    def _running(self) -> Server:
        if self._server is None or self._thread is None:
            raise RuntimeError("the emulator is not running")
        return self._server

    def _ask(self, question: Callable[[], T]) -> T:
        async def answer() -> T:
            return question()

        return self._await(answer())

    def _await(self, answer: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None:
            raise RuntimeError("the emulator is not running")
        return asyncio.run_coroutine_threadsafe(answer, loop).result(timeout=30)
