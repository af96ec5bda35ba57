# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
One thread that asks about every open task of a run, each at its own time.

It only watches, like a trigger: what it saw is told to the run, which writes it down.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_jimeng.policy.poll import PollDecision, PollSettings, PollState, decide_poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.bulk.pace import Pace
    from airflow_provider_jimeng.client.aio import AsyncClient
    from airflow_provider_jimeng.lifecycle.harvest import Watched

log = logging.getLogger(__name__)

#: A task is paid for, so nobody gives up asking; a client that can't be made is tried again after this long.
_TROUBLE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """
    The end of a task.

    :param at: epoch seconds of this machine.
    :param took: seconds from the acceptance to about the end; ``None`` where the end was not seen closely.
    :param age: seconds from the acceptance to the first question, where that was told of the end.
    """

    task_id: str
    state: PollState
    decision: PollDecision = field(repr=False)
    at: float
    took: float | None
    age: float | None = None


class Poller:
    """
    Asks until it sees the end of each task it was given.

    :param client: makes the client, and makes it anew where the credentials were refused.
    :param tell: gets each end, in the poller's thread: it must return at once.
    """

    def __init__(self, client: Callable[[], AsyncClient], tell: Callable[[Seen], None]) -> None:
        self._make, self._tell = client, tell
        self._client: AsyncClient | None = None
        self._settings = PollSettings()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread: threading.Thread | None = None

    @property
    def open(self) -> int:
        """How many tasks are being watched."""
        return len(self._watches)

    def watch(self, watched: Watched, pace: Pace, age: float, *, asked: bool = False) -> None:
        """
        Begin to ask about a task.

        :param age: seconds since it was accepted.
        :param asked: whether somebody asked about it a moment ago.
        """
        if self._thread is None:
            self._thread = threading.Thread(
                target=lambda: asyncio.run(self._main()), name="jimeng-bulk-poller", daemon=True
            )
            self._thread.start()
        loop, _ = self._ready.result()
        loop.call_soon_threadsafe(self._begin, watched, pace, time.monotonic() - age, asked)

    def close(self) -> None:
        """Stop asking; the tasks go on at the vendor and stay in the ledger."""
        if self._thread is not None:
            loop, stop = self._ready.result()
            loop.call_soon_threadsafe(stop.set)
            self._thread.join()
            self._thread = None

    async def _main(self) -> None:
        stop = asyncio.Event()
        self._ready.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        for watch in list(self._watches.values()):
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)

    def _begin(self, watched: Watched, pace: Pace, accepted: float, asked: bool) -> None:
        self._watches[watched.task_id] = asyncio.get_running_loop().create_task(
            self._watch(watched, pace, accepted, asked)
        )

    async def _watch(self, watched: Watched, pace: Pace, accepted: float, asked: bool) -> None:
        state, at_least, before = PollState(), 0.0, time.monotonic() if asked else accepted
        told: str | None = None
        while True:
            await asyncio.sleep(max(at_least, self._delay(pace, accepted, asked)))
            try:
                state, decision = await self._ask(watched, state)
            except Exception as error:
                log.error("Task %s can't be asked about (%s); trying again.", watched.task_id, error)
                at_least, self._client = _TROUBLE_SECONDS, None
                continue
            now = time.monotonic()
            if decision.final:
                break
            if decision.note is not None and decision.note != told:
                told = decision.note
                log.warning("Task %s is still waited for: %s", watched.task_id, told)
            if decision.refresh:
                self._client = None
            asked, before, at_least = True, now, decision.retry_after or 0.0
        took, age = ((now + before) / 2 - accepted, None) if asked else (None, now - accepted)
        del self._watches[watched.task_id]
        self._tell(Seen(watched.task_id, state, decision, time.time(), took, age))

    def _delay(self, pace: Pace, accepted: float, asked: bool) -> float:
        return pace.delay(
            time.monotonic() - accepted,
            open_tasks=self.open,
            jitter=random.random(),  # noqa: S311 - jitter may be guessed
            asked=asked,
        )

    async def _ask(self, watched: Watched, state: PollState) -> tuple[PollState, PollDecision]:
        if self._client is None:
            # Reading a connection may ask a secrets backend, which blocks.
            self._client = await asyncio.to_thread(self._make)
        observation = await self._client.query(watched.req_key, watched.task_id)
        return decide_poll(
            state,
            observation,
            now=time.time(),
            submitted_at=watched.submitted_at,
            deadline=None,
            settings=self._settings,
        )
