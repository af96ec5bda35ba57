# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A slot is free when the vendor says so: the next in the queue is called then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_jimeng.ledger.records import SlotView
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.policy.polling import PollState
from airflow_provider_jimeng.triggers import holders
from airflow_provider_jimeng.triggers.holders import SeenOver, usable_by
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger

from tests.legs import Bench, DagRun, first_event
from tests.lifecycle.test_decide import NOW, row
from tests.triggers.test_slot_trigger import hold, one_slot, stays_silent, ticket, trigger

__all__ = ["one_slot"]


def view(*task_ids: str, waiting: tuple[int, ...] = (1, 2, 3), **changes: Any) -> SlotView:
    """Return a full house: one slot per task, and tickets that wait."""
    held = tuple(
        row(TaskState.SUBMITTED, task_id=each, submitted_at=NOW - 300.0, expected_seconds=300.0)
        for each in task_ids
    )
    plain: dict[str, Any] = {
        "in_use": len(held), "limit": len(held), "cooldown_until": None, "entitled": frozenset(),
        "holders": held, "waiting": waiting,
    }  # fmt: skip
    return SlotView(now=NOW, **{**plain, **changes})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def seen(*task_ids: str, clock: Clock | None = None) -> SeenOver:
    book = SeenOver(clock or Clock())
    for each in task_ids:
        book.add(each, PollState())
    return book


def turns(book: SeenOver, slots: SlotView) -> dict[int, list[str]]:
    """Return for each ticket whose ends it is told of."""
    return {each: [told["task_id"] for told in usable_by(each, slots, book)] for each in slots.waiting}


def test_each_end_calls_one_ticket_and_names_the_ends_of_those_before_it() -> None:
    assert turns(seen(), view("a", "b")) == {1: [], 2: [], 3: []}
    assert turns(seen("a"), view("a", "b")) == {1: ["a"], 2: [], 3: []}
    assert turns(seen("a", "b"), view("a", "b")) == {1: ["a"], 2: ["a", "b"], 3: []}


def test_a_free_slot_is_kept_for_those_that_are_entitled_to_it() -> None:
    slots = view("a", "b", entitled=frozenset({1}), limit=3)
    assert turns(seen("b"), slots)[2] == ["b"]
    assert turns(seen("b"), slots)[3] == []


def test_more_tasks_than_slots_have_to_end_first() -> None:
    """A limit that was lowered while tasks ran."""
    slots = view("a", "b", "c", limit=1)
    assert turns(seen("a", "b"), slots)[1] == []
    assert turns(seen("a", "b", "c"), slots) == {1: ["a", "b", "c"], 2: [], 3: []}


@pytest.mark.parametrize("stop", [{"cooldown_until": NOW + 5}, {"blocked": "paused by x"}])
def test_nobody_is_called_where_no_claim_would_be_granted(stop: dict[str, Any]) -> None:
    assert turns(seen("a"), view("a", **stop)) == {1: [], 2: [], 3: []}


def test_a_task_too_young_to_be_believed_calls_nobody() -> None:
    young = row(TaskState.SUBMITTED, task_id="a", submitted_at=NOW - 1.0, expected_seconds=300.0)
    assert turns(seen("a"), view("a", holders=(young,)))[1] == []


def test_an_end_that_nobody_came_for_calls_one_ticket_more_each_quarter_of_a_minute() -> None:
    clock = Clock()
    book = seen("a", clock=clock)
    clock.now += 14.0
    assert turns(book, view("a"))[2] == []
    clock.now += 2.0
    assert turns(book, view("a")) == {1: ["a"], 2: ["a"], 3: []}
    clock.now += 15.0
    assert turns(book, view("a"))[3] == ["a"]


def test_an_end_is_forgotten_after_a_minute() -> None:
    clock = Clock()
    book = seen("a", clock=clock)
    clock.now += SeenOver.SECONDS
    assert turns(book, view("a"))[1] == []
    book.add("b", PollState())
    assert book.get("a") is None
    assert book.get("b") is not None


def test_an_end_that_is_seen_twice_is_as_old_as_the_first_time() -> None:
    clock = Clock()
    book = seen("a", clock=clock)
    clock.now += 20.0
    book.add("a", PollState())
    known = book.get("a")
    assert known is not None
    assert known[0] == 20.0


async def test_the_next_is_called_by_the_end_and_not_by_the_leg_that_lands_it(one_slot: Bench) -> None:
    """Nobody has told the ledger: the holder's own leg is still on its way to a worker."""
    one_slot.emu.configure(duration=1.5)
    one_slot.submit()
    (held,) = one_slot.rows()
    left = one_slot.imitation(DagRun("run-2"), variant=1).leg()
    waiting = left.trigger()
    watcher = JimengTaskTrigger([{"task_id": held.task_id, "req_key": held.scope.req_key}])
    told, event = await asyncio.gather(first_event(watcher, 6.0), first_event(waiting, 6.0))
    assert told["status"] == "finished"
    assert event["status"] == "turn"
    (named,) = event["over"]
    assert named["task_id"] == held.task_id
    assert set(named) == {"task_id", "poll", "seen_at"}
    assert one_slot.states() == ["submitted"], "a trigger never writes"


def test_the_leg_that_is_called_frees_the_slot_and_takes_it(one_slot: Bench) -> None:
    one_slot.emu.configure(duration=1.5)
    one_slot.submit()
    instance = one_slot.imitation(DagRun("run-2"), variant=1)
    left = instance.leg()

    async def called() -> Any:
        (held,) = one_slot.rows()
        watcher = JimengTaskTrigger([{"task_id": held.task_id, "req_key": held.scope.req_key}])
        _, event = await asyncio.gather(first_event(watcher, 6.0), first_event(left.trigger(), 6.0))
        return event

    event = asyncio.run(called())
    before = one_slot.queries
    instance.leg(left, event)
    assert one_slot.states() == ["succeeded", "submitted"]
    assert one_slot.accepted == 2
    assert one_slot.refused == {}
    assert one_slot.queries - before <= 2, "only the named end is asked about"
    first, _ = one_slot.rows()
    assert first.processing_seconds == pytest.approx(1.5, abs=0.9), "what its wait has shown is learnt"


async def test_a_dead_head_keeps_nobody_from_an_overdue_task(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole run was deleted: its task holds the slot, and its ticket is the first in the queue."""
    hold(one_slot)
    ticket(one_slot, "dead")
    alive = ticket(one_slot, "alive")
    one_slot.emu.add_fault("query:50411,status=done,times=0")
    await stays_silent(trigger(one_slot, alive), 1.0)
    assert one_slot.queries == 0
    one_slot.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 3600")
    event = await first_event(trigger(one_slot, alive), 8.0)
    assert event["status"] == "turn"
    assert len(event["over"]) == 1


async def test_many_waiters_ask_about_a_task_as_often_as_one(one_slot: Bench) -> None:
    one_slot.connect(max_concurrency=3)
    for number in range(3):
        one_slot.emu.configure(duration=600, concurrency=3)
        one_slot.submit(DagRun(f"run-{number}"), variant=number)
    one_slot.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 100")
    lefts = [one_slot.imitation(DagRun(f"later-{n}"), variant=10 + n).leg() for n in range(3)]
    before = one_slot.queries
    waits = [asyncio.create_task(first_event(each.trigger(), 3.0)) for each in lefts]
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(each) for each in outcomes} == {TimeoutError}
    assert one_slot.queries - before == 3, "each of the three tasks once"
    assert not +holders.watched_here
