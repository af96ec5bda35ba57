# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
One event loop that waits for many tasks in one of several ways, as a process of its own; see ``waits``.

The triggers are run as Airflow's triggerer runs them: a task of the loop for each, which iterates over its
``run()``.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import requests

from airflow.triggers.base import BaseTrigger, TriggerEvent
from airflow_provider_jimeng.api.build import build_request, encode_body, query_body
from airflow_provider_jimeng.api.models import API_VERSION, MOTION_IMITATION, RESULT_ACTION, SignedRequest
from airflow_provider_jimeng.api.parsing import parse_answer, status_of
from airflow_provider_jimeng.client.aio import AsyncClient
from airflow_provider_jimeng.client.wire import wire_headers
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger, settings_of

from tests.benchmarks.slots import quantile

if TYPE_CHECKING:
    from airflow_provider_jimeng.client.settings import AccountSettings

TICK = 0.01


class Count:
    """How many polls were answered."""

    polls = 0


def _signed(task_id: str, settings: AccountSettings) -> SignedRequest:
    return build_request(
        endpoint=settings.endpoint,
        credentials=settings.credentials,
        action=RESULT_ACTION,
        version=API_VERSION,
        body=encode_body(query_body(MOTION_IMITATION, task_id)),
        date=dt.datetime.now(dt.UTC),
    )


class _Rival(BaseTrigger):
    """A trigger as people write them: ask, sleep, ask again; our signature, our reading of answers."""

    def __init__(self, task_id: str, interval: float, settings: AccountSettings) -> None:
        super().__init__()
        self.poll_of: str = task_id
        self.interval, self.settings = interval, settings

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return type(self).__qualname__, {"task_id": self.poll_of}

    async def ask(self, request: SignedRequest) -> str | None:
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(random.random() * self.interval)
        while True:
            status = await self.ask(_signed(self.poll_of, self.settings))
            Count.polls += 1
            if status == "done":
                yield TriggerEvent({"task_id": self.poll_of})
                return
            await asyncio.sleep(self.interval)


class SessionPerPoll(_Rival):
    """A new ``aiohttp.ClientSession`` for every question."""

    async def ask(self, request: SignedRequest) -> str | None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(request.url, headers=wire_headers(request), data=request.body) as response,
        ):
            return status_of(parse_answer(response.status, response.headers, await response.read()))


class ThreadPerPoll(_Rival):
    """``requests`` in ``asyncio.to_thread`` for every question."""

    async def ask(self, request: SignedRequest) -> str | None:
        answer = await asyncio.to_thread(
            requests.post, request.url, headers=wire_headers(request), data=request.body, timeout=30
        )
        return status_of(parse_answer(answer.status_code, answer.headers, answer.content))


class Bare(BaseTrigger):
    """The least that a question can cost: one session, bytes made once, an answer that nobody looks at."""

    session: aiohttp.ClientSession | None = None
    request: SignedRequest

    def __init__(self, interval: float, settings: AccountSettings) -> None:
        super().__init__()
        self.interval, self.settings = interval, settings

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return type(self).__qualname__, {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(random.random() * self.interval)
        if Bare.session is None:
            Bare.session = aiohttp.ClientSession()
            Bare.request = _signed("1", self.settings)
        while True:
            asked = Bare.session.post(
                Bare.request.url, headers=wire_headers(Bare.request), data=Bare.request.body
            )
            async with asked as response:
                await response.read()
            Count.polls += 1
            await asyncio.sleep(self.interval)
        yield TriggerEvent({})


async def _counted(client: AsyncClient, req_key: str, task_id: str) -> Any:
    answer = await _query(client, req_key, task_id)
    Count.polls += 1
    return answer


_query = AsyncClient.query


def trigger_maker(who: str, interval: float, settings: AccountSettings) -> Callable[[str], BaseTrigger]:
    """Return what makes a trigger for a task's id."""
    if who == "session":
        return lambda task_id: SessionPerPoll(task_id, interval, settings)
    if who == "thread":
        return lambda task_id: ThreadPerPoll(task_id, interval, settings)
    if who == "bare":
        return lambda task_id: Bare(interval, settings)
    setattr(AsyncClient, "query", _counted)

    def ours(task_id: str) -> BaseTrigger:
        reference = {
            "task_id": task_id,
            "req_key": MOTION_IMITATION,
            "submitted_at": dt.datetime.now(dt.UTC).isoformat(),
        }
        return JimengTaskTrigger([reference], poll_interval=interval)

    return ours


async def _iterate(trigger: BaseTrigger) -> None:
    async for _ in trigger.run():
        raise RuntimeError("a task of the benchmark ended")


async def _ticks(walls: list[float], busy: list[float]) -> None:
    """Note how late this loop is, by the wall clock, and how long it worked between two ticks."""
    while True:
        wall, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(TICK)
        walls.append(max(0.0, time.perf_counter() - wall - TICK))
        busy.append(time.thread_time() - cpu)


async def measure(who: str, tasks: list[str], interval: float, seconds: float) -> dict[str, Any]:
    """Return the figures of one way to wait."""
    settings = await settings_of("volcengine_default")
    assert settings is not None
    process = psutil.Process()
    gc.collect()
    before, cpu_before = process.memory_info().rss, time.process_time()
    make = trigger_maker(who, interval, settings)
    waits = [asyncio.create_task(_iterate(make(each))) for each in ([] if who == "nobody" else tasks)]
    async with asyncio.timeout(120):
        while Count.polls < len(waits):  # noqa: ASYNC110 - each of them may be the last to have asked
            await asyncio.sleep(0.2)
    started = time.process_time() - cpu_before
    polls, cpu, began = Count.polls, time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    polls, cpu = Count.polls - polls, time.process_time() - cpu
    took = time.monotonic() - began
    memory = process.memory_info().rss - before
    # Only now: looking at the loop costs it something too.
    walls: list[float] = []
    busy: list[float] = []
    ticks = asyncio.create_task(_ticks(walls, busy))
    await asyncio.sleep(seconds)
    for each in (ticks, *waits):
        each.cancel()
    ended = await asyncio.gather(ticks, *waits, return_exceptions=True)
    if Bare.session is not None:
        await Bare.session.close()
    failed = [repr(each) for each in ended if not isinstance(each, asyncio.CancelledError)]
    return {
        "waits": len(waits),
        "polls": polls,
        "polls_per_s": polls / took,
        "cpu_s": cpu,
        "cpu_ms_per_poll": 1000 * cpu / polls if polls else None,
        "start_cpu_ms_per_wait": 1000 * started / len(waits) if waits else None,
        "kb_per_wait": memory / 1024 / len(waits) if waits else None,
        "gap_ms_p50": 1000 * quantile(walls, 0.5),
        "gap_ms_p99": 1000 * quantile(walls, 0.99),
        "busy_ms_p99": 1000 * quantile(busy, 0.99),
        "busy_ms_max": 1000 * max(busy),
        "failed": failed[:3],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("who", choices=("ours", "session", "thread", "bare", "nobody"))
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    chosen = parser.parse_args()
    tasks = json.load(sys.stdin)
    print(json.dumps(asyncio.run(measure(chosen.who, tasks, chosen.interval, chosen.seconds))))


if __name__ == "__main__":
    main()
