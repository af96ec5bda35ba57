# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A query on a bad network never ends a paid task, wherever it is cut and whatever answers it."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.api.models import MOTION_IMITATION, Observation
from airflow_provider_jimeng.client import aio, sync
from airflow_provider_jimeng.client.aio import AsyncClient, close_sessions
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.lifecycle.ensured import InHand
from airflow_provider_jimeng.lifecycle.harvest import record_verdict
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    decide_poll,
)

from tests.client.servers import (
    DONE,
    Behaviour,
    answering,
    closed_port,
    make_certificate,
    server_context,
    serving,
)
from tests.network.kit import Way, settings_to
from tests.network.odd import REDIRECTS, TELL_NOTHING
from tests.network.proxy import Proxy, Trouble
from tests.network.test_submit_troubles import HOLES, MOST_MEMORY

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.emulator import Emulator
    from airflow_provider_jimeng.ledger.records import TaskRecord

Ask = Callable[["AccountSettings", str], Awaitable[Observation]]


async def on_a_worker(settings: AccountSettings, task_id: str) -> Observation:
    return await asyncio.to_thread(SyncClient(settings).query, MOTION_IMITATION, task_id)


async def in_a_trigger(settings: AccountSettings, task_id: str) -> Observation:
    try:
        return await AsyncClient(settings).query(MOTION_IMITATION, task_id)
    finally:
        # The next query shall meet the next trouble, and not the connection that this one left open.
        await close_sessions()


#: A vendor that never got the whole question is the same vendor wherever it was cut; answers are not alike.
REQUEST_STEP = 8

both = pytest.mark.parametrize("ask", [on_a_worker, in_a_trigger])


@pytest.fixture(autouse=True)
async def _one_try_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    for client in (sync, aio):
        monkeypatch.setattr(client, "backoff_delay", lambda *_, **__: 0.0)
        monkeypatch.setattr(client, "QUERY_TRIES", 1)
    yield
    await close_sessions()


@pytest.fixture
def paid(way: Way, emu: Emulator) -> TaskRecord:
    """Return the row of a task that is done at the vendor."""
    emu.configure(duration=0.0)
    found = way.submit("one")
    assert isinstance(found, InHand)
    return found.record


def judged(observation: Observation, record: TaskRecord, state: PollState | None = None) -> PollDecision:
    # An hour after the submit: no grace covers a misunderstanding.
    now = (record.submitted_at or 0.0) + 3600.0
    _, decision = decide_poll(
        state or PollState(),
        observation,
        now=now,
        submitted_at=record.submitted_at,
        deadline=None,
        settings=PollSettings(),
    )
    return decision


async def expect_the_result_after_all(way: Way, proxy: Proxy, emu: Emulator, record: TaskRecord) -> None:
    proxy.trouble, proxy.vendor_port = Trouble(), emu.port
    decision = judged(await on_a_worker(way.settings, record.task_id or ""), record)
    assert decision.kind is PollKind.SUCCEEDED
    assert str(record_verdict(way.ledger, record, decision).state) == "succeeded"
    assert emu.accepted == 1


@both
async def test_a_query_cut_anywhere_ends_no_task(
    way: Way, proxy: Proxy, emu: Emulator, paid: TaskRecord, ask: Ask
) -> None:
    proxy.passages.clear()
    await ask(way.settings, paid.task_id or "")
    (whole,) = await asyncio.to_thread(proxy.settled)
    request, answer = len(whole.request), len(whole.answer)
    troubles = [Trouble(request_bytes=at) for at in range(0, request + 1, REQUEST_STEP)]
    troubles += [Trouble(answer_bytes=at) for at in range(answer + 8)]
    seen: Counter[PollKind] = Counter()
    for trouble in troubles:
        proxy.passages.clear()
        proxy.trouble = trouble
        decision = judged(await ask(way.settings, paid.task_id or ""), paid)
        (passage,) = await asyncio.to_thread(proxy.settled)
        whole_answer = passage.answer.endswith(b'ms"}')
        assert decision.kind is (PollKind.SUCCEEDED if whole_answer else PollKind.WAIT), passage.answer
        seen[decision.kind] += 1

    assert seen[PollKind.WAIT] > request // REQUEST_STEP + answer - 20
    assert seen[PollKind.SUCCEEDED] >= 1
    assert way.row("one") == paid
    await expect_the_result_after_all(way, proxy, emu, paid)


@both
@pytest.mark.parametrize("behave", TELL_NOTHING.values(), ids=TELL_NOTHING)
async def test_an_answer_that_is_not_the_vendors_means_wait(
    way: Way, proxy: Proxy, emu: Emulator, paid: TaskRecord, ask: Ask, behave: Behaviour
) -> None:
    with serving(behave) as server:
        proxy.vendor_port = server.port
        tracemalloc.start()
        began = time.monotonic()
        observation = await ask(way.settings, paid.task_id or "")
        took, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert server.requests
    decision = judged(observation, paid)
    assert decision.kind is PollKind.WAIT
    assert record_verdict(way.ledger, paid, decision) == paid
    assert took < way.settings.query_deadline + 1.5
    assert peak < MOST_MEMORY
    await expect_the_result_after_all(way, proxy, emu, paid)


@both
@pytest.mark.parametrize("status", REDIRECTS, ids=[each[:3] for each in REDIRECTS])
async def test_a_signed_query_follows_no_redirect(
    way: Way, proxy: Proxy, emu: Emulator, paid: TaskRecord, ask: Ask, status: str
) -> None:
    with serving(answering(DONE)) as target, serving(answering(b"", status, Location=target.url)) as server:
        proxy.vendor_port = server.port
        decision = judged(await ask(way.settings, paid.task_id or ""), paid)
        assert target.connections == 0
        assert len(server.requests) == 1
    assert decision.kind is PollKind.WAIT
    await expect_the_result_after_all(way, proxy, emu, paid)


@both
@pytest.mark.parametrize(
    "trouble",
    [*(trouble for trouble, _ in HOLES.values()), Trouble(pause=0.02)],
    ids=[*HOLES, "the answer drips"],
)
async def test_a_black_hole_holds_no_query_beyond_its_deadline(
    way: Way, proxy: Proxy, emu: Emulator, paid: TaskRecord, ask: Ask, trouble: Trouble
) -> None:
    short = replace(way.settings, connect_timeout=0.2, read_timeout=0.3)
    proxy.trouble = trouble
    began = time.monotonic()
    decision = judged(await ask(short, paid.task_id or ""), paid)
    assert time.monotonic() - began < short.query_deadline + 1.5
    assert decision.kind is PollKind.WAIT
    await expect_the_result_after_all(way, proxy, emu, paid)


@both
@pytest.mark.parametrize("trouble", ["self-signed", "expired", "no TLS at all", "no address", "refused"])
async def test_a_vendor_that_cannot_be_reached_means_wait(
    way: Way, proxy: Proxy, emu: Emulator, paid: TaskRecord, ask: Ask, trouble: str, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path, hours=-1.0 if trouble == "expired" else 1.0)
    with serving(answering(DONE), server_context(certificate, key)) as secure:
        settings = {
            "self-signed": settings_to(secure.url),
            "expired": settings_to(secure.url, verify=str(certificate)),
            "no TLS at all": settings_to(proxy.url.replace("http:", "https:"), verify=str(certificate)),
            "no address": settings_to("https://does-not-exist.invalid"),
            "refused": settings_to(f"http://127.0.0.1:{closed_port()}"),
        }[trouble]
        decision = judged(await ask(settings, paid.task_id or ""), paid)
        assert secure.requests == []
    assert decision.kind is PollKind.WAIT
    await expect_the_result_after_all(way, proxy, emu, paid)
