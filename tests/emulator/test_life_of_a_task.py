# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import re

import pytest
import requests

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

from tests.emulator.caller import Caller, pair


@pytest.fixture
def slow() -> object:
    with Emulator(EmulatorConfig(duration=1000.0, queue_share=0.1, concurrency=None)) as running:
        yield running


def test_a_task_is_queued_then_generated_then_done(slow: Emulator) -> None:
    caller = Caller(slow)
    task_id = caller.created()
    assert caller.status(task_id) == "in_queue"
    slow.advance(101)
    assert caller.status(task_id) == "generating"
    slow.advance(898)
    assert caller.status(task_id) == "generating"
    slow.advance(2)
    answer = caller.query(task_id).json()
    assert answer["code"] == 10000
    assert answer["data"]["status"] == "done"
    assert answer["data"]["video_url"].startswith(f"{slow.url}/results/{task_id}.mp4?")


def test_task_and_request_ids_look_like_the_vendors(caller: Caller) -> None:
    ids = {caller.created(str(number)) for number in range(20)}
    assert len(ids) == 20
    for task_id in ids:
        assert re.fullmatch(r"[1-9]\d{18}", task_id)
        assert int(float(task_id)) != int(task_id), "a float must lose digits of it"
    envelope = caller.submit().json()
    assert re.fullmatch(r"\d{14}[0-9A-F]{20}", envelope["request_id"])
    assert re.fullmatch(r"\d+\.\d{6}ms", envelope["time_elapsed"])


def test_a_task_is_forgotten_after_twelve_hours(slow: Emulator) -> None:
    caller = Caller(slow)
    task_id = caller.created()
    slow.advance(12 * 3600 - 1)
    assert caller.status(task_id) == "done"
    slow.advance(2)
    assert caller.status(task_id) == "not_found"
    assert slow.ledger()["totals"]["accepted"] == 1


def test_a_task_is_known_under_its_own_req_key_only(caller: Caller) -> None:
    task_id = caller.created()
    other = caller.query(task_id, MOTION_IMITATION_2).json()
    assert other["data"] == {"status": "not_found"}
    assert caller.query("7392616336519610409").json()["data"] == {"status": "not_found"}
    assert caller.query(task_id).json()["data"]["status"] == "done"


def test_a_result_url_lives_for_an_hour_and_a_new_query_gives_a_new_one(slow: Emulator) -> None:
    caller = Caller(slow)
    task_id = caller.created()
    slow.advance(1001)
    url = caller.result_url(task_id)
    assert requests.get(url, timeout=10).status_code == 200
    slow.advance(3599)
    assert requests.get(url, timeout=10).status_code == 200
    slow.advance(2)
    expired = requests.get(url, timeout=10)
    assert expired.status_code == 403
    assert b"AccessDenied" in expired.content
    fresh = caller.result_url(task_id)
    assert fresh != url
    assert requests.get(fresh, timeout=10).status_code == 200


@pytest.mark.parametrize("part", ["x-expires=", "x-nonce=", "x-signature=", "/results/"])
def test_a_tampered_result_url_is_refused(caller: Caller, part: str) -> None:
    first, second = caller.created("a"), caller.created("b")
    url = caller.result_url(first)
    if part == "/results/":
        spoiled = url.replace(first, second)
    else:
        spoiled = url.replace(part, f"{part}9")
    assert spoiled != url
    assert requests.get(spoiled, timeout=10).status_code == 403
    assert requests.get(url.partition("?")[0], timeout=10).status_code == 403
    assert requests.get(url, timeout=10).status_code == 200


def test_speed_scales_processing_and_both_expiries() -> None:
    config = EmulatorConfig(duration=1000.0, speed=1000.0, concurrency=None)
    with Emulator(config) as emulator:
        caller = Caller(emulator)
        task_id = caller.created()
        task = emulator.ledger()["tasks"][task_id]
        assert task["done_at"] - task["submitted_at"] == pytest.approx(1.0, abs=1e-3)
        url = caller.result_url(task_id)
        emulator.advance(3.7)
        assert requests.get(url, timeout=10).status_code == 403
        emulator.advance(43.2)
        assert caller.status(task_id) == "not_found"


def test_the_default_duration_follows_the_length_of_the_clip() -> None:
    with Emulator(EmulatorConfig(clip_seconds=10.0, concurrency=None)) as emulator:
        task_id = Caller(emulator).created()
        task = emulator.ledger()["tasks"][task_id]
        assert task["planned"] == 180.0


def test_jitter_spreads_durations_and_a_seed_repeats_them() -> None:
    def durations() -> list[float]:
        config = EmulatorConfig(duration=100.0, jitter=0.3, concurrency=None, seed=7)
        with Emulator(config) as emulator:
            caller = Caller(emulator)
            for number in range(10):
                caller.created(str(number))
            return [task["planned"] for task in emulator.ledger()["tasks"].values()]

    first = durations()
    assert durations() == first
    assert len(set(first)) == 10
    assert all(70.0 <= value <= 130.0 for value in first)


@pytest.mark.parametrize(
    "body",
    [
        pair("a"),
        {
            "req_key": MOTION_IMITATION_2,
            "image_urls": ["https://example.com/a.png"],
            "video_url": "https://example.com/a.mp4",
        },
        {"req_key": "jimeng_t2i_v40", "prompt": "a cat"},
    ],
)
def test_every_form_of_body_is_served(caller: Caller, body: dict[str, object]) -> None:
    answer = caller.call("CVSync2AsyncSubmitTask", body)
    task_id = answer.json()["data"]["task_id"]
    assert caller.query(task_id, str(body["req_key"])).json()["data"]["status"] == "done"


def test_a_query_may_carry_req_json(caller: Caller) -> None:
    task_id = caller.created()
    answer = caller.query(task_id, MOTION_IMITATION, req_json='{"aigc_meta": {"content_producer": "me"}}')
    assert answer.json()["data"]["status"] == "done"
