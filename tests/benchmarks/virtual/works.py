# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Puts the product's runner into virtual time: for threads and clocks it gets those of the world."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from sqlalchemy import event

from airflow_provider_jimeng.api.models import MOTION_IMITATION, Credentials, Endpoint
from airflow_provider_jimeng.bulk import landing_pool, poller, runner, submits
from airflow_provider_jimeng.bulk.items import Fate, Item
from airflow_provider_jimeng.bulk.landing_pool import LandingResult
from airflow_provider_jimeng.bulk.scout import Scout
from airflow_provider_jimeng.bulk.tools import Terms, Tools
from airflow_provider_jimeng.client.limiter import RateLimiter
from airflow_provider_jimeng.client.settings import AccountSettings
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle import submit
from airflow_provider_jimeng.lifecycle.land import Landed
from airflow_provider_jimeng.lifecycle.revive import Revived
from airflow_provider_jimeng.lifecycle.submit import Submitter
from airflow_provider_jimeng.lifecycle.wanted import Request, Wanted, want

from tests.benchmarks.virtual.memory import MemoryLedger
from tests.benchmarks.virtual.vendor import SimClient, SimVendor, SyncSimClient
from tests.benchmarks.virtual.world import Events, Pool, World

if TYPE_CHECKING:
    from airflow_provider_jimeng.lifecycle.ensured import Ensured

PROVENANCE = Provenance("dag", "run", "batch")


@dataclass(frozen=True, slots=True)
class Case:
    """
    One account and its run.

    :param told: slots that the connection names; ``None``: learned.
    :param ledger: ``None``: in memory; else a folder for a SQLite file.
    :param seconds: of a task at the vendor, give or take ``jitter``.
    :param latency: seconds of one answer of the vendor's.
    :param landing: seconds that a download and what follows takes.
    """

    items: int
    slots: int
    told: int | None
    submit_qps: float
    query_qps: float
    seconds: float = 180.0
    jitter: float = 0.1
    latency: float = 0.2
    landing: float = 2.0
    landers: int | None = None
    max_in_flight: int | None = None
    ledger: str | None = None
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a case."""

    vendor: SimVendor
    landed: int
    span: float
    real_seconds: float


def _at_once(work: Callable[..., Any], *given: Any) -> Future[Any]:
    done: Future[Any] = Future()
    done.set_result(work(*given))
    return done


class _Reader(Scout):
    """Reads ahead when it is asked to, in the run's own thread."""

    def __init__(self, tools: Tools, terms: Terms, lines: Iterator[Any], *, stopped: Any, wake: Any) -> None:
        self._tools, self._terms, self._lines, self._stopped = tools, terms, lines, stopped
        self._over = False
        self._seats, self._closed = threading.Semaphore(), threading.Event()
        self._pool: Any = SimpleNamespace(submit=_at_once)
        self._some: Iterator[Any] = iter(())

    def take(self) -> Any:
        found = next(self._some, None)
        if found is None:
            some = list(itertools.islice(self._lines, 100))
            if not some:
                self._over = True
                return None
            self._some = (looking.result() for _, looking in self._look_up(some))
            found = next(self._some)
        return found

    def close(self) -> None:
        """There is no thread."""


class _Poller(poller.Poller):
    """Asks on the world's loop."""

    def watch(self, watched: Any, pace: Any, age: float, *, asked: bool = False) -> None:
        self._client = self._client or self._make()
        self._begin(watched, pace, asyncio.get_running_loop().time() - age, asked)

    def close(self) -> None:
        """Nothing is left to be asked."""


def run(case: Case) -> Told:
    """Run a case to its end."""
    world, dice = World(), random.Random(case.seed)
    vendor = SimVendor(world, case.slots, case.seconds, case.jitter, dice)
    settings = AccountSettings(
        "sim",
        "sim",
        Credentials("AKSIM", "secret"),
        Endpoint("https://vendor.example"),
        submit_qps=case.submit_qps,
        query_qps=case.query_qps,
        max_concurrency=case.told,
    )
    ledger: Any
    ensure: Callable[..., Ensured]
    if case.ledger is None:
        ledger = memory = MemoryLedger(vendor, case.told)
        ensure, land = memory.ensure, memory.landed
    else:
        ledger = Ledger(f"sqlite:///{case.ledger}/ledger.db")
        ensure, land = _ensured_by(ledger, settings, vendor), partial(_land, ledger)
    fates: dict[str, int] = {}
    began = time.perf_counter()
    with _in(world, case, settings, land, dice):
        terms = Terms(PROVENANCE, max_in_flight=case.max_in_flight)
        if case.landers is not None:
            terms = Terms(PROVENANCE, max_in_flight=case.max_in_flight, landers=case.landers)
        tools = _tools(case, ledger, settings, ensure, vendor, fates)
        made = runner.Run(tools, terms, _items(case.items), case.items)
        made._events = Events(world, lambda: not any(each.ticket for each in made._submits.windows))  # type: ignore[assignment]
        # They have taken the method of the queue that was there before.
        made._submits._post = made._landings._post = made._events.put
        assert made.run() is None
    real, span = time.perf_counter() - began, world.passed
    world.close()
    return Told(vendor, fates.get("landed", 0), span, real)


def _items(count: int) -> Iterator[Item]:
    for number in range(1, count + 1):
        image = f"https://media.example.com/{number}.png"
        yield Item(number, str(number), image, "https://media.example.com/a.mp4", 0, MOTION_IMITATION, {})


def _tools(
    case: Case, ledger: Any, settings: AccountSettings, ensure: Any, vendor: SimVendor, fates: dict[str, int]
) -> Tools:
    def report(fate: Fate, line: object) -> None:
        fates[str(fate.outcome)] = fates.get(str(fate.outcome), 0) + 1

    def identify(item: Item) -> Wanted:
        request = Request(item.image, item.video, item.req_key)
        return want(request, settings=settings, provenance=PROVENANCE, policies=TERMS_POLICIES)

    nowhere: Any = SimpleNamespace(stat=lambda: None)
    folder: Any = SimpleNamespace(output=lambda name: nowhere, target=nowhere)
    client: Any = SimClient(vendor, case.query_qps, case.latency)
    return Tools(
        ledger=ledger,
        settings=settings,
        want=identify,
        inspect=lambda each: (each, None),
        probe=lambda wanted: None,
        ensure=ensure,
        ask=Revived,
        query_client=lambda: client,
        fetch=lambda record, url: _nothing_to_fetch,
        lander=nowhere,
        folder=folder,
        report=report,
    )


TERMS_POLICIES = Terms(PROVENANCE).policies


def _nothing_to_fetch(path: object) -> Any:
    raise AssertionError("landings are simulated")


def _ensured_by(ledger: Ledger, settings: AccountSettings, vendor: SimVendor) -> Callable[..., Ensured]:
    client: Any = SyncSimClient(vendor)

    def ensure(wanted: Wanted, *, supersede: TaskRecord | None, budget: int | None, watched: Any) -> Ensured:
        submitter = Submitter(ledger, client, settings, budget=budget, watched=watched)
        return submitter.ensure(wanted, waiter=PROVENANCE.attempt_scope, supersede=supersede)

    return ensure


def _land(ledger: Ledger, record: TaskRecord) -> TaskRecord:
    ledger.record_landing(record, uri=f"/out/{record.content_key}.mp4", size=1, sha256="5" * 64)
    found = ledger.get(record.id)
    assert found is not None
    return found


@contextlib.contextmanager
def _in(
    world: World, case: Case, settings: AccountSettings, land: Any, dice: random.Random
) -> Iterator[None]:
    """Give the runner's modules the world's clock and pools, and SQLite the world's time."""
    clock = SimpleNamespace(time=world.time, monotonic=world.monotonic, sleep=world.sleep)
    turns = RateLimiter(settings.submit_qps, clock=world.monotonic)

    def landed(tools: Tools, content: Any, items: Any, url: str | None) -> LandingResult:
        record = land(content.record)
        there = [(item, Landed(f"/out/{item.id}.mp4", 1, "5" * 64, "video/mp4", True)) for item in items]
        return LandingResult(record, there)

    def of_submits(threads: int, **_: Any) -> Pool:
        return Pool(world, threads, lambda: case.latency, turns)

    def of_landings(threads: int, **_: Any) -> Pool:
        return Pool(world, threads, lambda: case.landing * dice.uniform(0.5, 1.5))

    def set_clock(connection: Any, _: Any) -> None:
        connection.create_function("virtual_now", 0, world.time)

    with contextlib.ExitStack() as patches:
        for module in (runner, submits, landing_pool, poller, submit):
            patches.enter_context(patch.object(module, "time", clock))
        patches.enter_context(patch.object(runner, "Scout", _Reader))
        patches.enter_context(patch.object(runner, "Poller", _Poller))
        patches.enter_context(patch.object(landing_pool, "land", landed))
        patches.enter_context(patch.object(submits, "ThreadPoolExecutor", of_submits))
        patches.enter_context(patch.object(landing_pool, "ThreadPoolExecutor", of_landings))
        if case.ledger is not None:
            patches.enter_context(patch.dict(engine._CLOCKS, {"sqlite": "virtual_now()"}))
            made = engine.database_for(f"sqlite:///{case.ledger}/ledger.db")._engine
            event.listen(made, "connect", set_clock)
        random.seed(case.seed)
        asyncio._set_running_loop(world.loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)
