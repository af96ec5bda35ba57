# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Asking Airflow from threads and from event loops, as each of its releases bears it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_jimeng.hooks import compat


@pytest.mark.parametrize("own_thread", [False, True])
def test_what_a_thread_asks_airflow_for_is_asked_on_the_loop_that_began_it(own_thread: bool):
    # So does the channel of Airflow 3.1's triggerer: read from another loop, it gives the wrong answers.
    with ThreadPoolExecutor(1) as thread:

        async def main() -> list[bool]:
            loop = asyncio.get_running_loop()

            async def asend() -> bool:
                await asyncio.sleep(0)
                return asyncio.get_running_loop() is loop

            def send() -> bool:
                assert threading.current_thread() is not threading.main_thread()
                return async_to_sync(asend)()

            executor = thread if own_thread else None
            return await asyncio.gather(*(compat.off_the_loop(send, executor=executor) for _ in range(8)))

        assert asyncio.run(main()) == [True] * 8


class Channel:
    """Counts how many threads are in it at once."""

    def __init__(self) -> None:
        self.within = self.most = 0

    @contextmanager
    def use(self) -> Iterator[None]:
        self.within += 1
        self.most = max(self.most, self.within)
        time.sleep(0.01)
        self.within -= 1
        yield


def test_two_threads_do_not_share_a_channel_that_bears_one(monkeypatch: pytest.MonkeyPatch):
    channel = Channel()

    def read(conn_id: str) -> str:
        with channel.use():
            return conn_id

    def mask(secret: str, name: str | None = None) -> None:
        with channel.use():
            pass

    monkeypatch.setattr(compat, "_CHANNEL", threading.RLock())
    monkeypatch.setattr(compat, "_mask_secret", mask)
    with ThreadPoolExecutor(8) as threads:
        masked = [threads.submit(compat.mask_secret, f"secret-{number}") for number in range(8)]
        found = [threads.submit(compat.read_connection, read, str(number)) for number in range(8)]
        assert [each.result() for each in found] == [str(number) for number in range(8)]
        assert [each.result() for each in masked] == [None] * 8
    assert channel.most == 1
