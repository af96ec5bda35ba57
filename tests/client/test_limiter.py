# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One rate for an account in a process, whoever asks."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from airflow_provider_jimeng.api.models import Credentials, Endpoint
from airflow_provider_jimeng.client import limiter
from airflow_provider_jimeng.client.limiter import RateLimiter, query_limiter, submit_limiter

from tests.client.settings_for import settings_for


def test_threads_and_loops_draw_on_the_same_bucket():
    now = 100.0
    shared = RateLimiter(2.0, clock=lambda: now)
    assert shared.acquire()

    async def ask() -> float:
        return shared.reserve()

    assert asyncio.run(ask()) == pytest.approx(0.5)
    assert shared.reserve() == pytest.approx(1.0)


def test_turn_that_comes_too_late_is_given_back():
    shared = RateLimiter(1.0, clock=lambda: 100.0)
    assert shared.acquire(timeout=0)
    assert not shared.acquire(timeout=0.5)
    assert shared.reserve() == pytest.approx(1.0)


def test_interrupted_wait_gives_the_turn_back(monkeypatch: pytest.MonkeyPatch):
    shared = RateLimiter(1.0, clock=lambda: 100.0)
    shared.acquire()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("airflow_provider_jimeng.client.limiter.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        shared.acquire()
    assert shared.reserve() == pytest.approx(1.0)


def test_waiting_turns_really_wait():
    shared = RateLimiter(50.0)

    async def both() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(
            *(shared.acquire_async() for _ in range(5)),
            *(asyncio.to_thread(shared.acquire) for _ in range(5)),
        )
        return loop.time() - began

    assert asyncio.run(both()) >= 9 / 50 - 0.01


def test_clients_of_one_account_share_a_limiter_and_others_have_their_own():
    one = settings_for("http://127.0.0.1:1", query_qps=3.0)
    same = settings_for(
        "http://127.0.0.1:1", query_qps=3.0, conn_id="another", credentials=Credentials("B", "C")
    )
    assert query_limiter(one) is query_limiter(same)
    assert query_limiter(one) is not submit_limiter(one)
    assert query_limiter(one) is not query_limiter(settings_for("http://127.0.0.1:1", query_qps=4.0))
    assert query_limiter(one) is not query_limiter(
        settings_for("http://127.0.0.1:1", query_qps=3.0, account="b")
    )
    assert query_limiter(one) is not query_limiter(
        settings_for("", query_qps=3.0, endpoint=Endpoint("http://127.0.0.1:2"))
    )


def test_many_threads_get_one_limiter():
    found = []
    settings = settings_for("http://127.0.0.1:9", query_qps=7.5)
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(query_limiter(settings))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({id(each) for each in found}) == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_that_was_forked_under_the_lock_does_not_wait_for_ever():
    with limiter._registry._lock:
        pid = os.fork()
        if pid == 0:
            query_limiter(settings_for("http://127.0.0.1:10"))
            os._exit(7)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7
