# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Waiting for a slot: no worker, no flood of the vendor, one reader of the ledger for all."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sql_event

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.hooks.jimeng import iso
from airflow_provider_jimeng.hooks.ledger import find_ledger
from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.records import Claimed, ClaimRequest, MustWait, Provenance, Scope
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.triggers import holders, slots, watch
from airflow_provider_jimeng.triggers.slots import JimengSlotTrigger

from tests.legs import Bench, DagRun, Deferred, first_event

ACCOUNT = "tests"


def scope_of(bench: Bench) -> Scope:
    return Scope(ACCOUNT, f"{bench.emu.host}/cn-north-1", "m")


def request(bench: Bench, key: str, limit: int = 1) -> ClaimRequest:
    return ClaimRequest(
        content_key=key,
        scope=scope_of(bench),
        inputs="{}",
        provenance=Provenance("dag", "run", key),
        owner=key,
        waiter=key,
        configured_limit=limit,
        send_deadline=60.0,
    )


def hold(bench: Bench, task_id: str = "7710993105735127851") -> Any:
    """Fill the one slot with a task of the vendor's, as the ledger sees it."""
    claimed = bench.ledger.claim(request(bench, "holder"))
    assert isinstance(claimed, Claimed)
    return bench.ledger.record_created(bench.ledger.begin_send(claimed.record), task_id, "r")


def ticket(bench: Bench, key: str) -> int:
    answer = bench.ledger.claim(request(bench, key))
    assert isinstance(answer, MustWait)
    return answer.ticket_id


def trigger(bench: Bench, ticket_id: int | None, key: str = "k", **options: Any) -> JimengSlotTrigger:
    scope = scope_of(bench)
    return JimengSlotTrigger(scope.account, scope.endpoint, scope.req_key, key, ticket_id, **options)


@pytest.fixture
def one_slot(bench: Bench) -> Bench:
    bench.connect(max_concurrency=1)
    return bench


async def stays_silent(waiting: Any, seconds: float = 0.6) -> None:
    with pytest.raises(TimeoutError):
        await first_event(waiting, seconds)


def test_a_trigger_is_the_same_after_its_way_through_the_database(bench: Bench) -> None:
    for options in ({}, {"not_before": "2026-11-22T12:00:00+00:00", "deadline": "2026-11-29T12:00:00+00:00"}):
        first = trigger(bench, 7, volcengine_conn_id="c", **options).serialize()
        again = JimengSlotTrigger(**json.loads(json.dumps(first[1]))).serialize()
        assert again == first
        assert first[0] == "airflow_provider_jimeng.triggers.slots.JimengSlotTrigger"


def test_a_deferral_leaves_no_secret(one_slot: Bench) -> None:
    signed = one_slot.image + "?X-Amz-Signature=5ecre7"
    one_slot.emu.configure(duration=60)
    one_slot.submit()
    left = one_slot.imitation(DagRun("run-2"), image_url=signed, variant=1).leg()
    assert isinstance(left, Deferred)
    assert "JimengSlotTrigger" in left.classpath
    for secret in (one_slot.emu.config.secret_key, one_slot.emu.config.access_key, "5ecre7", "?", "X-Amz"):
        assert secret not in left.kwargs


async def test_the_head_is_told_when_the_slot_is_free(one_slot: Bench) -> None:
    holder = hold(one_slot)
    first, second = ticket(one_slot, "first"), ticket(one_slot, "second")
    one_slot.emu.add_fault("query:status,status=generating,times=0")
    waiting = asyncio.create_task(first_event(trigger(one_slot, first)))
    await stays_silent(trigger(one_slot, second), 0.5)
    assert not waiting.done()

    one_slot.ledger.record_failed(holder, code=1, message="x", request_id=None, new_attempt=False)
    assert (await asyncio.wait_for(waiting, 3))["status"] == "turn"
    await stays_silent(trigger(one_slot, second), 0.4)


async def test_the_head_notices_a_holder_that_is_over_and_nobody_else_asks(one_slot: Bench) -> None:
    hold(one_slot)
    tickets = [ticket(one_slot, f"waiter-{number}") for number in range(5)]
    one_slot.emu.add_fault("query:50411,status=done,times=0")
    for behind in tickets[1:]:
        await stays_silent(trigger(one_slot, behind), 0.2)
    assert one_slot.queries == 0
    before = one_slot.rows()
    assert (await first_event(trigger(one_slot, tickets[0]), 6.0))["status"] == "turn"
    assert one_slot.queries <= 2
    assert one_slot.rows() == before, "a trigger never writes"


async def test_a_holder_that_is_watched_here_is_left_to_its_watcher(one_slot: Bench) -> None:
    holder = hold(one_slot)
    head = ticket(one_slot, "first")
    holders.watched_here[holder.task_id] += 1
    try:
        await stays_silent(trigger(one_slot, head), 2.5)
    finally:
        holders.watched_here[holder.task_id] -= 1
    assert one_slot.queries == 0


async def test_a_ticket_that_is_gone_sends_its_worker_to_look(one_slot: Bench) -> None:
    hold(one_slot)
    head = ticket(one_slot, "first")
    one_slot.ledger.drop_ticket(scope_of(one_slot), "first")
    assert (await first_event(trigger(one_slot, head), 3.0))["status"] == "turn"


async def test_a_shared_cool_down_is_kept(one_slot: Bench) -> None:
    holder = hold(one_slot)
    head = ticket(one_slot, "first")
    one_slot.ledger.note_refused(scope_of(one_slot), kind="rate", retry_after=1.0)
    one_slot.ledger.record_failed(holder, code=1, message="x", request_id=None, new_attempt=False)
    began = time.monotonic()
    assert (await first_event(trigger(one_slot, head), 5.0))["status"] == "turn"
    assert time.monotonic() - began > 0.7


async def test_a_deadline_ends_the_wait(one_slot: Bench) -> None:
    hold(one_slot)
    head = ticket(one_slot, "first")
    deadline = iso(time.time() + 0.3)
    event = await first_event(trigger(one_slot, head, deadline=deadline), 3.0)
    assert event == {"status": "deadline", "deadline": deadline}


async def test_a_ledger_that_cannot_be_read_is_waited_for(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ticket_after_release(one_slot)
    monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", f"sqlite:///{one_slot.folder}/none/ledger.db")
    waiting = trigger(one_slot, head)
    said: list[str] = []
    monkeypatch.setattr(waiting.log, "warning", lambda words, *args: said.append(words % args))
    running = asyncio.create_task(first_event(waiting))
    await asyncio.sleep(0.6)
    assert not running.done()
    assert len(said) == 1
    monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", one_slot.ledger_url)
    assert (await asyncio.wait_for(running, 5))["status"] == "turn"


async def test_the_deadline_ends_the_wait_for_a_connection(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(one_slot)
    head = ticket(one_slot, "first")
    monkeypatch.delenv("AIRFLOW_CONN_VOLCENGINE_DEFAULT")
    deadline = iso(time.time() + 0.3)
    event = await first_event(trigger(one_slot, head, deadline=deadline), 3.0)
    assert event == {"status": "deadline", "deadline": deadline}


def test_a_deferral_for_a_slot_ends_where_no_triggerer_runs_it(one_slot: Bench) -> None:
    assert isinstance(one_slot.imitation(DagRun("holder")).leg(), Deferred)
    left = one_slot.imitation(DagRun("waiter"), variant=2, slot_timeout=60.0).leg()
    assert isinstance(left, Deferred)
    assert left.classpath.endswith("JimengSlotTrigger")
    assert left.timeout is not None
    # Later than the trigger's own deadline, whose event keeps the message and the place in the queue.
    assert 60.0 < left.timeout.total_seconds() < 60.0 + 3600.0


async def test_a_vendor_that_only_the_triggerer_cannot_ask_leaves_what_the_ledger_says(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = hold(one_slot)
    one_slot.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 3600")
    head = ticket(one_slot, "first")
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    waiting = trigger(one_slot, head)
    said: list[str] = []
    monkeypatch.setattr(waiting.log, "warning", lambda words, *args: said.append(words % args))
    running = asyncio.create_task(first_event(waiting))
    await asyncio.sleep(3.0)
    assert not running.done()
    assert [each for each in said if "can't be asked from here" in each]
    one_slot.ledger.record_failed(holder, code=1, message="x", request_id=None, new_attempt=False)
    assert (await asyncio.wait_for(running, 5))["status"] == "turn"
    assert len(said) == 1


@pytest.mark.parametrize("there", ["nothing", "another"])
async def test_a_ledger_that_is_not_the_workers_calls_nobody_and_is_not_made(
    one_slot: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    hold(one_slot)
    head = ticket(one_slot, "first")
    home = tmp_path / "triggerer"
    home.mkdir()
    if there == "another":
        Ledger.open(f"sqlite:///{home}/ledger.db").close()
    monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", f"sqlite:///{home}/ledger.db")
    before = sorted(home.iterdir())
    for ticket_id in (head, None):
        waiting = trigger(one_slot, ticket_id, not_before=None if ticket_id else "2099-01-01T00:00:00+00:00")
        said: list[str] = []
        monkeypatch.setattr(waiting.log, "warning", lambda words, *args, said=said: said.append(words % args))
        await stays_silent(waiting)
        assert len(said) == 1
        assert "ledger" in said[0]
    if there == "nothing":
        assert sorted(home.iterdir()) == before == []
    # A worker has to look all the same, at a rate that helps.
    monkeypatch.setattr(slots, "_ASTRAY_SECONDS", 0.3)
    assert (await first_event(trigger(one_slot, head), 3.0))["status"] == "turn"


async def test_the_ledgers_connection_is_read_once_a_minute_and_after_trouble(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(one_slot)
    found, now = [0], [0.0]

    def counted() -> Ledger:
        found[0] += 1
        return find_ledger()

    monkeypatch.setattr("airflow_provider_jimeng.triggers.watch.find_ledger", counted)
    monkeypatch.setattr(watch, "FRESH_SECONDS", -1.0)
    reader = watch.LedgerReader(lambda: now[0])
    for now[0] in (0.0, 1.0, 30.0, 59.0):
        await reader.slots(scope_of(one_slot), 1)
        await reader.latest("holder")
    assert found == [1]
    now[0] = 61.0
    await reader.latest("holder")
    assert found == [2]
    one_slot.alter("ALTER TABLE jimeng_tasks RENAME TO elsewhere")
    with pytest.raises(JimengLedgerError):
        await reader.latest("holder")
    one_slot.alter("ALTER TABLE elsewhere RENAME TO jimeng_tasks")
    assert await reader.latest("holder") is not None
    assert found == [3]


def ticket_after_release(bench: Bench) -> int:
    """Return a ticket whose turn it is."""
    holder = hold(bench)
    head = ticket(bench, "first")
    bench.ledger.record_failed(holder, code=1, message="x", request_id=None, new_attempt=False)
    return head


async def test_a_wait_without_a_ticket_ends_when_the_submit_is_decided(one_slot: Bench) -> None:
    claimed = one_slot.ledger.claim(request(one_slot, "k"))
    assert isinstance(claimed, Claimed)
    far = "2099-01-01T00:00:00+00:00"
    running = asyncio.create_task(first_event(trigger(one_slot, None, not_before=far)))
    await asyncio.sleep(0.5)
    assert not running.done()
    one_slot.ledger.record_created(one_slot.ledger.begin_send(claimed.record), "77", "r")
    assert (await asyncio.wait_for(running, 3))["status"] == "turn"


async def test_a_wait_without_a_ticket_ends_when_its_time_has_come(one_slot: Bench) -> None:
    claimed = one_slot.ledger.claim(request(one_slot, "k"))
    assert isinstance(claimed, Claimed)
    one_slot.ledger.record_unknown(one_slot.ledger.begin_send(claimed.record), message="no answer")
    soon = iso(time.time() + 0.8)
    await stays_silent(trigger(one_slot, None, not_before=soon), 0.4)
    assert (await first_event(trigger(one_slot, None, not_before=soon), 3.0))["status"] == "turn"


async def test_a_task_that_was_given_up_is_not_asked_about_before_its_time(one_slot: Bench) -> None:
    given_up = one_slot.ledger.record_expired(hold(one_slot), message="not_found")
    waiting = trigger(one_slot, None, given_up.content_key, not_before=iso(time.time() + 600.0))
    await stays_silent(waiting)

    again = trigger(one_slot, None, given_up.content_key, not_before=iso(time.time() + 600.0))
    event = asyncio.ensure_future(first_event(again))
    await asyncio.sleep(0.3)
    one_slot.ledger.record_succeeded(given_up)
    assert (await event)["status"] == "turn", "somebody else has had it back"


async def test_an_intent_that_turns_unknown_ends_the_wait(one_slot: Bench) -> None:
    claimed = one_slot.ledger.claim(request(one_slot, "k"))
    assert isinstance(claimed, Claimed)
    far = "2099-01-01T00:00:00+00:00"
    running = asyncio.create_task(first_event(trigger(one_slot, None, not_before=far)))
    await asyncio.sleep(0.4)
    one_slot.ledger.record_unknown(one_slot.ledger.begin_send(claimed.record), message="no answer")
    assert (await asyncio.wait_for(running, 3))["status"] == "turn"


async def test_two_hundred_waiters_are_one_reader(one_slot: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bench = Bench(one_slot.emu, one_slot.folder, pytest.MonkeyPatch())
    bench.connect(max_concurrency=1)
    try:
        hold(bench)
        tickets = [ticket(bench, f"waiter-{number}") for number in range(200)]
        bench.emu.add_fault("query:status,status=generating,times=0")
        statements: list[str] = []

        def count(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        engine = database_for(bench.ledger_url)._engine
        sql_event.listen(engine, "before_cursor_execute", count)
        began = time.monotonic()
        waits = [asyncio.create_task(first_event(trigger(bench, each), 3.0)) for each in tickets]
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        seconds = time.monotonic() - began
        sql_event.remove(engine, "before_cursor_execute", count)
        assert {type(each) for each in outcomes} == {TimeoutError}
        looks = sum("jimeng_waiters" in each for each in statements)
        assert 2 <= looks <= seconds / watch.FRESH_SECONDS + 2
        assert len(statements) <= 8 * looks
        assert not any(each.split()[0] in ("INSERT", "UPDATE", "DELETE") for each in statements)
        assert bench.queries <= 3
    finally:
        bench.patch.undo()


async def test_nothing_blocks_the_loop_while_the_ledger_and_the_vendor_are_slow(
    one_slot: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(one_slot)
    head = ticket(one_slot, "first")
    one_slot.emu.add_fault("query:delay,seconds=1,times=0")
    usual = type(one_slot.ledger).slot_view
    reads: list[str] = []

    def slowly(self: Any, *args: Any) -> Any:
        reads.append(threading.current_thread().name)
        time.sleep(0.2)
        return usual(self, *args)

    monkeypatch.setattr(type(one_slot.ledger), "slot_view", slowly)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.05
    slow: list[str] = []
    for _ in range(4):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "asyncio"):
            await stays_silent(trigger(one_slot, head), 2.5)
        slow = [each.getMessage() for each in caplog.records if "took" in each.getMessage()]
        if not slow:
            break
    assert slow == []
    assert one_slot.queries >= 1
    assert all(name.startswith("jimeng-ledger-reader") for name in reads)
