# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A connection that changes while tickets wait: other numbers of slots, rotated keys, another account."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.records import Claimed
from airflow_provider_jimeng.triggers import connections as module, slots
from airflow_provider_jimeng.triggers.connections import Connections
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger

from tests.legs import Bench, DagRun, Deferred, first_event
from tests.triggers.test_slot_trigger import hold, one_slot, request, stays_silent, ticket, trigger

if TYPE_CHECKING:
    import pytest

__all__ = ["one_slot"]

NEW = ("AKLTROTATED", "cm90YXRlZA==")


def rotate(bench: Bench, **extra: Any) -> None:
    """Let the vendor know new keys only, and write them into the connection."""
    bench.emu.configure(access_key=NEW[0], secret_key=NEW[1])
    bench.connect(login=NEW[0], password=NEW[1], **extra)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return when the connection was read, as it comes."""
    usual, reads = JimengHook.aget_settings, []

    async def counted(hook: JimengHook) -> Any:
        reads.append(time.monotonic())
        return await usual(hook)

    monkeypatch.setattr(JimengHook, "aget_settings", counted)
    return reads


async def test_a_raised_number_of_slots_reaches_tickets_that_wait(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.3)
    hold(one_slot)
    waits = [
        asyncio.create_task(first_event(trigger(one_slot, ticket(one_slot, key)))) for key in ("a", "b", "c")
    ]
    await asyncio.sleep(0.5)
    assert not any(each.done() for each in waits)
    one_slot.connect(max_concurrency=3)
    events = await asyncio.wait_for(asyncio.gather(*waits[:2]), 3.0)
    assert [each["status"] for each in events] == ["turn", "turn"]
    await asyncio.sleep(0.3)
    assert not waits[2].done(), "three slots, one of them held"
    waits[2].cancel()


async def test_a_lowered_number_of_slots_is_obeyed_by_tickets_that_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.3)
    bench.connect(max_concurrency=2)
    first = hold(bench)
    other = bench.ledger.claim(request(bench, "other", limit=2))
    assert isinstance(other, Claimed)
    waiting = asyncio.create_task(first_event(trigger(bench, ticket(bench, "a"))))
    await asyncio.sleep(0.2)
    bench.connect(max_concurrency=1)
    await asyncio.sleep(0.6)
    bench.ledger.record_failed(first, code=1, message="x", request_id=None, new_attempt=False)
    await asyncio.sleep(0.5)
    assert not waiting.done(), "its leg would be refused"
    waiting.cancel()


async def test_what_a_trigger_reads_at_its_start_is_known_to_all(one_slot: Bench) -> None:
    held = hold(one_slot)
    waiting = asyncio.create_task(first_event(trigger(one_slot, ticket(one_slot, "a"))))
    await asyncio.sleep(0.3)
    one_slot.connect(max_concurrency=2)
    await asyncio.sleep(0.5)
    assert not waiting.done(), "nobody has read it yet"
    await stays_silent(JimengTaskTrigger([{"task_id": held.task_id, "req_key": held.scope.req_key}]), 0.3)
    assert (await asyncio.wait_for(waiting, 2.0))["status"] == "turn"


async def test_two_hundred_waiters_read_the_connection_once_a_minute(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.5)
    hold(one_slot)
    head = ticket(one_slot, "a")
    reads = count_reads(monkeypatch)
    waits = [asyncio.create_task(first_event(trigger(one_slot, head))) for _ in range(200)]
    await asyncio.sleep(3.0)
    for each in waits:
        each.cancel()
    assert 201 <= len(reads) <= 207, "each at its start, and one of them each half second"


async def test_rotated_keys_are_read_anew_while_a_ticket_waits(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only slot is held by a task whose DAG has died: the head of the queue asks about it."""
    one_slot.emu.configure(duration=1.5)
    await asyncio.to_thread(one_slot.submit)
    left = await asyncio.to_thread(one_slot.imitation(DagRun("run-2"), variant=1).leg)
    assert isinstance(left, Deferred)
    waiting = asyncio.create_task(first_event(left.trigger()))
    await asyncio.sleep(0.3)
    rotate(one_slot, max_concurrency=1)
    event = await asyncio.wait_for(waiting, 8.0)
    assert (event["status"], len(event["over"])) == ("turn", 1)


async def test_keys_that_stay_refused_are_read_anew_with_a_pause(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "CONNECTION_RETRY_SECONDS", 1.0)
    hold(one_slot)
    one_slot.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 100")
    head = ticket(one_slot, "a")
    one_slot.emu.configure(access_key=NEW[0], secret_key=NEW[1])
    monkeypatch.setattr("airflow_provider_jimeng.triggers.holders.next_poll_delay", lambda **_: 0.1)
    reads = count_reads(monkeypatch)
    await stays_silent(trigger(one_slot, head), 2.5)
    refused = one_slot.emu.ledger()["totals"]["queries_refused"]
    assert refused >= 5
    assert 3 <= len(reads) <= 4, "at the start, at the first refusal, and each second after it"


async def test_another_accounts_keys_do_not_ask_about_this_ones_tasks(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.2)
    one_slot.emu.configure(duration=1.5)
    await asyncio.to_thread(one_slot.submit)
    left = await asyncio.to_thread(one_slot.imitation(DagRun("run-2"), variant=1).leg)
    assert isinstance(left, Deferred)
    waiting = asyncio.create_task(first_event(left.trigger()))
    await asyncio.sleep(0.1)
    # Its slots are no news for this account's tickets either.
    one_slot.connect(account="other", login="AKOTHER", password="b3RoZXI=", max_concurrency=5)
    await asyncio.sleep(0.8)
    assert not waiting.done()
    event = await asyncio.wait_for(waiting, 8.0)
    assert (event["status"], len(event["over"])) == ("turn", 1)
    assert one_slot.emu.ledger()["totals"]["queries_refused"] == 0


async def test_a_connection_that_cannot_be_read_anew_stays_what_it_was(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.2)
    hold(one_slot)
    waiting = asyncio.create_task(first_event(trigger(one_slot, ticket(one_slot, "a"))))
    await asyncio.sleep(0.1)
    with caplog.at_level(logging.WARNING, module.__name__):
        one_slot.connect(login="")
        await asyncio.sleep(1.0)
    assert len([each for each in caplog.records if "can't be read anew" in each.getMessage()]) == 1
    assert not waiting.done()
    one_slot.connect(max_concurrency=2)
    assert (await asyncio.wait_for(waiting, 3.0))["status"] == "turn"


async def test_a_slow_secrets_backend_is_asked_once_and_holds_nobody_up(
    one_slot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, going, asked = [0.0], asyncio.Event(), []
    book, settings = Connections(lambda: now[0]), JimengHook().settings

    async def slowly(hook: JimengHook) -> Any:
        asked.append(now[0])
        await going.wait()
        return settings

    monkeypatch.setattr(JimengHook, "aget_settings", slowly)
    book.note("c", settings)
    for now[0] in (1.0, 59.0, 61.0, 62.0, 122.0):
        assert book.after(settings, "c") is settings
        await asyncio.sleep(0)
    assert asked == [61.0]
    going.set()
    await asyncio.sleep(0.01)
    now[0] = 190.0
    book.after(settings, "c")
    await asyncio.sleep(0)
    assert asked == [61.0, 190.0]
