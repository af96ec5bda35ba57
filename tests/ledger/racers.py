# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the processes of a race do; importable, so that a process of its own can run it."""

from __future__ import annotations

import multiprocessing
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.limits import lock_account, lock_scope
from airflow_provider_jimeng.ledger.records import Claimed, LostRace, MustWait, Scope
from airflow_provider_jimeng.ledger.store import Ledger

from tests.ledger.kit import Bench, unique

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

PATIENCE = 90.0


def context() -> ForkServerContext:
    """Return a way to start processes that share nothing with this one, and start at once."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.ledger.racers"])
    return made


def race(target: Callable[..., Any], count: int, url: str, *args: Any) -> list[Any]:
    """Run a target in as many processes, released together, and return what each returned."""
    ctx = context()
    barrier, answers = ctx.Barrier(count), ctx.Queue()
    racers = [
        ctx.Process(target=_run, args=(target, barrier, answers, url, index, *args), daemon=True)
        for index in range(count)
    ]
    for racer in racers:
        racer.start()
    results = [answers.get(timeout=PATIENCE) for _ in racers]
    for racer in racers:
        racer.join(PATIENCE)
    failures = [words for failed, words in results if failed]
    assert not failures, "\n".join(failures)
    return [result for _, result in results]


def _run(target: Callable[..., Any], barrier: Any, answers: Any, *args: Any) -> None:
    try:
        barrier.wait(PATIENCE)
        answers.put((False, target(*args)))
    except BaseException:
        answers.put((True, traceback.format_exc()))


def at(url: str, scope: Scope) -> Bench:
    bench = Bench(url)
    bench.scope = scope
    return bench


def open_ledger(url: str, index: int) -> str:
    return Ledger.open(url).uuid


def claim_key(url: str, index: int, scope: Scope, key: str) -> tuple[str, int]:
    bench = at(url, scope)
    answer = bench.ledger.claim(bench.request(key))
    return type(answer).__name__, answer.ticket_id if isinstance(answer, MustWait) else answer.record.id  # type: ignore[union-attr]


def claim_any(url: str, index: int, scope: Scope) -> str:
    bench = at(url, scope)
    return type(bench.ledger.claim(bench.request())).__name__


def work_off(url: str, index: int, scope: Scope, limit: int, items: int, busy: Any, most: Any) -> int:
    """Take items through their slots one by one, and count from outside how many hold one at once."""
    bench, pause, waits = at(url, scope), threading.Event(), 0
    end = time.monotonic() + PATIENCE
    for _ in range(items):
        request = bench.request(waiter=f"racer-{index}", configured_limit=limit)
        while not isinstance(answer := bench.ledger.claim(request), Claimed):
            assert isinstance(answer, MustWait)
            assert time.monotonic() < end
            waits += 1
            pause.wait(0.02)
        with busy.get_lock():
            busy.value += 1
            most.value = max(most.value, busy.value)
        row = bench.ledger.record_created(bench.ledger.begin_send(answer.record), unique("id-"))
        with busy.get_lock():
            busy.value -= 1
        bench.ledger.record_succeeded(row)
    return waits


def owner(url: str, scope: Scope, key: str, deadline: float, sends_first: bool, line: Connection) -> None:
    """Claim, say so, stand still until told to go on, then try to send, and bring an id late."""
    bench = at(url, scope)
    answer = bench.ledger.claim(bench.request(key, send_deadline=deadline))
    assert isinstance(answer, Claimed)
    record = answer.record
    if sends_first:
        record = bench.ledger.begin_send(record)
    line.send(record.id)
    line.recv()
    try:
        bench.ledger.begin_send(record)
        line.send("allowed")
    except LostRace as error:
        line.send(str(error))
    if sends_first:
        kept = bench.ledger.record_created(record, f"late-{key}")
        line.send((kept.state, kept.extra, kept.possibly_billed))


def lock_holder(url: str, scope: Scope, idle: float, line: Connection) -> None:
    """Stand still in the middle of a transaction that holds the locks of a claim; say how it ended."""
    engine.IDLE_SECONDS = idle  # type: ignore[assignment]
    engine.TRIES = 1
    bench = at(url, scope)

    def work(conn: Any) -> None:
        lock_account(conn, scope.account)
        lock_scope(conn, scope)
        line.send("locked")
        line.recv()

    try:
        engine.database_for(bench.url).write(work)
        line.send("committed")
    except JimengLedgerError as error:
        line.send(str(error))
