# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The other arguments."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import pytest

from airflow_provider_jimeng.api.validation import (
    check_body,
    check_choice,
    check_positive,
    check_req_key,
    check_task_id,
    check_variant,
)
from airflow_provider_jimeng.exceptions import JimengInputError


def refused(field: str):
    return pytest.raises(JimengInputError, match=f"^{field}: .*Nothing was sent, nothing was paid")


class TestReqKey:
    @pytest.mark.parametrize("value", ["jimeng_dream_actor_m1_gen_video_cv", "a", "a.b:c-d_E9", "x" * 128])
    def test_names_a_product(self, value):
        assert check_req_key(value) == value

    @pytest.mark.parametrize(
        "value", [None, 3, b"a", ["a"], "", " a", "a b", "a\n", "动", "_a", "x" * 129, "a/b"]
    )
    def test_refuses_anything_else(self, value):
        with refused("req_key"):
            check_req_key(value)


class TestTaskId:
    @pytest.mark.parametrize("value", ["7392616336519610409", 7392616336519610409])
    def test_is_text_in_the_end(self, value):
        assert check_task_id(value) == "7392616336519610409"

    @pytest.mark.parametrize(
        "value",
        [
            7.392616336519610e18,
            "7.39261633651961E+18",
            "7.392616336519610e18",
            "7392616336519610409.0",
            "73e17",
        ],
    )
    def test_that_lost_digits_is_refused_with_the_reason(self, value):
        with pytest.raises(JimengInputError, match="^task_id: .*lost digits"):
            check_task_id(value)

    @pytest.mark.parametrize("value", [None, True, "", " ", "a b", "a\x00", 0, -1, [], {}, b"1", "x" * 201])
    def test_refuses_anything_else(self, value):
        with refused("id_of_task"):
            check_task_id(value, "id_of_task")


class TestVariant:
    @pytest.mark.parametrize(
        ("value", "variant"), [(0, 0), (7, 7), (2**31 - 1, 2**31 - 1), ("0", 0), ("12", 12)]
    )
    def test_is_an_integer(self, value, variant):
        assert check_variant(value) == variant

    @pytest.mark.parametrize(
        "value", [-1, 2**31, True, None, 1.0, "", "-1", "1.0", "a", "१", "1" * 11, "9999999999", []]
    )
    def test_refuses_anything_else(self, value):
        with refused("variant"):
            check_variant(value)


class TestChoice:
    def test_is_one_of_the_words(self):
        assert check_choice("fail", "on_unknown_submit", ("fail", "resubmit")) == "fail"

    @pytest.mark.parametrize("value", ["Fail", "", None, 1, ["fail"]])
    def test_tells_the_words(self, value):
        with pytest.raises(JimengInputError, match="^on_unknown_submit: .*'fail', 'resubmit'"):
            check_choice(value, "on_unknown_submit", ("fail", "resubmit"))


class TestPositive:
    @pytest.mark.parametrize("value", [1, 0.001, 1e9])
    def test_is_a_number(self, value):
        assert check_positive(value, "timeout") == value

    @pytest.mark.parametrize("value", [0, -1, 0.0, math.inf, math.nan, True, None, "3", [], 1 + 0j])
    def test_refuses_anything_else(self, value):
        with refused("timeout"):
            check_positive(value, "timeout")

    def test_refuses_what_no_float_can_hold(self):
        with refused("timeout"):
            check_positive(10**400, "timeout")


class TestBody:
    def test_becomes_plain_json_of_its_own(self):
        inner = {"tuple": (1, 2), "text": "动"}
        checked = check_body(MappingProxyType({"req_key": "k", "inner": inner, "none": None}))
        inner["text"] = "changed later"
        assert checked == {"req_key": "k", "inner": {"tuple": [1, 2], "text": "动"}, "none": None}

    @pytest.mark.parametrize(
        "value",
        [
            None,
            "secret",
            ["secret"],
            {},
            {1: "secret"},
            {"a": [{2: "secret"}]},
            {"a": b"secret"},
            {"a": {"secret"}},
            {"a": math.nan},
            {"a": "secret\ud800"},
        ],
    )
    def test_refuses_what_cannot_be_sent(self, value):
        with refused("payload") as caught:
            check_body(value, "payload")
        assert "secret" not in str(caught.value)

    def test_names_its_field_by_default(self):
        with refused("body"):
            check_body({"a": object()})

    def test_refuses_one_that_holds_itself(self):
        body: dict[str, Any] = {}
        body["list"] = [body]
        with refused("body"):
            check_body(body)
