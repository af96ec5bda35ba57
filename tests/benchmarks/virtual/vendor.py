# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A vendor in virtual time: slots, tasks that take a while, and a count of all it was asked."""

from __future__ import annotations

import asyncio
import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import Answer, Envelope
from airflow_provider_jimeng.client.limiter import RateLimiter

if TYPE_CHECKING:
    from tests.benchmarks.virtual.world import World

_RUNNING = Answer(200, Envelope.BUSINESS, 10000, message="Success", data={"status": "generating"})
_DONE = Answer(
    200,
    Envelope.BUSINESS,
    10000,
    message="Success",
    data={"status": "done", "video_url": "https://vendor.example/result.mp4"},
)
_FULL = Answer(429, Envelope.BUSINESS, 50430, message="Request Has Reached API Concurrent Limit")


@dataclass(slots=True)
class SimVendor:
    """
    One account at the vendor.

    :param slots: most tasks at once.
    :param seconds: of a task, give or take ``jitter`` of it.
    """

    world: World
    slots: int
    seconds: float
    jitter: float
    dice: random.Random
    accepted: int = 0
    refused: int = 0
    queries: int = 0
    noticed: float = 0.0
    busy: float = 0.0
    first: float | None = None
    last: float = 0.0
    most: int = 0
    _ends: dict[str, float] = field(default_factory=dict)
    _running: list[float] = field(default_factory=list)
    _long: list[float] = field(default_factory=list)

    def submit(self) -> Answer:
        """Accept a task, or refuse it where every slot is busy."""
        now = self.world.passed
        while self._running and self._running[0] <= now:
            heapq.heappop(self._running)
        if len(self._running) >= self.slots:
            self.refused += 1
            return _FULL
        took = self.seconds * (1.0 + self.jitter * self.dice.uniform(-1.0, 1.0))
        self.accepted += 1
        task_id = str(7_000_000_000_000_000_000 + self.accepted)
        self._ends[task_id] = now + took
        heapq.heappush(self._running, now + took)
        self.most = max(self.most, len(self._running))
        self.first = now if self.first is None else self.first
        self.last, self.busy = now, self.busy + took
        return Answer(200, Envelope.BUSINESS, 10000, message="Success", data={"task_id": task_id})

    def ask(self, task_id: str) -> Answer:
        """Answer a query."""
        self.queries += 1
        end = self._ends[task_id]
        if self.world.passed < end:
            return _RUNNING
        self.noticed += self.world.passed - end
        del self._ends[task_id]
        return _DONE

    @property
    def utilisation(self) -> float:
        """Busy slot-seconds over slots times the span from the first to the last accepted submit."""
        now, first = self.last, self.first or 0.0
        after = sum(max(0.0, end - now) for end in self._running)
        return (self.busy - after) / (self.slots * (now - first)) if now > first else 1.0


class SimClient:
    """The two clients of the product in one: a turn of the account's limiter, then the vendor's answer."""

    def __init__(self, vendor: SimVendor, query_qps: float, latency: float) -> None:
        self.vendor, self._latency = vendor, latency
        self._turns = RateLimiter(query_qps, clock=vendor.world.monotonic)

    async def query(self, req_key: str, task_id: str) -> Answer:
        await asyncio.sleep(self._turns.reserve() + self._latency)
        return self.vendor.ask(task_id)


class SyncSimClient:
    """What a submitter works with."""

    def __init__(self, vendor: SimVendor) -> None:
        self._vendor = vendor

    def submit(self, body: bytes, *, on_late: Any, started: Any = None, withdrawn: Any = None) -> Answer:
        return self._vendor.submit()

    def query(self, req_key: str, task_id: str) -> Answer:
        return self._vendor.ask(task_id)
