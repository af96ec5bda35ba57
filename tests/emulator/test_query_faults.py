# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Each fault of a query and of a verdict: the task itself is never harmed by what a query is told."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

from tests.emulator.caller import Caller, error_of
from tests.emulator.test_submit_faults import (
    is_code,
    is_data_null,
    is_empty,
    is_gateway,
    is_html,
    is_redirect,
    is_truncated,
)


def has_status(word: str) -> Any:
    def check(answer: requests.Response) -> None:
        assert answer.status_code == 200
        assert answer.json()["code"] == 10000
        assert answer.json()["data"] == {"status": word}

    return check


FAULTS: dict[str, tuple[Any, str]] = {
    "query:50500": (is_code(50500, 500), "50500"),
    "query:50501": (is_code(50501, 500), "50501"),
    "query:50429": (is_code(50429, 429), "50429"),
    "query:50430": (is_code(50430, 429), "50430"),
    "query:50215": (is_code(50215, 400), "50215"),
    "query:50400": (is_code(50400, 401), "50400"),
    "query:gateway": (is_gateway(401, 100009, "InvalidAccessKey"), "gateway-100009"),
    "query:gateway,code=100026": (is_gateway(401, 100026, "InvalidSecretToken"), "gateway-100026"),
    "query:gateway,code=100006": (is_gateway(400, 100006, "InvalidTimestamp"), "gateway-100006"),
    "query:gateway,code=100013": (is_gateway(403, 100013, "AccessDenied"), "gateway-100013"),
    "query:wrapped": (is_gateway(400, 50215, "50215"), "wrapped-50215"),
    "query:html,http_status=502": (is_html(502), "html-502"),
    "query:html,http_status=504": (is_html(504), "html-504"),
    "query:empty": (is_empty, "empty"),
    "query:truncated": (is_truncated, "truncated"),
    "query:data-null": (is_data_null, "data-null"),
    "query:status": (has_status("reticulating"), "status"),
    "query:status,status=not_found": (has_status("not_found"), "status"),
    "query:status,status=expired": (has_status("expired"), "status"),
    "query:status,status=in_queue": (has_status("in_queue"), "status"),
    "query:no-url": (has_status("done"), "no-url"),
    "query:redirect,location=https://elsewhere.invalid/": (is_redirect, "redirect"),
}


@pytest.mark.parametrize("spec", FAULTS)
def test_a_struck_query_is_answered_and_counted_and_harms_no_task(caller: Caller, spec: str) -> None:
    check, label = FAULTS[spec]
    task_id = caller.created()
    caller.emulator.add_fault(spec)
    check(caller.query(task_id))
    struck = caller.emulator.ledger()
    assert struck["queries_refused"] == {label: 1}
    assert struck["tasks"][task_id]["first_noticed"] is None
    assert caller.status(task_id) == "done"
    task = caller.emulator.ledger()["tasks"][task_id]
    assert (task["queries"], task["queries_refused"]) == (2, 1)
    assert task["first_noticed"] is not None


@pytest.mark.parametrize(
    ("kind", "expected"), [("reset", requests.ConnectionError), ("hang", requests.Timeout)]
)
def test_a_query_may_get_no_answer_at_all(caller: Caller, kind: str, expected: type[Exception]) -> None:
    task_id = caller.created()
    caller.emulator.add_fault("query", kind)
    with pytest.raises(expected):
        caller.query(task_id, timeout=0.3)
    assert caller.emulator.ledger()["tasks"][task_id]["first_noticed"] is None
    assert caller.status(task_id) == "done"


@pytest.mark.parametrize("kind", ["delay", "drip"])
def test_a_slow_query_ends_with_the_genuine_answer(caller: Caller, kind: str) -> None:
    task_id = caller.created()
    caller.emulator.add_fault("query", kind, seconds=0.2)
    started = time.monotonic()
    assert caller.status(task_id) == "done"
    assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize(
    ("spec", "code", "status"), [("", 50215, None), (",status=not_found", 10000, "not_found")]
)
def test_a_race_lasts_for_the_first_seconds_of_a_task(spec: str, code: int, status: str | None) -> None:
    with Emulator(EmulatorConfig(duration=5.0, concurrency=None)) as emulator:
        emulator.add_fault(f"query:race,seconds=20{spec}")
        caller = Caller(emulator)
        task_id = caller.created()
        for _ in range(3):
            answer = caller.query(task_id).json()
            assert answer["code"] == code
            assert (answer["data"] or {}).get("status") == status
        emulator.advance(21)
        assert caller.status(task_id) == "done"
        assert emulator.ledger()["tasks"][task_id]["queries_refused"] == 3


def test_a_race_does_not_hit_a_task_that_never_was(caller: Caller) -> None:
    caller.emulator.add_fault("query:race")
    assert caller.query("7392616336519610409").json()["data"] == {"status": "not_found"}


def test_no_url_waits_for_a_task_that_is_done() -> None:
    with Emulator(EmulatorConfig(duration=100.0, concurrency=None)) as emulator:
        emulator.add_fault("query:no-url")
        caller = Caller(emulator)
        task_id = caller.created()
        assert caller.status(task_id) == "in_queue"
        emulator.advance(101)
        assert caller.query(task_id).json()["data"] == {"status": "done"}
        assert caller.query(task_id).json()["data"]["video_url"]


@pytest.mark.parametrize(
    ("code", "http_status"),
    [
        (50500, 500),
        (50501, 500),
        (50430, 429),
        (50411, 400),
        (50511, 400),
        (50215, 400),
        (60102, 400),
        (51234, 400),
    ],
)
def test_a_verdict_is_final_and_shows_when_the_task_is_done(code: int, http_status: int) -> None:
    with Emulator(EmulatorConfig(duration=100.0, concurrency=None)) as emulator:
        emulator.add_fault(f"done:{code}")
        caller = Caller(emulator)
        failing, fine = caller.created("a"), caller.created("b")
        assert caller.status(failing) == "in_queue"
        emulator.advance(101)
        for _ in range(2):
            answer = caller.query(failing)
            assert answer.status_code == http_status
            assert answer.json()["code"] == answer.json()["status"] == code
            assert answer.json()["data"] == {"status": "done"}
        assert caller.query(fine).json()["code"] == 10000
        ledger = emulator.ledger()
        assert ledger["tasks"][failing]["verdict"] == code
        assert ledger["tasks"][failing]["first_noticed"] is not None
        assert ledger["totals"]["succeeded"] == 1
        assert ledger["totals"]["noticed"] == 2


def test_a_failed_task_has_no_result(caller: Caller) -> None:
    task_id = caller.created("a")
    url = caller.result_url(task_id)
    caller.emulator.add_fault("done:50511,message=Not this one")
    failed = caller.created("b")
    assert caller.query(failed).json()["message"] == "Not this one"
    assert requests.get(url.replace(task_id, failed), timeout=10).status_code == 403


def test_a_refused_signature_of_a_query_is_counted_as_one(caller: Caller) -> None:
    task_id = caller.created()
    stranger = Caller(caller.emulator, access_key="AKLTOTHER")
    assert error_of(stranger.query(task_id))[2] == "InvalidAccessKey"
    ledger = caller.emulator.ledger()
    assert ledger["queries_refused"] == {"100009": 1}
    assert ledger["totals"]["queries_of_unknown_tasks"] == 0
    assert ledger["tasks"][task_id]["queries"] == 0
