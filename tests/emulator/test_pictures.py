# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Products that make pictures: as links for those who ask, several of them, each one of a kind."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from PIL import Image

from airflow_provider_jimeng.api.models import SUBMIT_ACTION
from airflow_provider_jimeng.emulator import Emulator, result_tag
from airflow_provider_jimeng.emulator.config import EmulatorConfig
from airflow_provider_jimeng.emulator.pictures import cheap_picture, count_of, picture_tag, size_of

from tests.emulator.caller import CHEAP, Caller

PICTURES = "jimeng_t2i_v40"


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with Emulator(dataclasses.replace(CHEAP, pictures=3)) as emulator:
        yield Caller(emulator)


def made(caller: Caller, *, links: bool = True, **body: Any) -> dict[str, Any]:
    """Submit, and return the answer's data once it is done."""
    answer = caller.call(SUBMIT_ACTION, {"req_key": PICTURES, "prompt": "a cat", **body})
    asked: dict[str, Any] = {"req_json": '{"return_url": true}'} if links else {}
    told = caller.query(answer.json()["data"]["task_id"], PICTURES, **asked).json()["data"]
    assert told["status"] == "done"
    return dict(told)


def test_links_to_all_pictures_come_for_a_query_that_wants_links(caller: Caller) -> None:
    told = made(caller)
    assert told["binary_data_base64"] is None
    assert "video_url" not in told
    answers = [requests.get(url, timeout=10) for url in told["image_urls"]]
    assert [answer.headers["Content-Type"] for answer in answers] == ["image/jpeg"] * 3
    assert [(result_tag(answer.content) or {})["number"] for answer in answers] == [1, 2, 3]
    for answer in answers:
        with Image.open(io.BytesIO(answer.content)) as picture:
            picture.load()
            assert picture.format == "JPEG"


def test_without_that_wish_the_pictures_are_in_the_answer(caller: Caller) -> None:
    told = made(caller, links=False, prompt="a dog")
    assert told["image_urls"] is None
    pictures = [base64.b64decode(text) for text in told["binary_data_base64"]]
    assert [(result_tag(picture) or {})["number"] for picture in pictures] == [1, 2, 3]


def test_a_link_is_to_one_picture_only(caller: Caller) -> None:
    url = made(caller, prompt="a bird")["image_urls"][0]
    assert requests.get(url, timeout=10).status_code == 200
    assert requests.get(url.replace("-1.jpeg", "-2.jpeg"), timeout=10).status_code == 403
    assert requests.get(url.replace("-1.jpeg", "-9.jpeg"), timeout=10).status_code == 403
    assert requests.get(url.replace("-1.jpeg", ".mp4"), timeout=10).status_code == 403


def test_a_body_can_force_a_single_picture_and_inputs_take_room(caller: Caller) -> None:
    assert len(made(caller, prompt="a fish", force_single=True)["image_urls"]) == 1
    assert count_of(PICTURES, {"image_urls": ["x"] * 10}, 15) == 5
    assert count_of("jimeng_i2i_v30", {}, 4) == 4
    assert count_of("jimeng_i2v_first_v30", {}, 4) == 1


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({}, (2048, 2048)),
        ({"size": 1048576}, (1024, 1024)),
        ({"width": 2304, "height": 1728, "size": 1048576}, (2304, 1728)),
        ({"width": 2304}, (2048, 2048)),
    ],
)
def test_a_picture_has_the_sides_or_the_area_that_was_asked_for(
    body: dict[str, Any], size: tuple[int, int]
) -> None:
    assert size_of(body) == size


def test_a_picture_that_is_cut_short_or_someone_elses_tells_nothing() -> None:
    whole = cheap_picture({"task_id": "1", "number": 1})
    assert picture_tag(whole) == {"task_id": "1", "number": 1}
    assert picture_tag(whole[:-2]) is None
    other = io.BytesIO()
    Image.new("RGB", (8, 8)).save(other, "JPEG")
    assert result_tag(other.getvalue()) is None


def test_a_content_that_does_not_fit_a_comment_is_left_out() -> None:
    tag = {"task_id": "1", "content": {"prompts": ["x" * 900] * 100}}
    assert picture_tag(cheap_picture(tag)) == {"task_id": "1", "content": {}}


@pytest.mark.parametrize("number", [0, 16, 1.5, True])
def test_the_number_of_pictures_is_one_that_the_vendor_makes(number: Any) -> None:
    with pytest.raises(ValueError, match="pictures"):
        EmulatorConfig(pictures=number)
