# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The trigger of a task: it watches, and may be restarted, doubled or killed at any moment."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest

from airflow_provider_jimeng.client.aio import AsyncClient
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.hooks.jimeng import JimengHook, iso
from airflow_provider_jimeng.triggers import jimeng as module
from airflow_provider_jimeng.triggers.holders import watched_here
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger
from airflow_provider_jimeng.triggers.references import TaskReference, reference_of

from tests.legs import Bench, DagRun, Deferred, first_event, quick, walk


def references(bench: Bench, count: int) -> list[dict[str, Any]]:
    bench.emu.configure(concurrency=None)
    bench.connect(max_concurrency=100)
    return [bench.submit(DagRun(f"run-{number}"), variant=number) for number in range(count)]


def deferred(bench: Bench) -> tuple[Any, Deferred]:
    instance = bench.imitation()
    left = instance.leg()
    assert isinstance(left, Deferred)
    return instance, left


@pytest.mark.parametrize(
    "options",
    [{}, {"deadline": "2026-11-22T12:00:00+00:00"}, {"poll_interval": 2.5, "wait_for": "any"}, {"tasks": []}],
)
def test_a_trigger_is_the_same_after_its_way_through_the_database(options: dict[str, Any]) -> None:
    task = {"task_id": "7710993105735127851", "req_key": "m", "submitted_at": "2026-11-22T10:00:00+00:00"}
    first = JimengTaskTrigger(**{"tasks": [task], "volcengine_conn_id": "c", **options}).serialize()
    again = JimengTaskTrigger(**json.loads(json.dumps(first[1]))).serialize()
    assert again == first
    assert first[0] == "airflow_provider_jimeng.triggers.jimeng.JimengTaskTrigger"


def test_a_deferral_leaves_references_and_no_secret(bench: Bench) -> None:
    bench.patch.setattr(bench, "image", bench.image + "?X-Amz-Signature=5ecre7&X-Amz-Credential=who")
    _, left = deferred(bench)
    classpath, kwargs = left.trigger().serialize()
    assert (classpath, kwargs) == (left.classpath, json.loads(left.kwargs))
    assert len(left.kwargs) < 800
    for value in walk(kwargs):
        assert "?" not in str(value)
    for secret in (bench.emu.config.secret_key, "5ecre7", "X-Amz", bench.emu.config.access_key):
        assert secret not in left.kwargs


async def test_two_of_one_trigger_both_tell_and_change_nothing(bench: Bench) -> None:
    _, left = await asyncio.to_thread(deferred, bench)
    before = bench.rows()
    events = await asyncio.gather(first_event(left.trigger()), first_event(left.trigger()))

    assert [each["status"] for each in events] == ["finished", "finished"]
    assert bench.rows() == before, "a trigger never writes"
    assert bench.accepted == 1
    assert not +watched_here


def test_both_events_of_a_doubled_trigger_lead_to_one_result(bench: Bench) -> None:
    instance, left = deferred(bench)
    events = [instance.watch(left), instance.watch(left)]
    results = [instance.leg(left, event) for event in events]
    assert results[0]["sha256"] == results[1]["sha256"]
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


async def test_a_cancelled_trigger_is_restarted_from_its_arguments(bench: Bench) -> None:
    # However slow the machine is, nothing ends before it is cancelled.
    bench.emu.configure(duration=3600.0)
    _, left = await asyncio.to_thread(deferred, bench)
    running = asyncio.create_task(first_event(left.trigger()))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not +watched_here

    bench.emu.advance(7200.0)
    assert (await first_event(left.trigger()))["status"] == "finished"
    assert bench.accepted == 1


async def test_on_kill_only_logs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    _, left = await asyncio.to_thread(deferred, bench)
    before, totals = bench.rows(), bench.emu.ledger()["totals"]
    trigger = left.trigger()
    said: list[str] = []
    trigger.log.warning = lambda words, *args: said.append(words % args)
    await trigger.on_kill()

    assert bench.rows() == before
    assert bench.emu.ledger()["totals"]["queries"] == totals["queries"]
    assert before[0].task_id is not None
    assert before[0].task_id in said[0]


async def test_all_waits_for_the_last_and_any_for_the_first(bench: Bench) -> None:
    bench.emu.add_fault("done:50511,skip=2")
    tasks = await asyncio.to_thread(references, bench, 3)
    everything = await first_event(JimengTaskTrigger(tasks=tasks))
    assert everything["status"] == "finished"
    assert [one["outcome"] for one in everything["tasks"]] == ["succeeded", "succeeded", "failed"]
    assert [one["code"] for one in everything["tasks"]] == [10000, 10000, 50511]

    bench.emu.configure(duration=30.0)
    open_task = await asyncio.to_thread(bench.submit, DagRun("late"), variant=9)
    one = await first_event(JimengTaskTrigger(tasks=[open_task, tasks[0]], wait_for="any"))
    assert [each["task_id"] for each in one["tasks"]] == [tasks[0]["task_id"]]
    assert not +watched_here


async def test_no_tasks_are_over_at_once() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_VOLCENGINE_DEFAULT", '{"login": "a", "password": "b"}')
        assert (await first_event(JimengTaskTrigger(tasks=[])))["status"] == "finished"


async def test_the_deadline_is_the_wall_clocks_and_ends_a_hold_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.emu.configure(duration=30.0)
    (task,) = await asyncio.to_thread(references, bench, 1)
    bench.emu.add_fault("query:gateway,code=100009,http_status=401,times=0,retry_after=20")
    quick(monkeypatch, hold_base=20.0, hold_cap=20.0)
    deadline = iso(time.time() + 0.6)
    event = await first_event(JimengTaskTrigger(tasks=[task], deadline=deadline), 5.0)
    assert event["status"] == "deadline"
    assert event["deadline"] == deadline


async def test_a_connection_that_cannot_be_read_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTION_RETRY_SECONDS", 0.1)
    (task,) = await asyncio.to_thread(references, bench, 1)
    monkeypatch.setenv("AIRFLOW_CONN_VOLCENGINE_DEFAULT", '{"login": "", "password": ""}')
    running = asyncio.create_task(first_event(JimengTaskTrigger(tasks=[task])))
    await asyncio.sleep(0.3)
    assert not running.done()
    bench.connect()
    assert (await running)["status"] == "finished"


@pytest.mark.parametrize("lacking", ["CA bundle", "proxy"])
async def test_what_only_the_triggerer_lacks_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    monkeypatch.setattr(module, "CONNECTION_RETRY_SECONDS", 0.1)
    (task,) = await asyncio.to_thread(references, bench, 1)
    if lacking == "proxy":
        monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    else:
        bench.connect(host=bench.emu.url.replace("http:", "https:"), verify=f"{bench.folder}/corp.pem")
    trigger = JimengTaskTrigger(tasks=[task])
    said: list[str] = []
    monkeypatch.setattr(trigger.log, "error", lambda words, *args: said.append(words % args))
    running = asyncio.create_task(first_event(trigger))
    await asyncio.sleep(1.0)
    assert not running.done()
    assert len(said) == 1
    assert "can't be asked from here" in said[0]
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    bench.connect(max_concurrency=100)
    event = await running
    assert (event["status"], event["tasks"][0]["outcome"]) == ("finished", "succeeded")


@pytest.mark.parametrize("trouble", [{"proxies": {"http": "ftp://nowhere"}}, {"login": ""}])
async def test_the_deadline_ends_a_wait_in_which_nothing_can_be_asked(
    bench: Bench, trouble: dict[str, Any]
) -> None:
    (task,) = await asyncio.to_thread(references, bench, 1)
    bench.connect(**trouble)
    deadline = iso(time.time() + 0.5)
    event = await first_event(JimengTaskTrigger(tasks=[task], deadline=deadline), 5.0)
    assert (event["status"], event["deadline"]) == ("deadline", deadline)
    assert [each["outcome"] for each in event["tasks"]] == ["deadline"]


async def test_another_account_is_not_asked_about_the_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = await asyncio.to_thread(references, bench, 1)
    trigger = JimengTaskTrigger(tasks=[task])
    trigger._client = AsyncClient(JimengHook().settings)
    bench.connect(account="other", login="AKOTHER")
    await trigger._renew()
    assert trigger._client.settings.account == "tests"


async def test_an_unknown_status_is_told_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = await asyncio.to_thread(references, bench, 1)
    bench.emu.add_fault("query:status,status=reticulating,times=4")
    trigger = JimengTaskTrigger(tasks=[task])
    said: list[str] = []
    monkeypatch.setattr(trigger.log, "warning", lambda words, *args: said.append(words % args))
    assert (await first_event(trigger))["status"] == "finished"
    assert len(said) == 1
    assert "reticulating" in said[0]


async def test_nothing_blocks_the_loop_against_a_slow_vendor(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = await asyncio.to_thread(references, bench, 20)
    bench.emu.add_fault("query:delay,seconds=1,times=0")
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.05
    # A call that blocks does so every time; a machine that is busy with something else doesn't.
    slow: list[str] = []
    for _ in range(4):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "asyncio"):
            began = time.monotonic()
            event = await first_event(JimengTaskTrigger(tasks=tasks))
            assert time.monotonic() - began < 8.0
        assert [one["outcome"] for one in event["tasks"]] == ["succeeded"] * 20
        slow = [each.getMessage() for each in caplog.records if "took" in each.getMessage()]
        if not slow:
            break
    assert slow == []


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "task must be"),
        ("7710993105735127851", "task must be"),
        ([], "task must be"),
        ({}, "task_id, req_key"),
        ({"task_id": "7"}, "req_key"),
        ({"task_id": 7.5, "req_key": "m"}, "task.task_id"),
        ({"task_id": "7", "req_key": "a b"}, "task.req_key"),
        ({"task_id": "7", "req_key": "m", "submitted_at": "yesterday"}, "task.submitted_at"),
        ({"task_id": "7", "req_key": "m", "submitted_at": [1]}, "task.submitted_at"),
        ({"task_id": "None", "req_key": "m"}, "task.task_id"),
        ({"task_id": "7", "req_key": "None"}, "task.req_key"),
    ],
)
def test_what_is_no_reference_is_refused_by_its_field(value: Any, field: str) -> None:
    with pytest.raises(JimengInputError, match=field):
        reference_of(value)


def test_a_reference_keeps_what_is_known() -> None:
    value = {"task_id": 7710993105735127851, "req_key": "m", "submitted_at": 1.5, "expected_seconds": 3}
    made = reference_of({**value, "video_url": "https://a.example/?secret"})
    assert made == TaskReference("7710993105735127851", "m", None, "1970-01-01T00:00:01.500000+00:00", 3.0)
    assert reference_of(made) is made
    assert reference_of(made.to_dict()) == made
    assert made.submitted_epoch == 1.5
