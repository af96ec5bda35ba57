# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Answers of every kind, understood or not, and never an exception."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_jimeng.api.models import Answer, Envelope
from airflow_provider_jimeng.api.parsing import (
    clean_text,
    parse_answer,
    readable_task_id,
    result_urls_of,
    status_of,
    task_id_of,
    video_url_of,
)

CREATED = {
    "code": 10000,
    "data": {"task_id": "7392616336519610409"},
    "message": "Success",
    "request_id": "20240720103939AF0029465CF6A74E51EC",
    "status": 10000,
    "time_elapsed": "104.852309ms",
}


def parse(document: Any, http_status: int = 200, **headers: str) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_answer(http_status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def gateway(**error: Any) -> dict[str, Any]:
    return {"ResponseMetadata": {"RequestId": "r1", "Action": "x", "Error": error}}


class TestTheBusinessEnvelope:
    def test_of_a_submit(self):
        answer = parse(CREATED)
        assert answer.envelope is Envelope.BUSINESS
        assert (answer.http_status, answer.code, answer.message) == (200, 10000, "Success")
        assert answer.request_id == CREATED["request_id"]
        assert task_id_of(answer) == "7392616336519610409"

    def test_of_a_result(self):
        answer = parse({"code": 10000, "data": {"status": "done", "video_url": "https://a.example/x?sig=1"}})
        assert status_of(answer) == "done"
        assert video_url_of(answer) == "https://a.example/x?sig=1"
        assert task_id_of(answer) is None

    @pytest.mark.parametrize("data", [None, [], "x", 3])
    def test_without_usable_data(self, data):
        answer = parse({"code": 50411, "data": data, "message": "Pre Img Risk Not Pass"}, 400)
        assert answer.data is None
        assert (task_id_of(answer), status_of(answer), video_url_of(answer)) == (None, None, None)
        assert answer.code == 50411

    def test_data_may_be_absent(self):
        assert parse({"code": 50411}).data is None

    def test_a_code_as_text_is_read(self):
        assert parse({"code": "50411"}).code == 50411

    @pytest.mark.parametrize("code", [None, True, 10000.0, "", "abc", "१०", "-1", [], {}, "9" * 300])
    def test_a_code_that_is_none_is_not_the_vendors_envelope(self, code):
        answer = parse({"code": code, "data": {"task_id": "1"}})
        assert answer.envelope is Envelope.NONE
        assert answer.code is None
        assert task_id_of(answer) == "1"

    def test_a_byte_order_mark_is_tolerated(self):
        assert parse(b"\xef\xbb\xbf" + json.dumps(CREATED).encode()).code == 10000

    def test_a_message_in_another_encoding_does_not_cost_the_task_id(self):
        body = json.dumps(CREATED).encode().replace(b"Success", "成功".encode("gbk"))
        answer = parse(body)
        assert task_id_of(answer) == "7392616336519610409"
        assert answer.message

    def test_huge_numbers_beside_it_do_not_cost_the_task_id(self):
        body = json.dumps(CREATED).encode().replace(b'"status": 10000', b'"status": ' + b"9" * 6000)
        assert task_id_of(parse(body)) == "7392616336519610409"

    def test_nan_beside_it_does_not_cost_the_task_id(self):
        body = json.dumps(CREATED).encode().replace(b'"status": 10000', b'"status": NaN, "x": -Infinity')
        assert task_id_of(parse(body)) == "7392616336519610409"


class TestTheGatewayEnvelope:
    def test_is_read(self):
        answer = parse(gateway(CodeN=100010, Code="SignatureDoesNotMatch", Message="no match"), 401)
        assert answer.envelope is Envelope.GATEWAY
        assert (answer.code, answer.name, answer.message) == (100010, "SignatureDoesNotMatch", "no match")
        assert answer.request_id == "r1"

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            ({"Code": "50215"}, 50215),
            ({"Code": "50215", "CodeN": 0}, 50215),
            ({"Code": "50215", "CodeN": 100014}, 50215),
            ({"Code": 50430}, 50430),
            ({"CodeN": "100009"}, 100009),
            ({"Code": "InvalidAccessKey"}, 100009),
            ({"Code": "InvalidAccessKey", "CodeN": 199999}, 100009),
            ({"Code": "NeverHeardOf", "CodeN": 199999}, 199999),
            ({"Code": "59999"}, 59999),
            ({"Code": "NeverHeardOf"}, None),
            ({}, None),
            ({"CodeN": [], "Code": {}}, None),
        ],
    )
    def test_gives_the_most_telling_code(self, error, code):
        assert parse(gateway(**error), 400).code == code

    def test_comes_before_a_business_code(self):
        answer = parse({**CREATED, "code": 50411, **gateway(CodeN=100014, Code="InternalError")}, 500)
        assert (answer.envelope, answer.code) == (Envelope.GATEWAY, 100014)

    def test_beside_a_success_decides_nothing_but_keeps_the_id(self):
        answer = parse({**CREATED, **gateway(CodeN=100009, Code="InvalidAccessKey")}, 401)
        assert (answer.envelope, answer.code) == (Envelope.NONE, None)
        assert "success and failure at once" in answer.message
        assert task_id_of(answer) == "7392616336519610409"

    @pytest.mark.parametrize("metadata", [None, {}, {"Error": None}, {"Error": "x"}, "x", []])
    def test_needs_an_error(self, metadata):
        assert parse({**CREATED, "ResponseMetadata": metadata}).envelope is Envelope.BUSINESS
        assert parse({"ResponseMetadata": metadata}).envelope is Envelope.NONE


class TestWhatIsNoEnvelope:
    @pytest.mark.parametrize(
        ("body", "what"),
        [
            (b"", "empty"),
            (b" \r\n ", "empty"),
            (b"<html><h1>504 Gateway Time-out</h1></html>", "HTML"),
            (b"upstream connect error", "not JSON"),
            (b'{"code": 10000, "data"', "cut short"),
            (b"[1, 2", "cut short"),
            (b"[]", "not an object"),
            (b"3", "not an object"),
            (b"null", "not an object"),
            (b'"x"', "not an object"),
            (b"{}", "without the vendor's code"),
            (b'{"code": 10000, "code": 50411}', "given twice"),
            (b'{"data": {"task_id": "1", "task_id": "2"}, "code": 10000}', "given twice"),
            (b'{"a":' * 100_000, "nested too deeply"),
            (b"[" * 100_000, "nested too deeply"),
            (b"\xff\xfe{\x00}\x00", "not JSON"),
        ],
    )
    def test_says_what_it_is_instead(self, body, what):
        answer = parse(body, 502)
        assert answer.envelope is Envelope.NONE
        assert answer.code is None
        assert what in answer.message

    def test_the_same_value_twice_is_no_contradiction(self):
        assert parse(b'{"code": 10000, "code": 10000, "x": 1, "x": 2}').code == 10000

    def test_names_the_task_of_a_cut_answer_for_a_person_to_adopt(self):
        answer = parse(json.dumps(CREATED).encode()[:-20])
        assert "7392616336519610409" in answer.message
        assert task_id_of(answer) is None

    def test_does_not_name_half_a_task(self):
        answer = parse(b'{"code": 10000, "data": {"task_id": "73926163')
        assert "73926163" not in answer.message

    def test_quotes_none_of_the_body(self):
        assert "secret" not in parse(b"<html>https://x/?secret").message


class TestHeaders:
    def test_tell_the_vendors_clock(self):
        answer = parse(CREATED, date="Sun, 22 Nov 2026 07:55:00 GMT")
        assert answer.server_date == dt.datetime(2026, 11, 22, 7, 55, tzinfo=dt.UTC)

    @pytest.mark.parametrize("zone", ["-0000", "+0000", "GMT"])
    def test_dates_are_utc(self, zone):
        date = parse(CREATED, Date=f"Sun, 22 Nov 2026 07:55:00 {zone}").server_date
        assert date is not None
        assert date.utcoffset() == dt.timedelta(0)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "soon",
            "99999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 -2300",
            "Sun, 31 Feb 2026 00:00:00 GMT",
            "Sun, 1 Foo 2026 00:00:00 GMT",
        ],
    )
    def test_a_date_that_is_none_is_none(self, value):
        assert parse(CREATED, DATE=value).server_date is None

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("3", 3.0),
            ("1.5", 1.5),
            ("-3", 0.0),
            ("1e30", 86400.0),
            ("inf", None),
            ("nan", None),
            ("later", None),
            ("", None),
            ("Sun, 22 Nov 2026 07:55:30 GMT", 30.0),
            ("Sun, 22 Nov 2026 07:54:30 GMT", 0.0),
        ],
    )
    def test_retry_after_is_read_by_the_vendors_clock(self, value, seconds):
        answer = parse(CREATED, Retry_After=value, Date="Sun, 22 Nov 2026 07:55:00 GMT")
        assert answer.retry_after == seconds

    def test_retry_after_as_a_date_needs_the_vendors_clock(self):
        assert parse(CREATED, Retry_After="Sun, 22 Nov 2026 07:55:30 GMT").retry_after is None

    @pytest.mark.parametrize("name", ["X-Tt-Logid", "X-Request-Id"])
    def test_a_request_id_is_found_there_if_nowhere_else(self, name):
        assert parse_answer(503, {name: "log-1"}, b"").request_id == "log-1"
        assert parse_answer(400, {name: "log-1"}, b'{"code": 1}').request_id == "log-1"
        assert (
            parse_answer(200, {name: "log-1"}, json.dumps(CREATED).encode()).request_id
            == CREATED["request_id"]
        )


class TestTaskIds:
    @pytest.mark.parametrize(
        ("value", "task_id"),
        [
            ("7392616336519610409", "7392616336519610409"),
            (" 7392616336519610409\n", "7392616336519610409"),
            (7392616336519610409, "7392616336519610409"),
            ("cgt-2026-abc_1", "cgt-2026-abc_1"),
            (7.392616336519610e18, None),
            (True, None),
            (False, None),
            (0, None),
            (-1, None),
            (10**300, None),
            ("", None),
            ("  ", None),
            (None, None),
            ({}, None),
            (["1"], None),
            ("1\x002", None),
            ("1\n2", None),
            (f"1{chr(0xD800)}", None),
            ("1\ufffd", None),
            ("x" * 201, None),
            ("0", None),
            ("000", None),
            ("null", None),
            ("None", None),
            ("NaN", None),
            ("7.392616336519610e+18", None),
            ("7392616336519610409.0", None),
            ("7392616336519610409 1", None),
        ],
    )
    def test_are_text_or_exact_integers(self, value, task_id):
        assert readable_task_id(value) == task_id

    def test_a_number_in_json_keeps_all_its_digits(self):
        assert (
            task_id_of(parse(b'{"code":10000,"data":{"task_id":7392616336519610409}}'))
            == "7392616336519610409"
        )

    def test_a_float_in_json_is_refused(self):
        assert task_id_of(parse(b'{"code":10000,"data":{"task_id":7392616336519610409.0}}')) is None


class TestResults:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            "",
            " ",
            3,
            "/relative",
            "ftp://a.example/x",
            "https://",
            "https:///x",
            "https://a.example:port/x",
            "https://a.example:0/x",
            "https://[::1/x",
            "https://a.example/a b",
            "https://a.example/\x00",
            "https://a.example/\ud800",
            "https://a.example/" + "x" * 8192,
        ],
    )
    def test_need_a_url_that_can_be_fetched(self, value):
        assert video_url_of(parse({"code": 10000, "data": {"status": "done", "video_url": value}})) is None

    def test_of_image_products_are_the_first_image(self):
        answer = parse(
            {"code": 10000, "data": {"status": "done", "image_urls": ["https://a.example/1", "x"]}}
        )
        assert video_url_of(answer) == "https://a.example/1"

    def test_of_image_products_are_all_images_in_their_order_and_no_more_than_there_can_be(self):
        links = [f"https://a.example/{number}" for number in range(20)]
        answer = parse(
            {"code": 10000, "data": {"status": "done", "image_urls": [*links[:3], None, links[0]]}}
        )
        assert result_urls_of(answer) == links[:3]
        answer = parse({"code": 10000, "data": {"status": "done", "image_urls": links}})
        assert result_urls_of(answer) == links[:16]
        assert result_urls_of(parse({"code": 50411, "data": None})) == []

    @pytest.mark.parametrize("images", [[], [None], None, "https://a.example/1"])
    def test_of_image_products_need_one_too(self, images):
        assert video_url_of(parse({"code": 10000, "data": {"status": "done", "image_urls": images}})) is None

    @pytest.mark.parametrize("status", [None, 3, "", " ", [], {}])
    def test_a_status_is_text(self, status):
        assert status_of(parse({"code": 10000, "data": {"status": status}})) is None


class TestTheVendorsWords:
    def test_lose_control_characters_and_surrogates(self):
        assert clean_text("a\x00b\nc\ud800d\u202ee") == "a b c d e"

    def test_lose_secrets_of_urls(self):
        text = "fetch https://u:p@h.example/a/b.png?X-Amz-Signature=abc&x=1 failed, http://k@h/x too"
        assert clean_text(text) == "fetch https://h.example/a/b.png failed, http://h/x too"

    @pytest.mark.parametrize(
        "name", ["X-Amz-Signature", "X-Tos-Security-Token", "x-goog-credential", "Signature", "sig", "token"]
    )
    def test_lose_secrets_of_urls_that_are_only_half_quoted(self, name):
        assert clean_text(f"bad query a=1&{name}=abc%2F&b=2") == f"bad query a=1&{name}=***&b=2"

    def test_are_bounded(self):
        assert len(clean_text("x" * 10_000)) == 500

    @pytest.mark.parametrize(
        ("value", "text"),
        [(50215, "50215"), (True, ""), (None, ""), (1.5, ""), pytest.param(10**9999, "", id="huge")],
    )
    def test_are_text_or_a_number(self, value, text):
        assert clean_text(value) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
envelope_like = st.fixed_dictionaries(
    {},
    optional={
        "code": json_values,
        "data": json_values
        | st.fixed_dictionaries({}, optional={"task_id": json_values, "status": json_values}),
        "message": json_values,
        "request_id": json_values,
        "ResponseMetadata": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                "Error": json_values | st.fixed_dictionaries({"CodeN": json_values, "Code": json_values}),
                "RequestId": json_values,
            },
        ),
    },
)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    envelope_like.map(lambda value: json.dumps(value).encode()),
    envelope_like.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    envelope_like.flatmap(
        lambda value: st.integers(0, 200).map(lambda cut: json.dumps(value).encode()[:cut])
    ),
)
header_values = st.text(max_size=40) | st.floats().map(str) | st.datetimes().map(str)
headers = st.dictionaries(
    st.sampled_from(["Date", "Retry-After", "retry-after", "X-Tt-Logid", "Content-Type"]), header_values
)


class TestAnything:
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 999), headers, bodies)
    def test_never_raises_and_never_keeps_what_a_database_refuses(self, http_status, named, body):
        answer = parse_answer(http_status, named, body)
        for text in (answer.message, answer.name, answer.request_id or "", task_id_of(answer) or ""):
            assert "\x00" not in text
            text.encode("utf-8")
            assert len(text) <= 500
        assert status_of(answer) != ""
        assert video_url_of(answer) != ""
        assert (answer.code is None) or answer.envelope is not Envelope.NONE
        assert answer.retry_after is None or 0 <= answer.retry_after <= 86400
