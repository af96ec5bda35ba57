# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Virtual time: an event loop that jumps to the next thing that happens, and what a run takes for threads.

Everything happens in one thread and in one order, so a run is the same each time it is made with one seed.
"""

from __future__ import annotations

import asyncio
import queue
import selectors
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_jimeng.client.limiter import RateLimiter

#: Epoch seconds at which every virtual run begins.
BEGIN = 1_795_000_000.0


class _Jump(selectors.SelectSelector):
    """Waits for nothing: it moves the clock by as much as the loop was ready to wait."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self._world.passed += max(timeout, 0.0)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(_Jump(world))

    def time(self) -> float:
        return self._world.passed


class World:
    """
    A clock, and the loop that moves it. Stands for the module ``time`` where a run looks at a clock.

    :ivar passed: virtual seconds since the beginning.
    """

    def __init__(self) -> None:
        self.passed = 0.0
        self.loop = _Loop(self)

    def time(self) -> float:
        return BEGIN + self.passed

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds

    def step(self, until: float | None) -> bool:
        """Let the next thing happen, if it is not later than that; else let the time pass."""
        loop: Any = self.loop
        if not loop._ready and not loop._scheduled and until is None:
            return False
        if (
            not loop._ready
            and until is not None
            and (not loop._scheduled or loop._scheduled[0].when() > until)
        ):
            self.passed = until
            return False
        loop._run_once()
        return True

    def close(self) -> None:
        self.loop.close()


class Events:
    """
    The run's queue: to wait on it is to let time pass.

    :param patient: whether the run has nothing to look at by itself; then time may jump over its ticks.
    """

    def __init__(self, world: World, patient: Callable[[], bool]) -> None:
        self._world, self._patient = world, patient
        self._held: deque[Any] = deque()

    def put(self, event: Any) -> None:
        self._held.append(event)

    def empty(self) -> bool:
        return not self._held

    def get(self, timeout: float) -> Any:
        until = None if self._patient() else self._world.passed + timeout
        while not self._held:
            if not self._world.step(until):
                if until is None:
                    self._world.passed += timeout
                raise queue.Empty
        return self._held.popleft()


class Pool:
    """
    Stands for a pool of threads: each piece of work is done in no time, after the time that it takes.

    :param seconds: that a piece of work takes, drawn anew for each.
    :param limiter: whose turn each waits for.
    """

    def __init__(
        self, world: World, threads: int, seconds: Callable[[], float], limiter: RateLimiter | None = None
    ) -> None:
        self._world, self._threads, self._seconds, self._limiter = world, threads, seconds, limiter
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._busy = 0

    def submit(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._waiting.append((work, arguments))
        self._begin()

    def _begin(self) -> None:
        while self._waiting and self._busy < self._threads:
            self._busy += 1
            wait = 0.0 if self._limiter is None else self._limiter.reserve()
            self._world.loop.call_later(wait + self._seconds(), self._end, *self._waiting.popleft())

    def _end(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        work(*arguments)
        self._busy -= 1
        self._begin()

    def map(self, work: Callable[[Any], Any], over: Any) -> Any:
        return map(work, over)

    def shutdown(self, **_: Any) -> None:
        """Nothing is left to wait for."""
