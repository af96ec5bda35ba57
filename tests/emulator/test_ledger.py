# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The numbers that everything else is judged by."""

from __future__ import annotations

import json

import pytest
import requests

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.emulator.ledger import latency, slots
from airflow_provider_jimeng.emulator.tasks import Task

from tests.emulator.caller import Caller, pair


def task(number: int, submitted: float, done: float | None, **changes: object) -> Task:
    fields: dict[str, object] = {
        "task_id": str(number),
        "number": number,
        "req_key": "k",
        "body": {},
        "content": {},
        "content_key": "c",
        "request_id": "r",
        "submitted_at": submitted,
        "queue_until": submitted,
        "planned": 1.0,
        "done_at": done,
        **changes,
    }
    return Task(**fields)  # type: ignore[arg-type]


def test_every_submit_is_either_accepted_or_refused(caller: Caller) -> None:
    emulator = caller.emulator
    emulator.configure(concurrency=2, duration=1000.0)
    for spec in (
        "submit:50500,created=true",
        "submit:50500",
        "submit:reset,created=true,skip=0",
        "submit:html",
    ):
        emulator.add_fault(spec)
    sent = 0
    for number in range(8):
        sent += 1
        try:
            caller.submit(str(number))
        except requests.ConnectionError:
            continue
    sent += 2
    caller.call("CVSync2AsyncSubmitTask", b"{}")
    Caller(emulator, secret_key="x").submit()
    ledger = emulator.ledger()
    assert ledger["totals"]["submits"] == sent
    assert ledger["totals"]["accepted"] + ledger["totals"]["refused"] == sent
    assert ledger["totals"]["accepted"] == len(ledger["tasks"]) == 2
    assert ledger["refused"] == {"50500": 1, "html-502": 1, "50430": 4, "50201": 1, "100010": 1}
    assert sorted(entry["answered"] for entry in ledger["tasks"].values()) == ["50500", "reset"]


def test_accepted_submits_are_counted_per_content(caller: Caller) -> None:
    first, again, other = caller.created("a"), caller.created("a"), caller.created("b")
    ledger = caller.emulator.ledger()
    entries = {tuple(entry["task_ids"]): entry for entry in ledger["contents"].values()}
    assert {ids: entry["accepted"] for ids, entry in entries.items()} == {(first, again): 2, (other,): 1}
    content = entries[first, again]["content"]
    assert content == {**pair("a"), "image_url": "https://example.com/a.png"}
    assert len(ledger["paid_more_than_once"]) == 1
    assert ledger["paid_more_than_once"] == [ledger["tasks"][first]["content_key"]]


def test_a_failed_task_is_not_billed_so_a_second_attempt_is_not_paid_twice(caller: Caller) -> None:
    caller.emulator.add_fault("done:50511")
    caller.created("a")
    caller.created("a")
    ledger = caller.emulator.ledger()
    (entry,) = ledger["contents"].values()
    assert entry["accepted"] == 2
    assert len(entry["billable_task_ids"]) == 1
    assert ledger["paid_more_than_once"] == []


def test_no_secret_of_an_input_url_is_shown_anywhere(caller: Caller) -> None:
    task_id = caller.created("a")
    url = caller.emulator.url
    for path in ("/", f"/_emulator/tasks/{task_id}", "/_emulator/ledger", "/_emulator/config"):
        text = requests.get(url + path, timeout=10).text
        assert "X-Tos-Signature" not in text
        assert caller.emulator.config.secret_key not in text


def test_queries_and_the_first_notice_are_told_per_task() -> None:
    with Emulator(EmulatorConfig(duration=100.0, concurrency=None)) as emulator:
        caller = Caller(emulator)
        watched, forgotten = caller.created("a"), caller.created("b")
        caller.status(watched)
        emulator.advance(110)
        caller.status(watched)
        emulator.advance(50)
        caller.status(watched)
        ledger = emulator.ledger()
        assert ledger["totals"]["queries"] == 3
        assert ledger["tasks"][watched]["queries"] == 3
        assert 10.0 <= ledger["tasks"][watched]["noticed_after"] < 15.0
        assert ledger["tasks"][forgotten]["noticed_after"] is None
        assert ledger["totals"]["noticed"] == 1
        assert ledger["latency"]["count"] == 1
        assert ledger["latency"]["max"] == ledger["tasks"][watched]["noticed_after"]


def test_slots_over_time_are_derived_from_the_tasks() -> None:
    tasks = [task(1, 0.0, 10.0), task(2, 5.0, 20.0), task(3, 10.0, 12.0), task(4, 30.0, None)]
    usage = slots(tasks, now=40.0)["k"]
    assert [(event["time"], event["in_use"]) for event in usage["events"]] == [
        (0.0, 1),
        (5.0, 2),
        (10.0, 1),
        (10.0, 2),
        (12.0, 1),
        (20.0, 0),
        (30.0, 1),
    ]
    assert usage["max_in_use"] == 2
    assert usage["in_use"] == 1
    assert usage["busy_seconds"] == 10 + 15 + 2 + 10


def test_a_slot_that_is_to_be_freed_in_the_future_is_in_use() -> None:
    assert slots([task(1, 0.0, 10.0)], now=4.0)["k"]["in_use"] == 1
    assert slots([task(1, 0.0, 0.0)], now=4.0)["k"] == {
        "in_use": 0,
        "max_in_use": 0,
        "busy_seconds": 0.0,
        "events": [],
    }


def test_latency_is_summed_up() -> None:
    tasks = [task(number, 0.0, 10.0, first_noticed=10.0 + number) for number in range(1, 21)]
    assert latency([*tasks, task(21, 0.0, 10.0)]) == {
        "count": 20,
        "mean": pytest.approx(10.5),
        "median": 10.0,
        "p95": 19.0,
        "max": 20.0,
    }
    assert latency([])["count"] == 0


def test_the_ledger_is_json_over_http_and_can_leave_out_the_tasks(caller: Caller) -> None:
    task_id = caller.created("a")
    url = f"{caller.emulator.url}/_emulator/ledger"
    whole = requests.get(url, timeout=10).json()
    assert list(whole["tasks"]) == [task_id]
    assert whole["slots"][MOTION_IMITATION]["in_use"] == 0
    brief = requests.get(f"{url}?tasks=0", timeout=10).json()
    assert "tasks" not in brief
    assert brief["totals"] == whole["totals"]
    assert json.dumps(caller.emulator.ledger()["contents"]) == json.dumps(whole["contents"])


def test_reset_forgets_everything_and_voids_old_urls(caller: Caller) -> None:
    emulator = caller.emulator
    task_id = caller.created("a")
    url = caller.result_url(task_id)
    emulator.add_fault("query:html")
    emulator.reset()
    assert emulator.ledger()["totals"]["submits"] == 0
    assert emulator.faults() == []
    assert requests.get(url, timeout=10).status_code == 403
    assert caller.status(task_id) == "not_found"
    assert caller.created("a") != task_id
