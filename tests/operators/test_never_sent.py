# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Claims that certainly were never sent: they cost nothing, and hold a slot no longer than they have to."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_jimeng.ledger.store import Ledger

from tests.legs import Bench, DagRun, Deferred


class Killed(BaseException):
    """SIGKILL."""


def die(*_: Any, **__: Any) -> Any:
    raise Killed


def trigger_of(left: Any) -> str:
    assert isinstance(left, Deferred)
    return left.classpath.rpartition(".")[2]


def test_a_worker_that_dies_before_its_send_leaves_the_slot_when_nobody_may_send_any_more(
    bench: Bench,
) -> None:
    bench.connect(max_concurrency=1)
    with bench.patch.context() as patch:
        patch.setattr(Ledger, "begin_send", die)
        with pytest.raises(Killed):
            bench.imitation().leg()
    other = {"variant": 1, "output": str(bench.folder / "b.mp4")}
    assert trigger_of(bench.imitation(DagRun("run-2"), **other).leg()) == "JimengSlotTrigger"
    assert bench.accepted == 0

    # A tenth of the time that such a task is expected to take.
    bench.alter("UPDATE jimeng_tasks SET created_at = ?", time.time() - bench.rows()[0].send_deadline - 0.5)
    assert trigger_of(bench.imitation(DagRun("run-2"), **other).leg()) == "JimengTaskTrigger"
    assert (bench.states(), bench.accepted) == (["unknown", "submitted"], 1)

    bench.emu.advance(60)
    bench.imitate(DagRun("run-2"), **other)
    bench.imitate(DagRun("run-3"))
    assert (bench.states(), bench.accepted) == (["released", "landed", "landed"], 2)
