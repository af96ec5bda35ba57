# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The table of codes, against the vendor's documents row by row, and the defaults for what is not in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.api.codes import (
    RULES,
    SUCCESS,
    Family,
    OnQuery,
    OnSubmit,
    code_named,
    rule_for,
    throttle_kind,
)
from airflow_provider_jimeng.api.models import Answer, Envelope
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengCredentialError,
    JimengInputError,
    JimengNotCreatedError,
    JimengPermissionError,
    JimengRetryableTaskError,
    JimengTaskFailedError,
    JimengThrottledError,
    JimengUnknownSubmitError,
)

DOCUMENTED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "vendor_codes.json").read_text("utf-8")
)["codes"]
BUSINESS = [row for row in DOCUMENTED if row["source"] != "facts, gateway"]
GATEWAY = [row for row in DOCUMENTED if row["source"] == "facts, gateway"]
each_business = pytest.mark.parametrize("row", BUSINESS, ids=[str(row["code"]) for row in BUSINESS])
each_gateway = pytest.mark.parametrize("row", GATEWAY, ids=[str(row["code"]) for row in GATEWAY])

#: What the design makes of the documents' words for the gateway's codes; a query holds rather than stops.
SUBMIT_WORDS = {
    "stop": (OnSubmit.STOP, JimengNotCreatedError),
    "stop: configuration": (OnSubmit.STOP, JimengCredentialError),
    "stop: permission": (OnSubmit.STOP, JimengPermissionError),
    "sign again once, then stop: clock": (OnSubmit.SIGN_AGAIN, JimengConfigurationError),
    "unknown": (OnSubmit.UNKNOWN, JimengUnknownSubmitError),
    "unknown whether created": (OnSubmit.UNKNOWN, JimengUnknownSubmitError),
    "not created: back off, retry": (OnSubmit.RETRY, JimengThrottledError),
    "refresh, retry": (OnSubmit.REFRESH, JimengCredentialError),
}
QUERY_WORDS = {
    "stop": OnQuery.HOLD,
    "hold": OnQuery.HOLD,
    "retry": OnQuery.RETRY,
    "same, then hold": OnQuery.SIGN_AGAIN,
    "refresh, retry": OnQuery.REFRESH,
}


def answer(
    code: int | None, http_status: int = 400, envelope: Envelope = Envelope.BUSINESS, **more: Any
) -> Answer:
    return Answer(http_status, envelope, code, **more)


class TestTheWholeTable:
    def test_holds_every_documented_code_and_no_other(self):
        assert set(RULES) == {row["code"] for row in DOCUMENTED}

    def test_names_every_row_by_its_own_code(self):
        assert all(rule.code == code for code, rule in RULES.items())

    def test_says_in_words_what_each_means(self):
        assert all(rule.meaning for rule in RULES.values())

    def test_cannot_be_changed(self):
        with pytest.raises(TypeError):
            RULES[1] = RULES[SUCCESS]  # type: ignore[index]

    @each_business
    def test_allows_a_new_attempt_where_the_vendor_does(self, row):
        assert RULES[row["code"]].new_attempt is row["new_attempt"]

    @each_business
    def test_has_the_documented_http_statuses(self, row):
        assert list(RULES[row["code"]].http_statuses) == row["http"]

    @pytest.mark.parametrize(
        "row", [row for row in BUSINESS if row.get("message")], ids=lambda row: row["code"]
    )
    def test_has_the_vendors_own_words(self, row):
        assert RULES[row["code"]].name == row["message"]

    @each_business
    def test_raises_a_verdict_by_whether_another_attempt_is_allowed(self, row):
        error = RULES[row["code"]].verdict_error
        assert error is (JimengRetryableTaskError if row["new_attempt"] else JimengTaskFailedError)

    @each_gateway
    def test_does_at_a_submit_what_the_design_says(self, row):
        on_submit, error = SUBMIT_WORDS[row["on_submit"]]
        rule = RULES[row["code"]]
        assert rule.on_submit is on_submit
        assert issubclass(rule.error, error)

    @each_gateway
    def test_does_at_a_query_what_the_design_says(self, row):
        assert RULES[row["code"]].on_query is QUERY_WORDS[row["on_query"]]

    @each_gateway
    def test_has_a_documented_word_or_none(self, row):
        assert RULES[row["code"]].name in {*row["words"], ""}

    @each_gateway
    def test_has_a_documented_status(self, row):
        (usual, *_) = RULES[row["code"]].http_statuses
        assert any(status in (str(usual), f"{usual // 100}xx") for status in row["http"])

    @each_gateway
    def test_never_allows_a_new_attempt_nor_ends_a_wait_for_a_gateway_code(self, row):
        rule = RULES[row["code"]]
        assert not rule.new_attempt
        assert rule.on_query not in (OnQuery.VERDICT, OnQuery.GRACE)


class TestBusinessCodes:
    def test_only_one_code_creates(self):
        assert [code for code, rule in RULES.items() if rule.on_submit is OnSubmit.CREATED] == [SUCCESS]

    def test_only_one_code_has_a_grace_time(self):
        assert [code for code, rule in RULES.items() if rule.on_query is OnQuery.GRACE] == [50215]

    @pytest.mark.parametrize("code", [50500, 50501])
    def test_internal_errors_leave_a_submit_unknown_and_a_query_without_news(self, code):
        rule = rule_for(answer(code, 500))
        assert (rule.on_submit, rule.on_query, rule.new_attempt) == (OnSubmit.UNKNOWN, OnQuery.RETRY, True)

    @pytest.mark.parametrize(
        ("code", "kind"),
        [(50429, "rate"), (50430, "concurrency"), (100018, "rate"), (50411, None), (10000, None)],
    )
    def test_tells_which_limit_refused(self, code, kind):
        assert throttle_kind(RULES[code]) == kind

    @pytest.mark.parametrize(
        "code",
        [
            row["code"]
            for row in BUSINESS
            if row["code"] not in (10000, 50400, 50402, 50429, 50430, 50500, 50501)
        ],
    )
    def test_a_refused_input_stops_a_submit_that_paid_nothing(self, code):
        rule = rule_for(answer(code))
        assert rule.on_submit is OnSubmit.STOP
        assert rule.error is JimengInputError

    @pytest.mark.parametrize("code", [50200, 50201, 50204, 50213, 50400, 50402])
    def test_a_code_that_may_be_about_the_query_itself_holds(self, code):
        assert rule_for(answer(code)).on_query is OnQuery.HOLD

    @pytest.mark.parametrize("code", [50205, 50210, 50411, 50412, 50511, 50518, 60102, 60208])
    def test_a_code_about_the_media_is_a_verdict(self, code):
        assert rule_for(answer(code)).on_query is OnQuery.VERDICT

    @pytest.mark.parametrize("code", [50520, 50521, 50522])
    def test_a_review_service_that_broke_down_decides_nothing(self, code):
        broken = rule_for(answer(code, 500))
        assert (broken.on_submit, broken.on_query) == (OnSubmit.UNKNOWN, OnQuery.RETRY)
        assert broken.error is JimengUnknownSubmitError
        refused = rule_for(answer(code, 400))
        assert (refused.on_submit, refused.on_query) == (OnSubmit.STOP, OnQuery.VERDICT)


class TestNames:
    def test_find_their_code(self):
        assert code_named("SignatureDoesNotMatch") == 100010
        assert code_named("FlowLimitExceeded") == 100018

    def test_unknown_or_empty_find_none(self):
        assert code_named("") is None
        assert code_named("NeverHeardOf") is None


class TestCodesNobodyModelled:
    @pytest.mark.parametrize("envelope", [Envelope.BUSINESS, Envelope.GATEWAY])
    def test_a_4xx_of_the_vendors_own_stops_a_submit_and_holds_a_query(self, envelope):
        rule = rule_for(answer(59999, 400, envelope))
        assert (rule.on_submit, rule.on_query) == (OnSubmit.STOP, OnQuery.HOLD)
        assert issubclass(rule.error, JimengNotCreatedError)
        assert rule.family is Family.UNMODELLED
        assert rule.code == 59999

    @pytest.mark.parametrize(
        ("http_status", "error"),
        [
            (400, JimengInputError),
            (401, JimengCredentialError),
            (403, JimengPermissionError),
            (404, JimengConfigurationError),
        ],
    )
    def test_the_status_chooses_the_class(self, http_status, error):
        assert rule_for(answer(59999, http_status)).error is error

    def test_a_gateways_400_is_about_the_configuration(self):
        assert rule_for(answer(None, 400, Envelope.GATEWAY)).error is JimengConfigurationError

    @pytest.mark.parametrize("http_status", [200, 400, 500])
    def test_done_beside_it_is_a_verdict(self, http_status):
        rule = rule_for(answer(59999, http_status, data={"status": "done"}))
        assert rule.on_query is OnQuery.VERDICT
        assert not rule.new_attempt

    @pytest.mark.parametrize("http_status", [200, 302, 500, 503])
    def test_anything_but_a_4xx_leaves_a_submit_unknown(self, http_status):
        rule = rule_for(answer(59999, http_status))
        assert (rule.on_submit, rule.on_query) == (OnSubmit.UNKNOWN, OnQuery.RETRY)

    @pytest.mark.parametrize("http_status", [408, 499])
    def test_a_timeout_dressed_as_4xx_leaves_a_submit_unknown(self, http_status):
        assert rule_for(answer(59999, http_status)).on_submit is OnSubmit.UNKNOWN

    def test_a_429_is_a_rate_limit(self):
        rule = rule_for(answer(59999, 429))
        assert (rule.on_submit, rule.on_query) == (OnSubmit.RETRY, OnQuery.RETRY)
        assert throttle_kind(rule) == "rate"

    @pytest.mark.parametrize("http_status", [200, 400, 404, 429, 502, 503, 504])
    def test_a_body_that_is_not_the_vendors_leaves_a_submit_unknown(self, http_status):
        rule = rule_for(answer(None, http_status, Envelope.NONE))
        assert (rule.on_submit, rule.on_query) == (OnSubmit.UNKNOWN, OnQuery.RETRY)
        assert rule.error is JimengUnknownSubmitError

    def test_a_proxy_that_wants_credentials_passed_nothing_on(self):
        rule = rule_for(answer(None, 407, Envelope.NONE))
        assert (rule.on_submit, rule.on_query) == (OnSubmit.STOP, OnQuery.HOLD)
        assert rule.error is JimengConfigurationError
