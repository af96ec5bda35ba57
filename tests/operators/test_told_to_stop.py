# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A task that is told to stop: marked failed, cleared, or on a worker that goes away.

Airflow calls ``on_kill`` in the handler of SIGTERM and raises nothing; SIGKILL follows some time later.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import JimengLedgerUnavailableError, JimengStoppedError
from airflow_provider_jimeng.hooks import patience
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import DagRun, Deferred

if TYPE_CHECKING:
    from tests.legs import Bench, Instance

#: By then a task that was told to stop has left; the supervisor's SIGKILL comes after 5 s.
LEAVES_WITHIN = 5.0


def tell_when(holds: Callable[[], bool], instance: Instance) -> threading.Thread:
    """Call ``on_kill`` once something has come to pass, from the side, as a signal's handler does."""

    def watch() -> None:
        pause = threading.Event()
        end = time.monotonic() + 30.0
        while not holds() and time.monotonic() < end:
            pause.wait(0.02)
        instance.operator.on_kill()

    watching = threading.Thread(target=watch)
    watching.start()
    return watching


def batch(bench: Bench, items: int, **arguments: Any) -> Instance:
    lines = [{"image": bench.image, "video": bench.video, "variant": number} for number in range(items)]
    given = {"manifest": lines, "output": str(bench.folder / "out"), **arguments}
    return DagRun().instance(JimengBatchOperator, "batch", **given)


def leaves(instance: Instance, holds: Callable[[], bool]) -> JimengStoppedError:
    """Run a leg that is told to stop when something has come to pass; return what it raised."""
    told = tell_when(holds, instance)
    with pytest.raises(JimengStoppedError) as caught:
        instance.leg()
    told.join()
    assert not isinstance(caught.value, AirflowFailException), "a retry goes on"
    return caught.value


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_that_is_told_to_stop_pays_nothing_more_and_leaves_nothing_in_doubt(
    bench: Bench, deferrable: bool
) -> None:
    bench.emu.add_fault("submit:delay,created=true,seconds=0.3,times=0")
    instance = batch(bench, 12, deferrable=deferrable)
    told = leaves(instance, lambda: bench.accepted >= (1 if deferrable else 3))
    assert "submits and pays nothing more" in told.message
    paid = bench.accepted
    assert paid < 10
    assert not {"intent", "unknown"} & set(bench.states())

    bench.emu.clear_faults()
    assert instance.clear().finish()["landed"] == 12
    assert bench.accepted == 12
    assert Counter(bench.states())["landed"] == 12


def test_the_process_of_a_run_ends_by_itself_before_it_is_killed(bench: Bench) -> None:
    bench.emu.add_fault("submit:delay,created=true,seconds=0.3,times=0")
    child = os.fork()
    if child == 0:
        code = 9
        try:
            instance = batch(bench, 60)
            signal.signal(signal.SIGTERM, lambda *_: instance.operator.on_kill())
            instance.leg()
        except JimengStoppedError:
            code = 3
        finally:
            os._exit(code)
    pause, end = threading.Event(), time.monotonic() + 30.0
    while bench.accepted < 3 and time.monotonic() < end:
        pause.wait(0.02)
    os.kill(child, signal.SIGTERM)
    before, end = bench.accepted, time.monotonic() + LEAVES_WITHIN
    ended, status = 0, 0
    while not ended and time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        pause.wait(0.02)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (bool(ended), os.waitstatus_to_exitcode(status)) == (True, 3)
    assert bench.accepted - before <= 2, "what was under way, and nothing new"
    assert not {"intent", "unknown"} & set(bench.states())


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_that_was_told_to_stop_submits_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    usual = Ledger.latest
    instance = bench.imitation(deferrable=deferrable)

    def told(self: Ledger, key: str) -> Any:
        instance.operator.on_kill()
        return usual(self, key)

    monkeypatch.setattr(Ledger, "latest", told)
    with pytest.raises(JimengStoppedError, match="paid nothing"):
        instance.leg()
    monkeypatch.undo()
    assert bench.rows() == []
    assert bench.accepted == 0


def test_a_request_that_has_not_left_is_kept_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Ledger.begin_send
    instance = bench.imitation()

    def told(self: Ledger, record: Any) -> Any:
        begun = usual(self, record)
        instance.operator.on_kill()
        return begun

    monkeypatch.setattr(Ledger, "begin_send", told)
    with pytest.raises(JimengStoppedError):
        instance.leg()
    monkeypatch.setattr(Ledger, "begin_send", usual)
    assert bench.states() == ["rejected"]

    instance.clear().finish()
    assert bench.accepted == 1


def test_a_wait_for_a_slot_on_the_worker_ends(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=60.0)
    bench.imitation(DagRun("other"), variant=1).leg()
    (other,) = bench.rows()

    def is_waiting() -> bool:
        return bool(bench.ledger.slot_view(other.scope, 1).waiting)

    leaves(bench.imitation(deferrable=False), is_waiting)
    assert bench.accepted == 1


def test_a_wait_for_the_vendor_on_the_worker_ends_and_its_task_is_found_again(bench: Bench) -> None:
    bench.emu.configure(duration=60.0)
    instance = bench.imitation(deferrable=False, poke_interval=60.0)
    told = leaves(instance, lambda: bench.states() == ["submitted"])
    assert told.task_id == bench.rows()[0].task_id

    bench.emu.advance(60.0)
    assert instance.clear().finish()["task_id"] == told.task_id
    assert bench.accepted == 1


def test_a_task_at_the_vendor_is_waited_for_in_the_triggerer_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Ledger.record_created
    instance = bench.imitation()

    def told(self: Ledger, *args: Any) -> Any:
        instance.operator.on_kill()
        return usual(self, *args)

    monkeypatch.setattr(Ledger, "record_created", told)
    left = instance.leg()
    assert isinstance(left, Deferred)
    instance.leg(left, instance.watch(left))
    assert bench.states() == ["landed"]


def test_a_wait_for_a_silent_ledger_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 60.0)
    calls: list[float] = []

    def silent(self: Ledger, key: str) -> Any:
        calls.append(time.monotonic())
        raise JimengLedgerUnavailableError("the database is away")

    monkeypatch.setattr(Ledger, "latest", silent)
    instance = bench.imitation()
    told = tell_when(lambda: bool(calls), instance)
    with pytest.raises(JimengLedgerUnavailableError):
        instance.leg()
    told.join()
    assert time.monotonic() - calls[0] < LEAVES_WITHIN
