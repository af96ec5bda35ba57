# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Requests to the exact byte."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest

from airflow_provider_jimeng.api.build import (
    build_request,
    encode_body,
    parts_of_body,
    query_body,
    submit_body,
)
from airflow_provider_jimeng.api.models import (
    API_VERSION,
    MOTION_IMITATION,
    MOTION_IMITATION_2,
    SUBMIT_ACTION,
    Credentials,
    Endpoint,
)
from airflow_provider_jimeng.api.signing import body_sha256, sign_request
from airflow_provider_jimeng.exceptions import JimengInputError

IMAGE = "https://example.com/i.png"
VIDEO = "https://example.com/v.mp4"
CUT = "cut_result_first_second_switch"
NOW = dt.datetime(2026, 11, 22, 7, 55, tzinfo=dt.UTC)
KEYS = Credentials("AKLTEXAMPLE", "top-secret", "token-secret")


class TestBodies:
    def test_of_a_submit_of_1_0(self):
        body = submit_body(MOTION_IMITATION, IMAGE, VIDEO)
        assert body == {"req_key": MOTION_IMITATION, "image_url": IMAGE, "video_url": VIDEO}

    def test_of_a_submit_of_2_0_hold_a_list_of_one_image(self):
        body = submit_body(MOTION_IMITATION_2, IMAGE, VIDEO)
        assert body == {"req_key": MOTION_IMITATION_2, "image_urls": [IMAGE], "video_url": VIDEO}

    def test_of_a_submit_of_2_0_hold_its_switch_where_it_is_said(self):
        body = submit_body(MOTION_IMITATION_2, IMAGE, VIDEO, {CUT: False})
        assert body == {"req_key": MOTION_IMITATION_2, "image_urls": [IMAGE], "video_url": VIDEO, CUT: False}

    def test_of_other_products_are_the_callers_own(self):
        with pytest.raises(JimengInputError, match="^req_key: .*`body`"):
            submit_body("jimeng_t2i_v40", IMAGE, VIDEO)

    def test_of_a_query_name_the_task(self):
        for req_key in (MOTION_IMITATION, MOTION_IMITATION_2):
            asked = query_body(req_key, "7491596536074305586")
            assert asked == {"req_key": req_key, "task_id": "7491596536074305586"}

    @pytest.mark.parametrize("req_key", ["jimeng_t2i_v40", "jimeng_i2i_v30", "seededit"])
    def test_of_a_query_for_pictures_ask_for_links_to_them(self, req_key):
        assert query_body(req_key, "1")["req_json"] == '{"return_url":true}'
        assert query_body(req_key, "1", "{}")["req_json"] == "{}"

    @pytest.mark.parametrize(
        "req_key",
        [
            "jimeng_i2v_first_v30",
            "jimeng_ti2v_v30_pro",
            "jimeng_t2v_v30",
            "jimeng_realman_avatar_picture_omni_v15",
            "some_Video",
        ],
    )
    def test_of_a_query_for_another_video_say_nothing_of_links(self, req_key):
        assert query_body(req_key, "1") == {"req_key": req_key, "task_id": "1"}

    @pytest.mark.parametrize("options", ['{"a":{"b":1}}', {"a": {"b": 1}}])
    def test_of_a_query_carry_options_as_json_text(self, options):
        assert query_body("k", "1", options)["req_json"] == '{"a":{"b":1}}'


class TestEncoding:
    def test_is_compact_utf8(self):
        assert encode_body({"a": "动作", "b": [1, None, True]}) == '{"a":"动作","b":[1,null,true]}'.encode()

    def test_gives_equal_bytes_for_equal_bodies(self):
        assert encode_body({"a": 1, "b": {"d": 2, "c": 3}}) == encode_body({"b": {"c": 3, "d": 2}, "a": 1})

    @pytest.mark.parametrize(
        "value",
        [
            math.nan,
            math.inf,
            b"secret",
            {1, 2},
            object(),
            "secret\ud800",
            {1: "a", "b": 2},
            pytest.param(10**5000, id="huge"),
        ],
    )
    def test_refuses_what_json_cannot_hold_without_quoting_it(self, value):
        with pytest.raises(JimengInputError, match="^body: ") as caught:
            encode_body({"x": value})
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_refuses_a_body_that_holds_itself(self):
        body: dict[str, Any] = {}
        body["body"] = body
        with pytest.raises(JimengInputError, match="^body: "):
            encode_body(body)


class TestRequests:
    def request(self, endpoint: Endpoint):
        body = encode_body(submit_body(MOTION_IMITATION, IMAGE, VIDEO))
        return build_request(
            endpoint=endpoint,
            credentials=KEYS,
            action=SUBMIT_ACTION,
            version=API_VERSION,
            body=body,
            date=NOW,
        )

    @pytest.mark.parametrize(
        ("origin", "host", "url"),
        [
            (
                "https://visual.volcengineapi.com",
                "visual.volcengineapi.com",
                "https://visual.volcengineapi.com/?",
            ),
            (
                "https://visual.volcengineapi.com/",
                "visual.volcengineapi.com",
                "https://visual.volcengineapi.com/?",
            ),
            ("http://127.0.0.1:8088", "127.0.0.1:8088", "http://127.0.0.1:8088/?"),
            ("https://cv.example:443", "cv.example", "https://cv.example:443/?"),
            ("http://[::1]:8088", "[::1]:8088", "http://[::1]:8088/?"),
            ("http://[::1]", "[::1]", "http://[::1]/?"),
        ],
    )
    def test_name_the_host_as_it_is_signed(self, origin, host, url):
        request = self.request(Endpoint(origin))
        assert request.headers["Host"] == host
        assert request.url == f"{url}Action=CVSync2AsyncSubmitTask&Version=2022-08-31"

    def test_are_signed_over_their_own_bytes(self):
        endpoint = Endpoint("https://cv.byteplusapi.com", "ap-singapore-1", "cv")
        request = self.request(endpoint)
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/json"
        assert request.headers["X-Content-Sha256"] == body_sha256(request.body)
        assert json.loads(request.body)["video_url"] == VIDEO
        assert dict(request.headers) == sign_request(
            method="POST",
            url=request.url,
            headers={"Content-Type": "application/json", "Host": "cv.byteplusapi.com"},
            body=request.body,
            access_key=KEYS.access_key,
            secret_key=KEYS.secret_key,
            session_token=KEYS.session_token,
            region="ap-singapore-1",
            service="cv",
            date=NOW,
        )

    def test_print_no_secret(self):
        request = self.request(Endpoint())
        assert "Signature" not in repr(request)
        assert "token-secret" not in repr(request) + repr(KEYS)
        assert "top-secret" not in repr(request) + repr(KEYS)

    def test_action_and_version_are_encoded(self):
        request = build_request(
            endpoint=Endpoint(), credentials=KEYS, action="a&b=c", version="1/2", body=b"{}", date=NOW
        )
        assert request.url.endswith("/?Action=a%26b%3Dc&Version=1%2F2")


@pytest.mark.parametrize(
    ("req_key", "body", "parts"),
    [
        (MOTION_IMITATION, {"image_url": "i", "video_url": "v"}, ("i", "v", {})),
        (MOTION_IMITATION, {"image_url": "i", "video_url": "v", "req_key": MOTION_IMITATION}, ("i", "v", {})),
        (MOTION_IMITATION, {"image_url": "i", "video_url": "v", "more": 1}, None),
        (MOTION_IMITATION, {"image_url": "i"}, None),
        (MOTION_IMITATION_2, {"image_urls": ["i"], "video_url": "v"}, ("i", "v", {})),
        (MOTION_IMITATION_2, {"image_urls": ["i"], "video_url": "v", CUT: 0}, ("i", "v", {CUT: 0})),
        (MOTION_IMITATION, {"image_url": "i", "video_url": "v", CUT: True}, None),
        (MOTION_IMITATION_2, {"image_urls": ["i", "j"], "video_url": "v"}, None),
        (MOTION_IMITATION_2, {"image_urls": "i", "video_url": "v"}, None),
        (MOTION_IMITATION_2, {"image_urls": ["i"], "video_url": "v", "callback_url": "c"}, None),
        ("jimeng_t2i_v40", {"image_url": "i", "video_url": "v"}, None),
    ],
)
def test_a_body_of_two_urls_is_told_from_any_other(req_key, body, parts):
    assert parts_of_body(req_key, body) == parts
