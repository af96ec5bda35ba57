# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import dataclasses
import re
import socket
import time
from typing import Any

import pytest
import requests

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.emulator.clock import Clock

from tests.emulator.caller import Caller


def post(emulator: Emulator, path: str, body: Any) -> requests.Response:
    return requests.post(f"{emulator.url}/_emulator/{path}", json=body, timeout=10)


def test_faults_are_switched_over_http(caller: Caller) -> None:
    emulator = caller.emulator
    url = f"{emulator.url}/_emulator/faults"
    body = ["submit:50500,created=true", {"on": "query", "kind": "html", "http_status": 504, "times": 2}]
    ids = post(emulator, "faults", body).json()["ids"]
    shown = requests.get(url, timeout=10).json()
    assert [fault["id"] for fault in shown] == ids
    second = {"id": ids[1], "on": "query", "kind": "html", "http_status": 504, "times": 2}
    assert shown[1] == {**second, "hits": 0, "spent": False}
    assert caller.submit().json()["code"] == 50500
    assert requests.get(url, timeout=10).json()[0]["spent"] is True
    assert requests.delete(f"{url}?id={ids[0]}", timeout=10).json() == {"removed": 1}
    assert requests.delete(url, timeout=10).json() == {"removed": 1}
    assert caller.submit().status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("faults", "nonsense", "on:kind"),
        ("faults", [7], "JSON object"),
        ("faults", {"on": "submit", "kind": "html", "x": 1}, "x:"),
        ("config", {"concurrency": -1}, "concurrency"),
        ("config", {"concurrency": True}, "concurrency"),
        ("config", {"speed": 0}, "speed"),
        ("config", {"duration": "long"}, "duration"),
        ("config", {"port": 1}, "port"),
        ("config", {"colour": 1}, "colour"),
        ("config", {"results": "none"}, "results"),
        ("config", {"inputs": "guess"}, "inputs"),
        ("config", {"jitter": 2}, "jitter"),
        ("config", {"secret_key": ""}, "secret_key"),
        ("advance", {"seconds": -1}, "seconds"),
        ("advance", {}, "seconds"),
    ],
)
def test_wrong_control_calls_are_told_what_is_wrong(
    emulator: Emulator, path: str, body: Any, word: str
) -> None:
    answer = post(emulator, path, body)
    assert answer.status_code == 400
    assert word in answer.json()["error"]


def test_settings_change_over_http(caller: Caller) -> None:
    emulator = caller.emulator
    answer = post(emulator, "config", {"concurrency": {"*": 1}, "duration": 100.0, "submit_qps": 50})
    assert answer.json()["concurrency"] == {"*": 1}
    assert requests.get(f"{emulator.url}/_emulator/config", timeout=10).json() == answer.json()
    assert "secret_key" not in answer.json()
    caller.created("a")
    assert caller.submit("b").json()["code"] == 50430
    assert post(emulator, "advance", {"seconds": 101}).status_code == 200
    caller.created("b")
    assert post(emulator, "reset", {}).status_code == 200
    assert emulator.accepted == 0


def test_settings_change_through_python(emulator: Emulator) -> None:
    emulator.configure(duration=5.0)
    with pytest.raises(ValueError, match="media_dir"):
        emulator.configure(media_dir="/tmp")


@pytest.mark.parametrize(
    "changes",
    [
        {"jitter": -0.1},
        {"queue_share": 1.5},
        {"url_lifetime": 0.0},
        {"submit_qps": 0},
        {"duration": -1.0},
        {"duration": float("nan")},
        {"render_workers": 0},
        {"access_key": ""},
        {"concurrency": {"a": 1.5}},
    ],
)
def test_a_wrong_setting_is_refused_from_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        EmulatorConfig(**changes)


def test_people_find_a_status_page_and_a_page_per_task(caller: Caller) -> None:
    emulator = caller.emulator
    emulator.add_fault("done:50411,match=b.png,message=<b>Pre Img</b>")
    task_id, failed = caller.created("a"), caller.created("b")
    caller.finished(failed)
    page = requests.get(emulator.url, timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    assert f"/_emulator/tasks/{task_id}" in page.text
    assert "No content paid more than once" in page.text
    shown = requests.get(f"{emulator.url}/_emulator/tasks/{task_id}", timeout=10).text
    source = re.search(r'<video src="([^"]+)"', shown)
    assert source is not None
    assert requests.get(source[1].replace("&amp;", "&"), timeout=10).status_code == 200
    sad = requests.get(f"{emulator.url}/_emulator/tasks/{failed}", timeout=10).text
    assert "<video" not in sad
    assert "&lt;b&gt;Pre Img" in sad
    caller.created("a")
    assert "1 contents paid more than once" in requests.get(emulator.url, timeout=10).text
    for path in ("/_emulator/tasks/7", "/elsewhere", "/_emulator/elsewhere"):
        assert requests.get(emulator.url + path, timeout=10).status_code == 404


def test_pages_need_nothing_from_elsewhere(caller: Caller) -> None:
    text = requests.get(caller.emulator.url, timeout=10).text
    assert "<script" not in text
    assert "<link" not in text
    assert "http://" not in text.replace(caller.emulator.url, "")


def test_shutdown_from_this_machine_ends_it() -> None:
    emulator = Emulator().start()
    host, port = "127.0.0.1", emulator.port
    assert post(emulator, "shutdown", {}).status_code == 200
    emulator.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, port), timeout=1)


def test_stopping_does_not_wait_for_calls_that_hang(caller: Caller) -> None:
    caller.emulator.add_fault("submit:hang,times=0")
    with pytest.raises(requests.Timeout):
        caller.submit(timeout=0.2)
    started = time.monotonic()
    caller.emulator.stop()
    assert time.monotonic() - started < 5
    caller.emulator.stop()


def test_it_is_bound_to_loopback_unless_told(emulator: Emulator) -> None:
    assert emulator.config.host == "127.0.0.1"
    assert emulator.url == f"http://127.0.0.1:{emulator.port}"


def test_a_taken_port_is_an_error_at_start(emulator: Emulator) -> None:
    with pytest.raises(OSError, match="in use"):
        Emulator(EmulatorConfig(port=emulator.port)).start()


def test_an_emulator_that_does_not_run_says_so(emulator: Emulator) -> None:
    idle = Emulator()
    with pytest.raises(RuntimeError, match="not running"):
        idle.ledger()
    with pytest.raises(RuntimeError, match="running already"):
        emulator.start()
    assert "secret_key" not in repr(EmulatorConfig())


def test_it_can_be_started_again_on_its_old_port(emulator: Emulator) -> None:
    port = emulator.port
    emulator.stop()
    with Emulator(dataclasses.replace(emulator.config, port=port)) as again:
        assert again.port == port
        Caller(again).created()


def test_the_clock_only_moves_forward() -> None:
    clock = Clock()
    before = clock.now()
    clock.advance(10.0)
    assert 10.0 <= clock.now() - before < 11.0
    assert abs(clock.host_time() - time.time()) < 1.0
    for seconds in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="forward"):
            clock.advance(seconds)
