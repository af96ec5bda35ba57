# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Claims that certainly were never sent: they cost nothing, and hold a slot no longer than they have to."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.exceptions import JimengLedgerError, JimengLedgerUnavailableError
from airflow_provider_jimeng.ledger.records import Claimed, ClaimRequest, LostRace, Provenance, Scope
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle.bookkeeping import Bookkeeper

from tests.legs import Bench, DagRun, Deferred

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord


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


# -- the permission to send was written, and its answer got lost -------------------------------------------


def claims_meanwhile(bench: Bench, scope: Scope) -> None:
    """Let the deadline pass, and another claim be the first that the ledger hears then."""
    bench.alter("UPDATE jimeng_tasks SET created_at = created_at - 20, sent_at = sent_at - 20")
    other = ClaimRequest(
        content_key="other",
        scope=scope,
        inputs="{}",
        provenance=Provenance("dag", "run", "other"),
        owner="other",
        waiter="other",
        configured_limit=2,
    )
    assert isinstance(bench.ledger.claim(other), Claimed)


@pytest.mark.parametrize("error", [JimengLedgerUnavailableError, LostRace])
def test_a_send_that_was_permitted_to_an_owner_that_did_not_hear_it_is_no_unknown(
    bench: Bench, error: type[JimengLedgerError]
) -> None:
    usual = Ledger.begin_send
    lost: list[TaskRecord] = []

    def applied_and_lost(self: Ledger, record: TaskRecord) -> TaskRecord:
        begun = usual(self, record)
        if lost:
            return begun
        lost.append(record)
        claims_meanwhile(bench, record.scope)
        assert bench.states()[0] == "unknown"
        raise error("away for longer than submit_deadline")

    bench.patch.setattr(Ledger, "begin_send", applied_and_lost)
    bench.imitate(retries=0)

    first = bench.rows()[0]
    assert (first.state, first.possibly_billed, first.send_count) == ("released", False, 1)
    assert "no longer this owner's" in first.message
    assert bench.states() == ["released", "intent", "landed"]
    assert (bench.accepted, bench.emu.ledger()["totals"]["submits"]) == (1, 1)
    assert bench.ledger.attempts_in(first.content_key, first.attempt_scope) == 1


def book(bench: Bench) -> Bookkeeper:
    return Bookkeeper(bench.ledger, time.sleep, time.monotonic, lambda: 0.5)


def unknown_after_a_send(bench: Bench) -> tuple[TaskRecord, TaskRecord]:
    """Return an intent as its owner claimed it, and the unknown that became of it after a send began."""
    scope = Scope("tests", "vendor.example/cn-north-1", "model")
    request = ClaimRequest(
        content_key="content",
        scope=scope,
        inputs="{}",
        provenance=Provenance("dag", "run", "task"),
        owner="owner",
        waiter="waiter",
    )
    answer = bench.ledger.claim(request)
    assert isinstance(answer, Claimed)
    bench.ledger.begin_send(answer.record)
    bench.alter("UPDATE jimeng_tasks SET sent_at = sent_at - 61")
    claims_meanwhile(bench, scope)
    unknown = bench.ledger.get(answer.record.id)
    assert unknown is not None
    assert (unknown.state, unknown.possibly_billed) == ("unknown", True)
    return answer.record, unknown


@pytest.mark.parametrize(
    ("changed", "unheard"),
    [
        ({}, False),  # The permission was heard: it may have been used.
        ({"owner": "somebody else"}, True),
        ({"revision": 0}, True),  # More was done to the row than this owner knows of.
        ({"send_count": -1}, True),
    ],
)
def test_a_send_that_may_have_left_stays_unknown(
    bench: Bench, changed: dict[str, Any], unheard: bool
) -> None:
    record, unknown = unknown_after_a_send(bench)
    book(bench).give_up(replace(record, **changed), "nothing was sent", unheard=unheard)
    assert bench.ledger.get(record.id) == unknown


def test_an_id_that_comes_all_the_same_is_kept(bench: Bench) -> None:
    record, unknown = unknown_after_a_send(bench)
    book(bench).give_up(record, "nothing was sent", unheard=True)
    assert bench.states()[0] == "released"
    bench.ledger.record_created(unknown, "77", "request")
    assert bench.states()[0] == "submitted"
