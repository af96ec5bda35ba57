# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a key that may be another account's is told of a task is believed only where it can be true."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.exceptions import JimengConfigurationError
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.asking import ask_about
from airflow_provider_jimeng.lifecycle.revive import Revived
from airflow_provider_jimeng.policy import giving_up

if TYPE_CHECKING:
    from tests.legs import Bench


def asked(bench: Bench, **age: float) -> Revived:
    """Submit, let some time pass in the ledger, and ask."""
    bench.submit()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - ?", age.get("seconds", 60.0))
    hook = JimengHook()
    return ask_about(hook.ledger, hook.client, bench.rows()[0])


def test_what_the_vendor_has_is_true_whoever_asks(bench: Bench) -> None:
    bench.emu.configure(duration=0.0)
    assert asked(bench) == Revived(bench.rows()[0])
    assert bench.states() == ["succeeded"]


def test_a_bad_verdict_is_one(bench: Bench) -> None:
    bench.emu.configure(duration=0.0)
    bench.emu.add_fault("done:code,code=50518,times=0")
    assert asked(bench).record.state is TaskState.FAILED


def test_one_that_runs_is_known_to_the_vendor_and_stays_as_it_is(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    assert asked(bench) == Revived(bench.rows()[0])
    assert bench.states() == ["submitted"]


@pytest.mark.parametrize("denial", ["query:status,status=not_found,times=0", "query:code,code=50215,times=0"])
def test_a_denial_is_told_and_written_down_nowhere(bench: Bench, denial: str) -> None:
    bench.emu.add_fault(denial)
    with pytest.raises(JimengConfigurationError, match="no such task for this connection's key"):
        asked(bench)
    assert bench.states() == ["submitted"]


def test_an_answer_that_says_nothing_is_asked_again(bench: Bench) -> None:
    bench.emu.add_fault("query:code,code=50429,times=0")
    told = asked(bench)
    assert told.wait is not None
    assert told.wait >= giving_up.DOUBT_SECONDS
    assert bench.states() == ["submitted"]


def test_after_twelve_hours_it_is_lost_whoever_asks(bench: Bench) -> None:
    bench.emu.add_fault("query:status,status=not_found,times=0")
    assert asked(bench, seconds=12 * 3600.0 + 60.0).record.state is TaskState.EXPIRED


def test_what_was_given_up_is_revived(bench: Bench) -> None:
    bench.emu.configure(duration=0.0)
    bench.submit()
    bench.alter("UPDATE jimeng_tasks SET state = 'expired', finished_at = ?", time.time())
    hook = JimengHook()
    assert ask_about(hook.ledger, hook.client, bench.rows()[0]).record.state is TaskState.SUCCEEDED
