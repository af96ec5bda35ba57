# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Each fault of a submit, as the caller sees it, and as the ledger counts it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests

from airflow_provider_jimeng.emulator import Emulator

from tests.emulator.caller import Caller, error_of


def is_code(code: int, status: int) -> Any:
    def check(answer: requests.Response) -> None:
        envelope = answer.json()
        assert answer.status_code == status
        assert envelope["code"] == code
        assert envelope["data"] is None

    return check


def is_gateway(status: int, code: int, name: str) -> Any:
    def check(answer: requests.Response) -> None:
        assert error_of(answer) == (status, code, name)

    return check


def is_html(status: int) -> Any:
    def check(answer: requests.Response) -> None:
        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"<html>" in answer.content

    return check


def is_empty(answer: requests.Response) -> None:
    assert answer.status_code == 503
    assert answer.content == b""


def is_truncated(answer: requests.Response) -> None:
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def is_data_null(answer: requests.Response) -> None:
    assert answer.status_code == 200
    assert answer.json()["code"] == 10000
    assert answer.json()["data"] is None


def is_number(answer: requests.Response) -> None:
    task_id = answer.json()["data"]["task_id"]
    assert isinstance(task_id, int)
    assert len(str(task_id)) == 19


def is_redirect(answer: requests.Response) -> None:
    assert answer.status_code == 307
    assert answer.headers["Location"] == "https://elsewhere.invalid/"


#: fault -> (what the caller sees, the ledger's name of it, whether a task was created)
FAULTS: dict[str, tuple[Any, str, bool]] = {
    "submit:50500": (is_code(50500, 500), "50500", False),
    "submit:50500,created=true": (is_code(50500, 500), "50500", True),
    "submit:50501": (is_code(50501, 500), "50501", False),
    "submit:50501,created=true": (is_code(50501, 500), "50501", True),
    "submit:50429": (is_code(50429, 429), "50429", False),
    "submit:50430": (is_code(50430, 429), "50430", False),
    "submit:50411": (is_code(50411, 400), "50411", False),
    "submit:50400": (is_code(50400, 401), "50400", False),
    "submit:59999,http_status=418": (is_code(59999, 418), "59999", False),
    "submit:gateway,code=100009": (is_gateway(401, 100009, "InvalidAccessKey"), "gateway-100009", False),
    "submit:gateway,code=100010": (is_gateway(401, 100010, "SignatureDoesNotMatch"), "gateway-100010", False),
    "submit:gateway,code=100006": (is_gateway(400, 100006, "InvalidTimestamp"), "gateway-100006", False),
    "submit:gateway,code=100006,http_status=403": (
        is_gateway(403, 100006, "InvalidTimestamp"),
        "gateway-100006",
        False,
    ),
    "submit:gateway,code=100016,created=true": (
        is_gateway(504, 100016, "InternalServiceTimeout"),
        "gateway-100016",
        True,
    ),
    "submit:gateway,code=100018": (is_gateway(429, 100018, "FlowLimitExceeded"), "gateway-100018", False),
    "submit:gateway,code=100099,name=Novel": (is_gateway(400, 100099, "Novel"), "gateway-100099", False),
    "submit:wrapped": (is_gateway(400, 50215, "50215"), "wrapped-50215", False),
    "submit:wrapped,code=50430": (is_gateway(429, 50430, "50430"), "wrapped-50430", False),
    "submit:html": (is_html(502), "html-502", False),
    "submit:html,http_status=504": (is_html(504), "html-504", False),
    "submit:html,http_status=504,created=true": (is_html(504), "html-504", True),
    "submit:empty": (is_empty, "empty", False),
    "submit:empty,created=true": (is_empty, "empty", True),
    "submit:truncated": (is_truncated, "truncated", False),
    "submit:truncated,created=true": (is_truncated, "truncated", True),
    "submit:data-null": (is_data_null, "data-null", False),
    "submit:data-null,created=true": (is_data_null, "data-null", True),
    "submit:task-id-number": (is_number, "task-id-number", True),
    "submit:redirect,location=https://elsewhere.invalid/": (is_redirect, "redirect", False),
    "submit:redirect,location=https://elsewhere.invalid/,created=true": (is_redirect, "redirect", True),
}


@pytest.mark.parametrize("spec", FAULTS)
def test_a_struck_submit_is_answered_and_counted(caller: Caller, spec: str) -> None:
    check, label, created = FAULTS[spec]
    caller.emulator.add_fault(spec)
    check(caller.submit())
    ledger = caller.emulator.ledger()
    assert ledger["totals"]["submits"] == 1
    assert ledger["totals"]["accepted"] == int(created)
    assert ledger["refused"] == ({} if created else {label: 1})
    assert [task["answered"] for task in ledger["tasks"].values()] == ([label] if created else [])
    assert caller.submit().status_code == 200, "a fault strikes once unless told"


@pytest.mark.parametrize("created", [False, True])
@pytest.mark.parametrize("kind", ["reset", "hang"])
def test_a_submit_may_get_no_answer_at_all(caller: Caller, kind: str, created: bool) -> None:
    caller.emulator.add_fault("submit", kind, created=created)
    expected = requests.ConnectionError if kind == "reset" else requests.Timeout
    with pytest.raises(expected):
        caller.submit(timeout=0.3)
    ledger = caller.emulator.ledger()
    assert ledger["totals"]["accepted"] == int(created)
    assert ledger["refused"] == ({} if created else {kind: 1})


def test_a_reset_is_a_reset_not_an_orderly_end(caller: Caller) -> None:
    caller.emulator.add_fault("submit", "reset")
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        caller.submit()


def test_a_hang_ends_after_its_time(caller: Caller) -> None:
    caller.emulator.add_fault("submit", "hang", seconds=0.2)
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        caller.submit()
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("created", [False, True])
def test_a_slow_submit_creates_its_task_before_or_after_the_wait(caller: Caller, created: bool) -> None:
    caller.emulator.add_fault("submit", "delay", seconds=30, created=created)
    with pytest.raises(requests.Timeout):
        caller.submit(timeout=0.3)
    assert caller.emulator.accepted == int(created)
    # Stopping ends the wait: the late task is then created after all, as it would be at the vendor.


def test_a_delay_ends_with_the_genuine_answer(caller: Caller) -> None:
    caller.emulator.add_fault("submit", "delay", seconds=0.2)
    started = time.monotonic()
    task_id = caller.created()
    assert time.monotonic() - started >= 0.2
    assert caller.emulator.ledger()["tasks"][task_id]["answered"] == "ok"


def test_an_answer_may_come_in_drops(caller: Caller) -> None:
    caller.emulator.add_fault("submit", "drip", seconds=0.3)
    started = time.monotonic()
    task_id = caller.created()
    assert time.monotonic() - started >= 0.25
    assert caller.status(task_id) == "done"


def test_a_fault_that_creates_needs_a_slot_and_waits_for_one() -> None:
    from airflow_provider_jimeng.emulator import EmulatorConfig

    with Emulator(EmulatorConfig(duration=100.0, concurrency=1)) as emulator:
        caller = Caller(emulator)
        caller.created("a")
        emulator.add_fault("submit:50500,created=true")
        assert caller.submit("b").json()["code"] == 50430
        assert emulator.faults()[0]["hits"] == 0
        emulator.advance(101)
        assert caller.submit("b").json()["code"] == 50500
        assert emulator.accepted == 2


def test_a_throttled_answer_may_say_when_to_come_back(caller: Caller) -> None:
    caller.emulator.add_fault("submit:50430,retry_after=7")
    assert caller.submit().headers["Retry-After"] == "7"


def test_an_answer_may_come_with_a_skewed_date(caller: Caller) -> None:
    caller.emulator.add_fault("submit:gateway,code=100006,skew=-86400")
    plain = caller.submit().headers["Date"]
    assert plain != caller.submit().headers["Date"]
