# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Real processes that race, stop, die and come back."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger import racers
from tests.ledger.kit import Bench, unique, until

S = TaskState


def test_one_key_gets_exactly_one_intent(bench: Bench):
    key = unique()
    answers = racers.race(racers.claim_key, 6, bench.url, bench.scope, key)
    assert Counter(kind for kind, _ in answers) == {"Claimed": 1, "Found": 5}
    assert len({number for _, number in answers}) == 1
    assert [(row.content_key, row.state) for row in bench.rows()] == [(key, "intent")]


def test_many_keys_never_hold_more_than_their_two_slots(bench: Bench):
    ctx = racers.context()
    busy, most = ctx.Value("i", 0), ctx.Value("i", 0)
    racers.race(racers.work_off, 4, bench.url, bench.scope, 2, 3, busy, most)
    assert (busy.value, most.value <= 2) == (0, True)
    assert Counter(row.state for row in bench.rows()) == {"succeeded": 12}
    assert bench.tickets() == []
    assert bench.ledger.slot_view(bench.scope, 2).in_use == 0


def test_the_last_free_slot_has_one_taker(bench: Bench):
    bench.submitted()
    answers = racers.race(racers.claim_any, 6, bench.url, bench.scope)
    assert Counter(answers) == {"Claimed": 1, "MustWait": 5}
    assert len(bench.tickets()) == 5
    assert len(bench.rows()) == 2


def test_the_first_use_by_eight_processes_at_once_makes_one_ledger(empty_url: str):
    answers = racers.race(racers.open_ledger, 8, empty_url)
    assert len(set(answers)) == 1
    bench = Bench(empty_url)
    assert bench.ledger.uuid == answers[0]
    bench.ledger.close()


@contextmanager
def process(target: Any, *args: Any) -> Iterator[tuple[Any, Any]]:
    ctx = racers.context()
    ours, theirs = ctx.Pipe()
    child: Any = ctx.Process(target=target, args=(*args, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        yield child, ours
    finally:
        if child.is_alive():
            # It may end between the two lines.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGCONT)
            child.join(racers.PATIENCE)
        child.close()
        ours.close()


def hear(line: Any) -> Any:
    assert line.poll(racers.PATIENCE), "the other process says nothing"
    return line.recv()


@pytest.mark.parametrize("settled", [True, False], ids=["others settled it", "nobody looked"])
def test_an_owner_suspended_past_its_deadline_may_not_send_when_it_comes_back(bench: Bench, settled: bool):
    key, deadline = unique(), 0.5
    with process(racers.owner, bench.url, bench.scope, key, deadline, False) as (child, line):
        record = bench.ledger.get(hear(line))
        assert record is not None
        os.kill(child.pid, signal.SIGSTOP)
        until(lambda: bench.ledger.now() > record.created_at + deadline)
        if settled:
            assert bench.found(key).state is S.UNKNOWN
        os.kill(child.pid, signal.SIGCONT)
        line.send("go on")
        assert "may not be sent any more" in hear(line)
    row = bench.now(record)
    assert (row.state, row.send_count) == (S.UNKNOWN if settled else S.INTENT, 0)


def test_the_late_id_of_an_owner_suspended_in_its_send_is_kept(bench: Bench):
    key = unique()
    with process(racers.owner, bench.url, bench.scope, key, 60.0, True) as (child, line):
        record = bench.ledger.get(hear(line))
        assert record is not None
        os.kill(child.pid, signal.SIGSTOP)
        bench.age(record, record.resubmit_age_seconds)
        assert bench.found(key).state is S.UNKNOWN
        bench.ledger.release(
            record.id, reason="resubmit", by="test", min_age_seconds=record.resubmit_age_seconds
        )
        second = bench.submitted(key, expected_latest=record.id)
        os.kill(child.pid, signal.SIGCONT)
        line.send("go on")
        assert "may not be sent any more" in hear(line)
        assert hear(line) == ("submitted", True, True)
    kept = bench.ledger.by_task_id(f"late-{key}")
    assert kept is not None
    assert kept.extra
    assert bench.ledger.latest(key) == second


def test_a_killed_process_leaves_no_lock(bench: Bench):
    with process(racers.lock_holder, bench.url, bench.scope, 20) as (child, line):
        assert hear(line) == "locked"
        os.kill(child.pid, signal.SIGKILL)
        bench.claimed()


def test_a_process_suspended_in_a_transaction_loses_its_locks_on_a_server(postgres_url: str):
    bench = Bench(postgres_url)
    with process(racers.lock_holder, bench.url, bench.scope, 1) as (child, line):
        assert hear(line) == "locked"
        os.kill(child.pid, signal.SIGSTOP)
        bench.claimed()
        os.kill(child.pid, signal.SIGCONT)
        line.send("go on")
        assert "can't be read or written" in hear(line)
    bench.ledger.close()
