# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_jimeng.api.models import (
    MOTION_IMITATION,
    MOTION_IMITATION_2,
    RESULT_ACTION,
    SUBMIT_ACTION,
)
from airflow_provider_jimeng.emulator.params import Invalid, Submission, parse_query, parse_submit

from tests.emulator.caller import Caller, pair

ONE = pair("a")
TWO = {
    "req_key": MOTION_IMITATION_2,
    "image_urls": ["https://example.com/a.png"],
    "video_url": "https://example.com/a.mp4",
}
PICTURE: dict[str, Any] = {"req_key": "jimeng_t2i_v40", "prompt": "a cat"}

BAD_SUBMITS: dict[str, tuple[Any, int]] = {
    "no JSON": (b"{", 50200),
    "no object": (b"[]", 50200),
    "no UTF-8": (b'{"req_key": "\xff"}', 50200),
    "deep nesting": (b'{"a":' * 5000, 50200),
    "no req_key": ({**ONE, "req_key": None}, 50201),
    "an empty req_key": ({**ONE, "req_key": ""}, 50201),
    "a req_key of a wrong type": ({**ONE, "req_key": 7}, 50204),
    "a req_key that can't be": ({**ONE, "req_key": "jimeng dream"}, 50400),
    "no image": ({name: value for name, value in ONE.items() if name != "image_url"}, 50201),
    "no video": ({name: value for name, value in ONE.items() if name != "video_url"}, 50201),
    "an empty image": ({**ONE, "image_url": ""}, 50201),
    "an image of a wrong type": ({**ONE, "image_url": ["https://example.com/a.png"]}, 50204),
    "an image that is no URL": ({**ONE, "image_url": "a.png"}, 50200),
    "an image on a disk": ({**ONE, "image_url": "file:///etc/passwd"}, 50200),
    "a video without a host": ({**ONE, "video_url": "https:///a.mp4"}, 50200),
    "a video with a broken host": ({**ONE, "video_url": "https://[::1/a.mp4"}, 50200),
    "2.0 without image": ({**TWO, "image_urls": None}, 50201),
    "2.0 with the form of 1.0": ({**ONE, "req_key": MOTION_IMITATION_2}, 50201),
    "2.0 with a bare string": ({**TWO, "image_urls": "https://example.com/a.png"}, 50204),
    "2.0 with two images": ({**TWO, "image_urls": ["https://example.com/a.png"] * 2}, 50200),
    "2.0 with an empty list": ({**TWO, "image_urls": []}, 50200),
    "2.0 with no URL": ({**TWO, "image_urls": ["a.png"]}, 50200),
    "2.0 with numbers": ({**TWO, "image_urls": [1]}, 50204),
    "2.0 with a word for a switch": ({**TWO, "cut_result_first_second_switch": "no"}, 50204),
    "2.0 without video": ({**TWO, "video_url": None}, 50201),
    "a picture without words": ({**PICTURE, "prompt": ""}, 50201),
    "a picture of a number": ({**PICTURE, "prompt": 3}, 50204),
    "a picture of one bare link": ({**PICTURE, "image_urls": "https://example.com/a.png"}, 50204),
    "a picture of eleven": ({**PICTURE, "image_urls": ["https://example.com/a.png"] * 11}, 50200),
    "a picture of no URL": ({**PICTURE, "image_urls": ["a.png"]}, 50200),
    "a picture of a size in words": ({**PICTURE, "size": "2K"}, 50204),
    "a picture that is too small": ({**PICTURE, "size": 1024}, 50200),
    "a picture that is too large": ({**PICTURE, "width": 8192, "height": 8192}, 50200),
    "a picture below zero": ({**PICTURE, "width": -2048, "height": -2048}, 50200),
    "a single picture, perhaps": ({**PICTURE, "force_single": 1}, 50204),
    "a picture with a scale of a wrong type": ({**PICTURE, "scale": True}, 50204),
    "a picture out of scale": ({**PICTURE, "scale": 2}, 50200),
}


def raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize("case", BAD_SUBMITS)
def test_a_bad_submit_is_refused_with_the_vendors_code(case: str) -> None:
    body, code = BAD_SUBMITS[case]
    refused = parse_submit(raw(body))
    assert isinstance(refused, Invalid)
    assert refused.code == code
    assert refused.message


@pytest.mark.parametrize(
    "body",
    [
        ONE,
        TWO,
        {**TWO, "cut_result_first_second_switch": False},
        {"req_key": MOTION_IMITATION_2, "binary_data_base64": ["aGk="], "video_url": TWO["video_url"]},
        {**PICTURE, "seed": -1},
        {**PICTURE, "image_urls": ["https://example.com/a.png"] * 10, "scale": 0.5, "force_single": True},
        {**PICTURE, "width": 2048, "height": 2048, "size": 1},
    ],
)
def test_a_good_submit_is_read(body: dict[str, Any]) -> None:
    submission = parse_submit(raw(body))
    assert isinstance(submission, Submission)
    assert submission.req_key == body["req_key"]
    assert submission.body == body


def content_key(**changes: Any) -> str:
    submission = parse_submit(raw({**ONE, **changes}))
    assert isinstance(submission, Submission)
    return submission.content_key


def test_content_is_what_is_behind_a_url_not_how_it_was_presigned() -> None:
    plain = content_key()
    assert content_key(image_url="https://example.com/a.png") == plain
    assert content_key(image_url="https://example.com/a.png?X-Tos-Signature=other#top") == plain
    assert content_key(image_url="https://example.com/b.png") != plain
    assert content_key(extra=1) != plain
    assert content_key(req_key="jimeng_other") != plain


def test_content_keeps_no_query_string_and_no_blob() -> None:
    blob = "A" * 5000
    body = {
        **TWO,
        "image_urls": None,
        "binary_data_base64": [blob],
        "more": {"url": "http://x/y?token=secret"},
    }
    submission = parse_submit(raw(body))
    assert isinstance(submission, Submission)
    shown = json.dumps(submission.content)
    assert "secret" not in shown
    assert blob not in shown


BAD_QUERIES: dict[str, tuple[Any, int]] = {
    "no task_id": ({"req_key": MOTION_IMITATION}, 50201),
    "a number": ({"req_key": MOTION_IMITATION, "task_id": 7392616336519610409}, 50204),
    "no req_key": ({"task_id": "7392616336519610409"}, 50201),
    "req_json as an object": ({"req_key": MOTION_IMITATION, "task_id": "7", "req_json": {}}, 50204),
    "req_json without JSON": ({"req_key": MOTION_IMITATION, "task_id": "7", "req_json": "{"}, 50200),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_a_bad_query_is_refused_with_the_vendors_code(case: str) -> None:
    body, code = BAD_QUERIES[case]
    refused = parse_query(raw(body))
    assert isinstance(refused, Invalid)
    assert refused.code == code


def test_refusals_travel_in_the_business_envelope(caller: Caller) -> None:
    answer = caller.call(SUBMIT_ACTION, {**ONE, "video_url": "a.mp4"})
    assert answer.status_code == 400
    envelope = answer.json()
    assert set(envelope) == {"code", "data", "message", "request_id", "status", "time_elapsed"}
    assert envelope["code"] == envelope["status"] == 50200
    assert envelope["data"] is None
    assert "video_url" in envelope["message"]
    asked = caller.call(RESULT_ACTION, {"req_key": MOTION_IMITATION})
    assert asked.json()["code"] == 50201
    ledger = caller.emulator.ledger()
    assert ledger["refused"] == {"50200": 1}
    assert ledger["queries_refused"] == {"50201": 1}


def test_a_body_that_is_too_large_is_refused(caller: Caller) -> None:
    big = {**ONE, "padding": "x" * (17 * 1024 * 1024)}
    answer = caller.call(SUBMIT_ACTION, big, timeout=30)
    assert answer.json()["code"] == 50213
    assert caller.emulator.ledger()["refused"] == {"50213": 1}
