# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What interrupts a task in the middle of a submit: its ``execution_timeout``, and being told to stop.

A task's process ends as Airflow's does, with ``os._exit``, which waits for no thread.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.client.wire import Gate
from airflow_provider_jimeng.exceptions import JimengLedgerUnavailableError
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle import submit

from tests.airflow_versions import moved

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord

    from tests.legs import Bench

Patch = Callable[[Any, str, Any], None]
AirflowTaskTimeout = moved("AirflowTaskTimeout", "airflow.sdk.exceptions", "airflow.exceptions")
TIMED_OUT = 3
#: A process that is still there after this long is stuck.
STUCK_SECONDS = 30.0


def strike() -> None:
    """Have the alarm of the execution timeout strike now."""
    os.kill(os.getpid(), signal.SIGALRM)


def strike_when_its_bytes_are_out(patch: Patch) -> None:
    usual = Gate.open

    def opened(self: Gate, connected: Any) -> None:
        usual(self, connected)
        # The inputs are looked at through gates of their own.
        if threading.current_thread().name == "jimeng-send":
            strike()

    patch(Gate, "open", opened)


def strike_when_its_answer_is_read(patch: Patch) -> None:
    usual: Callable[..., Any] = vars(submit)["judge_submit"]

    def judged(*args: Any, **kwargs: Any) -> Any:
        strike()
        return usual(*args, **kwargs)

    patch(submit, "judge_submit", judged)


def strike_before_it_is_sent(patch: Patch) -> None:
    usual = Ledger.begin_send

    def begun(self: Ledger, record: TaskRecord) -> TaskRecord:
        strike()
        return usual(self, record)

    patch(Ledger, "begin_send", begun)


def silence_the_ledger_at_the_id(patch: Patch) -> None:
    usual, since = Ledger.record_created, list[float]()

    def silent(self: Ledger, *args: Any) -> Any:
        since.append(time.monotonic())
        if len(since) < 3:
            # The second one strikes while the process already stays.
            strike()
            raise JimengLedgerUnavailableError("the database restarts")
        return usual(self, *args)

    patch(Ledger, "record_created", silent)


MOMENTS: dict[str, Callable[[Patch], None]] = {
    "its bytes are out": strike_when_its_bytes_are_out,
    "its answer is read": strike_when_its_answer_is_read,
    "the ledger is silent": silence_the_ledger_at_the_id,
}


def end_of_a_task(bench: Bench, arrange: Callable[[Patch], None], **arguments: Any) -> int:
    """Run a leg in a process of its own, as a task; return how it ended."""
    child = os.fork()
    if child == 0:
        code = 9
        try:
            signal.signal(signal.SIGALRM, _timed_out)
            arrange(setattr)
            bench.imitation(**arguments).leg()
            code = 0
        except AirflowTaskTimeout:
            code = TIMED_OUT
        finally:
            os._exit(code)
    end = time.monotonic() + STUCK_SECONDS
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        threading.Event().wait(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the task's process did not end")


def _timed_out(*_: Any) -> None:
    raise AirflowTaskTimeout("execution_timeout")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_timeout_in_the_middle_of_a_submit_loses_no_id_and_pays_once(bench: Bench, moment: str) -> None:
    bench.emu.add_fault("submit:delay,created=true,seconds=0.5")
    chosen: dict[str, Any] = {"on_unknown_submit": "resubmit"}
    assert end_of_a_task(bench, MOMENTS[moment], **chosen) == TIMED_OUT
    assert bench.states() == ["submitted"]

    bench.imitation(**chosen).clear().finish()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_a_timeout_before_the_send_keeps_the_request_in(bench: Bench) -> None:
    assert end_of_a_task(bench, strike_before_it_is_sent) == TIMED_OUT
    assert bench.states() == ["rejected"]
    assert bench.accepted == 0

    bench.imitation().clear().finish()
    assert bench.accepted == 1


def test_a_timeout_while_the_ledger_stays_away_ends_the_task_all_the_same(bench: Bench) -> None:
    def stay_away(patch: Patch) -> None:
        def silent(self: Ledger, *args: Any) -> Any:
            strike()
            raise JimengLedgerUnavailableError("the database is away")

        patch(Ledger, "record_created", silent)
        patch(submit, "_STAY_SECONDS", 0.2)

    bench.connect(submit_deadline=0.5)
    assert end_of_a_task(bench, stay_away) == TIMED_OUT
    assert bench.accepted == 1
    *before, last = bench.states()
    assert last == "intent", "the log has the id; the ledger makes an unknown of it"
    # A busy machine may be too late for so short a deadline: nothing was sent, and it was claimed again.
    assert set(before) <= {"rejected"}
