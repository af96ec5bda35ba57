# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
One reader of the ledger per process and event loop, off the loop.

Two hundred deferred tasks that wait for two slots must not be two hundred pollers of the database: every
waiter of a scope gets the same view, read at most once per :data:`FRESH_SECONDS`, by one thread. Nor must
each look ask Airflow for the ledger's connection: it is kept for :data:`KEEP_SECONDS`, and asked for anew
after trouble.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.hooks.compat import off_the_loop
from airflow_provider_jimeng.hooks.ledger import find_ledger
from airflow_provider_jimeng.ledger.admin import NoLedger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.ledger.records import Scope, SlotView, TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger

FRESH_SECONDS = 0.8
#: A secrets backend counts, and may bill, what it is asked; a password is rotated less often.
KEEP_SECONDS = 60.0

T = TypeVar("T")


class LedgerReader:
    """
    Reads the ledger for the triggers of one event loop; never writes, and makes no ledger.

    :param clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jimeng-ledger-reader")
        self._views: dict[tuple[Scope, int | None], tuple[float, asyncio.Future[SlotView]]] = {}
        self._found: tuple[float, Ledger] | None = None

    async def _call(self, question: Callable[[Ledger], T]) -> T:
        return await off_the_loop(lambda: self._ask(question), executor=self._thread)

    def _ask(self, question: Callable[[Ledger], T]) -> T:
        # In the reader's one thread, so nobody else looks at what is kept.
        if self._found is None or self._clock() - self._found[0] >= KEEP_SECONDS:
            self._found = None
            self._found = (self._clock(), find_ledger())
        try:
            return question(self._found[1])
        except JimengLedgerError:
            self._found = None
            raise

    async def slots(self, scope: Scope, configured_limit: int | None) -> SlotView:
        """
        Return who holds and who waits for the slots of a scope, at most :data:`FRESH_SECONDS` old.

        :raises JimengLedgerError: the ledger could not be read.
        """
        key = (scope, configured_limit)
        read_at, view = self._views.get(key, (0.0, None))
        if view is None or (view.done() and time.monotonic() - read_at > FRESH_SECONDS):
            view = asyncio.ensure_future(self._call(lambda ledger: ledger.slot_view(scope, configured_limit)))
            self._views[key] = (time.monotonic(), view)
        # Shielded: the one waiter that is cancelled must not take the view from the others.
        return await asyncio.shield(view)

    async def latest(self, content_key: str) -> TaskRecord | None:
        """Return the content's newest row."""
        return await self._call(lambda ledger: ledger.latest(content_key))

    async def must_know(self, account: str) -> None:
        """
        Tell a ledger in which a ticket is gone from one that never had it.

        :raises NoLedger: the account has never claimed in this ledger, as each that waits in it has.
        """
        if account not in await self._call(lambda ledger: ledger.accounts()):
            raise NoLedger(
                f"The ledger that this triggerer is configured for has never seen the account {account!r}: "
                "it is not the workers'. Correct [jimeng] ledger_conn_id, ledger_url, or AIRFLOW_HOME there"
            )


_READERS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LedgerReader] = weakref.WeakKeyDictionary()


def ledger_reader() -> LedgerReader:
    """Return the reader of the running event loop."""
    loop = asyncio.get_running_loop()
    reader = _READERS.get(loop)
    if reader is None:
        reader = _READERS[loop] = LedgerReader()
    return reader
