# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
One reader of the ledger per process and event loop, off the loop.

Two hundred deferred tasks that wait for two slots must not be two hundred pollers of the database: every
waiter of a scope gets the same view, read at most once per :data:`FRESH_SECONDS`, by one thread.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_jimeng.hooks.compat import off_the_loop
from airflow_provider_jimeng.hooks.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.ledger.records import Scope, SlotView, TaskRecord

FRESH_SECONDS = 0.8

T = TypeVar("T")


class LedgerReader:
    """Reads the ledger for the triggers of one event loop; never writes."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jimeng-ledger-reader")
        self._views: dict[tuple[Scope, int | None], tuple[float, asyncio.Future[SlotView]]] = {}

    async def _call(self, function: Callable[[], T]) -> T:
        return await off_the_loop(function, executor=self._thread)

    async def slots(self, scope: Scope, configured_limit: int | None) -> SlotView:
        """
        Return who holds and who waits for the slots of a scope, at most :data:`FRESH_SECONDS` old.

        :raises JimengLedgerError: the ledger could not be read.
        """
        key = (scope, configured_limit)
        read_at, view = self._views.get(key, (0.0, None))
        if view is None or (view.done() and time.monotonic() - read_at > FRESH_SECONDS):
            view = asyncio.ensure_future(self._call(lambda: open_ledger().slot_view(scope, configured_limit)))
            self._views[key] = (time.monotonic(), view)
        # Shielded: the one waiter that is cancelled must not take the view from the others.
        return await asyncio.shield(view)

    async def latest(self, content_key: str) -> TaskRecord | None:
        """Return the content's newest row."""
        return await self._call(lambda: open_ledger().latest(content_key))


_READERS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LedgerReader] = weakref.WeakKeyDictionary()


def ledger_reader() -> LedgerReader:
    """Return the reader of the running event loop."""
    loop = asyncio.get_running_loop()
    reader = _READERS.get(loop)
    if reader is None:
        reader = _READERS[loop] = LedgerReader()
    return reader
