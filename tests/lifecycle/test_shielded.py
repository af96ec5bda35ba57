# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Work that an interruption of the main thread does not tear apart."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_jimeng.lifecycle.shielded import shielded


class TimedOut(BaseException):
    """As Airflow's own, which is no Exception."""


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    def strike(*_: Any) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, strike)
    yield
    signal.signal(signal.SIGALRM, before)


def strike() -> None:
    """Interrupt the main thread, as an alarm does."""
    os.kill(os.getpid(), signal.SIGALRM)


def no_withdrawal() -> None:
    raise AssertionError("nothing was interrupted")


def test_what_the_work_returns_or_raises_is_passed_on() -> None:
    threads: list[str] = []

    def work() -> str:
        threads.append(threading.current_thread().name)
        return "done"

    assert shielded(work, stay=1.0, withdraw=no_withdrawal) == "done"
    with pytest.raises(ValueError, match="broken"):
        shielded(lambda: int("broken"), stay=1.0, withdraw=no_withdrawal)
    assert threads == ["jimeng-submit"]


def test_a_thread_that_nothing_interrupts_does_the_work_itself() -> None:
    names: list[str] = []

    def caller() -> None:
        names.append(
            shielded(lambda: threading.current_thread().name, stay=1.0, withdraw=no_withdrawal),
        )

    other = threading.Thread(target=caller, name="other")
    other.start()
    other.join()
    assert names == ["other"]


def test_an_interrupted_caller_stays_until_the_work_is_done_however_often_it_is_interrupted() -> None:
    story: list[str] = []

    def work() -> None:
        for _ in range(3):
            strike()
            time.sleep(0.05)
        story.append("done")

    with pytest.raises(TimedOut):
        shielded(work, stay=30.0, withdraw=lambda: story.append("withdrawn"))
    assert story == ["withdrawn", "done"]


def test_it_does_not_stay_for_ever() -> None:
    go_on = threading.Event()

    def work() -> None:
        strike()
        go_on.wait(30.0)

    began = time.monotonic()
    with pytest.raises(TimedOut):
        shielded(work, stay=0.2, withdraw=lambda: None)
    assert time.monotonic() - began < 10.0
    go_on.set()


def test_a_process_that_can_start_no_thread_works_in_the_one_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    assert shielded(lambda: "done", stay=1.0, withdraw=no_withdrawal) == "done"
