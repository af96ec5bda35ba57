# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What the triggers of one event loop know of their connections: the newest that any of them has read.

A wait for a slot lasts for days, in which a person buys slots and a secrets backend rotates keys. Two hundred
waiters are one reader here, too: what a trigger reads at its start is known to all at once, and where none
has started for :data:`KEEP_SECONDS`, one of them reads for all.

The ledger has the number of slots that the last claim named, which would tell a little sooner. It is not
asked: two connections of one account may differ in it, and then each claim with the greater number would call
waiters whose own claims are refused, and each with the lesser one would leave the others' slots idle. What is
a minute old does little harm: the claim decides, so a number that is too great costs a leg, and one that is
too small a minute of waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from typing import TYPE_CHECKING

from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.triggers.watch import KEEP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.client.settings import AccountSettings

__all__ = ["Connections", "connections"]

log = logging.getLogger(__name__)


class Connections:
    """
    Reads connections for the triggers of one event loop, in the background.

    :param clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._newest: dict[str, AccountSettings] = {}
        self._due: dict[str, float] = {}
        self._refused_at: dict[str, float] = {}
        self._reads: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()

    def note(self, conn_id: str, settings: AccountSettings) -> None:
        """Keep what somebody has just read."""
        self._newest[conn_id] = settings
        self._due[conn_id] = self._clock() + KEEP_SECONDS
        self._told.discard(conn_id)

    def after(self, settings: AccountSettings, conn_id: str) -> AccountSettings:
        """
        Return the connection as it was last read; ``settings`` where that is another account's.

        Never waits: where it is time to read anew, the result is there at a later look. One that can't be
        read, as it is just being repaired, stays what it was.
        """
        if self._clock() >= self._due.setdefault(conn_id, self._clock() + KEEP_SECONDS):
            self._read(conn_id)
        later = self._newest.get(conn_id, settings)
        return later if later is settings or settings.goes_on_as(later) else settings

    def refused(self, conn_id: str, pause: float) -> None:
        """
        Read anew soon, since nothing can be asked with the connection as it is.

        :param pause: seconds from one such reading to the next.
        """
        now = self._clock()
        at = max(now, self._refused_at.get(conn_id, now - pause) + pause)
        if at < self._due.get(conn_id, at + 1.0):
            self._due[conn_id] = self._refused_at[conn_id] = at

    def _read(self, conn_id: str) -> None:
        self._due[conn_id] = self._clock() + KEEP_SECONDS
        if conn_id not in self._reads:
            self._reads[conn_id] = asyncio.get_running_loop().create_task(self._reading(conn_id))

    async def _reading(self, conn_id: str) -> None:
        try:
            self.note(conn_id, await JimengHook(conn_id).aget_settings())
        except Exception as error:
            if conn_id not in self._told:
                self._told.add(conn_id)
                log.warning(
                    "The connection %r can't be read anew (%s); going on with what it was.", conn_id, error
                )
        finally:
            del self._reads[conn_id]


_BOOKS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Connections] = weakref.WeakKeyDictionary()


def connections() -> Connections:
    """Return what the triggers of the running event loop know."""
    return _BOOKS.setdefault(asyncio.get_running_loop(), Connections())
