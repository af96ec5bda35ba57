# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A submit is created, not created or unknown; and only what is certain is *not created*."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from airflow_provider_jimeng.api.codes import RULES, OnSubmit
from airflow_provider_jimeng.api.models import Answer, Envelope, FailureKind, TransportFailure
from airflow_provider_jimeng.api.parsing import parse_answer
from airflow_provider_jimeng.exceptions import (
    JimengClockError,
    JimengConfigurationError,
    JimengCredentialError,
    JimengInputError,
    JimengNotCreatedError,
    JimengNotSentError,
    JimengPermissionError,
    JimengThrottledError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.policy.submit import (
    Reaction,
    SubmitKind,
    SubmitOutcome,
    clock_note,
    clock_skew,
    judge_submit,
    of_the_account,
)

#: A busy machine is no failure.
QUIET = [HealthCheck.too_slow]
TASK = "7392616336519610409"
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def judge(document: Any, http_status: int = 200, **headers: str) -> SubmitOutcome:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge_submit(parse_answer(http_status, named, body))


def gateway(code_n: int, code: str = "", message: str = "") -> dict[str, Any]:
    return {
        "ResponseMetadata": {"RequestId": "r1", "Error": {"CodeN": code_n, "Code": code, "Message": message}}
    }


class TestCreated:
    def test_with_a_task_id(self):
        outcome = judge({"code": 10000, "data": {"task_id": TASK}, "request_id": "r", "message": "Success"})
        assert outcome == SubmitOutcome(
            SubmitKind.CREATED,
            Reaction.NONE,
            TASK,
            10000,
            "Success",
            "r",
            200,
        )

    def test_with_a_task_id_as_an_exact_number(self):
        assert judge({"code": 10000, "data": {"task_id": int(TASK)}}).task_id == TASK

    @pytest.mark.parametrize("code", [50411, 50429, 50430, 50500, 50501, 59999, None])
    def test_with_a_task_id_whatever_the_code_since_an_id_is_never_dropped(self, code):
        outcome = judge({"code": code, "data": {"task_id": TASK}, "message": "odd"}, 500)
        assert (outcome.kind, outcome.task_id, outcome.error) == (SubmitKind.CREATED, TASK, None)
        assert outcome.throttled is None


class TestUnknown:
    @pytest.mark.parametrize("task_id", [None, "", " ", 0, 7.39e18, True, {}, [TASK], "1\x002", "x" * 300])
    def test_success_without_a_readable_task_id(self, task_id):
        outcome = judge({"code": 10000, "data": {"task_id": task_id}})
        assert (outcome.kind, outcome.task_id) == (SubmitKind.UNKNOWN, None)
        assert outcome.error is JimengUnknownSubmitError
        assert "may be billed" in outcome.message

    @pytest.mark.parametrize("data", [None, [], {}, "x"])
    def test_success_without_data(self, data):
        assert judge({"code": 10000, "data": data}).kind is SubmitKind.UNKNOWN

    @pytest.mark.parametrize("code", [50411, 50429, 50430])
    def test_a_refusal_beside_a_task_id_that_cannot_be_read(self, code):
        outcome = judge({"code": code, "data": {"task_id": 7.39e18}}, 400)
        assert outcome.kind is SubmitKind.UNKNOWN
        assert outcome.message.startswith("the answer's task_id cannot be read. ")

    @pytest.mark.parametrize(
        "document",
        [
            {"code": 50430, "data": None, "task_id": TASK},
            {"code": 50430, "data": [{"task_id": TASK}]},
            {"code": 50411, "data": None, "Result": {"data": {"task_id": TASK}}},
            {"code": 50430, "data": {"task_id": "null"}},
            {**gateway(100009, "InvalidAccessKey"), "Result": {"task_id": TASK}},
            {**gateway(100009, "InvalidAccessKey"), "code": 10000},
        ],
        ids=[
            "outside of data",
            "in a list",
            "in a result",
            "no id's text",
            "beside the gateway",
            "and success",
        ],
    )
    def test_a_refusal_that_names_a_task_all_the_same(self, document):
        outcome = judge(document, 400)
        assert (outcome.kind, outcome.task_id) == (SubmitKind.UNKNOWN, None)

    @pytest.mark.parametrize("code", [50500, 50501])
    def test_internal_errors(self, code):
        outcome = judge({"code": code, "data": None, "message": "Internal Error"}, 500)
        assert (outcome.kind, outcome.reaction) == (SubmitKind.UNKNOWN, Reaction.NONE)
        assert outcome.code == code
        assert "Internal Error" in outcome.message
        assert outcome.message.startswith(RULES[code].meaning)

    @pytest.mark.parametrize("code_n", [100001, 100014, 100015, 100016, 100019, 100023, 100035])
    def test_the_gateways_own_failures(self, code_n):
        assert judge(gateway(code_n), 503).kind is SubmitKind.UNKNOWN

    @pytest.mark.parametrize(
        ("body", "http_status"),
        [
            (b"<html>502 Bad Gateway</html>", 502),
            (b"<html>504 Gateway Time-out</html>", 504),
            (b"", 503),
            (b"", 200),
            (b"bad request", 400),
            (b'{"code": 10000, "data": {"task_id": "739', 200),
            (b"{}", 200),
            (b'{"code": 59999}', 200),
            (b'{"code": 59999}', 500),
            (b"", 302),
            (b"slow down", 429),
        ],
    )
    def test_answers_that_say_nothing_certain(self, body, http_status):
        outcome = judge(body, http_status)
        assert outcome.kind is SubmitKind.UNKNOWN
        assert outcome.http_status == http_status

    def test_silence_after_the_request_was_sent(self):
        outcome = judge_submit(TransportFailure(FailureKind.NO_ANSWER, "read timed out"))
        assert (outcome.kind, outcome.reaction) == (SubmitKind.UNKNOWN, Reaction.NONE)
        assert outcome.error is JimengUnknownSubmitError
        assert "read timed out" in outcome.message


class TestNotCreated:
    def test_a_request_that_was_never_sent_may_be_sent_later(self):
        outcome = judge_submit(TransportFailure(FailureKind.NOT_SENT, "no address"))
        assert (outcome.kind, outcome.reaction) == (SubmitKind.NOT_CREATED, Reaction.LATER)
        assert outcome.error is JimengNotSentError
        assert "nothing was paid" in outcome.message

    @pytest.mark.parametrize(("code", "throttled"), [(50429, "rate"), (50430, "concurrency")])
    def test_throttling_by_the_product(self, code, throttled):
        outcome = judge({"code": code, "data": None}, 429, Retry_After="7")
        assert (outcome.kind, outcome.reaction) == (SubmitKind.NOT_CREATED, Reaction.LATER)
        assert (outcome.throttled, outcome.retry_after) == (throttled, 7.0)
        assert outcome.error is JimengThrottledError

    def test_throttling_by_the_gateway(self):
        outcome = judge(gateway(100018, "FlowLimitExceeded"), 429)
        assert (outcome.reaction, outcome.throttled) == (Reaction.LATER, "rate")
        assert "FlowLimitExceeded" in outcome.message

    def test_a_business_code_inside_the_gateways_envelope(self):
        assert judge(gateway(0, "50430"), 429).throttled == "concurrency"
        assert judge(gateway(0, "50215"), 400).error is JimengInputError

    @pytest.mark.parametrize(
        ("document", "http_status", "error"),
        [
            ({"code": 50411, "message": "Pre Img Risk Not Pass"}, 400, JimengInputError),
            ({"code": 50400}, 401, JimengPermissionError),
            (gateway(100010, "SignatureDoesNotMatch"), 401, JimengCredentialError),
            (gateway(100013, "AccessDenied"), 403, JimengPermissionError),
            (gateway(100008, "InvalidActionOrVersion"), 404, JimengConfigurationError),
            ({"code": 59999}, 400, JimengInputError),
            (b"proxy", 407, JimengConfigurationError),
        ],
    )
    def test_refusals_stop_with_the_class_of_what_to_do(self, document, http_status, error):
        outcome = judge(document, http_status)
        assert (outcome.kind, outcome.reaction) == (SubmitKind.NOT_CREATED, Reaction.STOP)
        assert outcome.error is error
        assert "nothing was paid" in outcome.message

    def test_a_token_that_expired_asks_for_fresh_credentials(self):
        outcome = judge(gateway(100026, "InvalidSecretToken"), 401)
        assert (outcome.kind, outcome.reaction) == (SubmitKind.NOT_CREATED, Reaction.REFRESH)
        assert outcome.error is JimengCredentialError

    def test_a_refused_date_asks_for_another_signature(self):
        outcome = judge(gateway(100006, "InvalidTimestamp"), 403)
        assert (outcome.kind, outcome.reaction) == (SubmitKind.NOT_CREATED, Reaction.SIGN_AGAIN)
        assert outcome.error is JimengClockError

    def test_quotes_the_vendor_and_gives_the_request_id(self):
        outcome = judge({"code": 50411, "message": "Pre Img Risk Not Pass", "request_id": "r9"}, 400)
        assert "Pre Img Risk Not Pass" in outcome.message
        assert (outcome.request_id, outcome.code, outcome.http_status) == ("r9", 50411, 400)

    def test_can_do_without_the_vendors_words(self):
        assert "says" not in judge({"code": 50411}, 400).message


class TestTheClock:
    def refusal(self, date: dt.datetime | None) -> Answer:
        return Answer(403, Envelope.GATEWAY, 100006, "InvalidTimestamp", server_date=date)

    def test_skew_is_local_minus_vendor(self):
        answer = self.refusal(NOON)
        assert clock_skew(answer, NOON.timestamp() + 312) == 312
        assert clock_skew(answer, NOON - dt.timedelta(seconds=5)) == -5
        assert clock_skew(self.refusal(None), 0.0) is None

    @pytest.mark.parametrize(("offset", "words"), [(312.4, "312 s ahead of"), (-40, "40 s behind")])
    def test_a_refusal_tells_by_how_much_it_is_off(self, offset, words):
        outcome = judge_submit(self.refusal(NOON), now=NOON.timestamp() + offset)
        assert f"this machine's clock is {words} the vendor's" in outcome.message

    def test_without_the_local_clock_it_tells_the_vendors(self):
        assert "2026-11-22T12:00:00Z" in judge_submit(self.refusal(NOON)).message

    def test_without_any_clock_it_says_what_to_check(self):
        assert clock_note(self.refusal(None), 0.0) == clock_note(self.refusal(None), None)
        assert "check this machine's clock" in judge_submit(self.refusal(None)).message


class TestEveryCode:
    @pytest.mark.parametrize("code", sorted(RULES))
    def test_follows_its_row_when_no_task_id_comes_with_it(self, code):
        rule = RULES[code]
        kinds = {OnSubmit.CREATED: SubmitKind.UNKNOWN, OnSubmit.UNKNOWN: SubmitKind.UNKNOWN}
        outcome = judge_submit(Answer(400, Envelope.BUSINESS, code))
        assert outcome.kind is kinds.get(rule.on_submit, SubmitKind.NOT_CREATED)
        assert outcome.error is not None
        assert issubclass(outcome.error, JimengNotCreatedError) is (outcome.kind is SubmitKind.NOT_CREATED)


#: Codes whose submit certainly created nothing, written down a second time on purpose.
CERTAIN = (
    {50200, 50201, 50204, 50205, 50206, 50207, 50209, 50210, 50211, 50213, 50214, 50215, 50218}
    | {50400, 50402, 50411, 50412, 50413, 50429, 50430, 50511, 50512, 50513, 50514}
    | {50516, 50517, 50518, 50519, 50520, 50521, 50522, 60102, 60208}
    | {100002, 100003, 100004, 100005, 100006, 100007, 100008, 100009, 100010, 100011, 100012, 100013}
    | {100018, 100020, 100021, 100024, 100025, 100026, 100027, 100034}
    | {100028, 100029, 100030, 100031, 100032, 100033, 100036}
)
REVIEW_SERVICE = {50520, 50521, 50522}


def certainly_nothing(answer: Answer) -> bool:
    """Say from the documents alone, not from the code under test, that no task can exist."""
    task_id = (answer.data or {}).get("task_id")
    if not (task_id in (None, "", 0) or (isinstance(task_id, str) and set(task_id) == {"0"})):
        return False
    if answer.code in CERTAIN:
        return not (answer.code in REVIEW_SERVICE and answer.http_status >= 500)
    if answer.code in RULES:
        return False
    refused = 400 <= answer.http_status < 500 and answer.http_status not in (408, 499)
    return answer.http_status == 407 or (refused and answer.envelope is not Envelope.NONE)


codes = st.sampled_from(sorted(RULES)) | st.integers(0, 200_000) | st.none()
values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers())
)
statuses = st.sampled_from([200, 201, 302, 400, 401, 403, 404, 407, 408, 429, 499, 500, 502, 503, 504])
answers = st.builds(
    Answer,
    st.integers(100, 599) | statuses,
    st.sampled_from(Envelope),
    codes,
    data=st.none() | st.dictionaries(st.sampled_from(["task_id", "status", "x"]), values, max_size=3),
).filter(lambda answer: answer.envelope is not Envelope.NONE or answer.code is None)


@pytest.mark.parametrize("task_id", [None, "", 0, "0", "000"])
def test_a_refusal_that_says_that_there_is_no_task_created_none(task_id):
    outcome = judge({"code": 50430, "data": {"task_id": task_id}}, 429)
    assert (outcome.kind, outcome.throttled) == (SubmitKind.NOT_CREATED, "concurrency")


class TestMoney:
    @settings(max_examples=300, deadline=None, suppress_health_check=QUIET)
    @example(Answer(407, Envelope.NONE))
    @example(Answer(400, Envelope.BUSINESS, 50411, data={"task_id": 7.39e18}))
    @example(Answer(500, Envelope.BUSINESS, 50520))
    @example(Answer(400, Envelope.BUSINESS, 50411, data={"task_id": "00"}))
    @given(answers)
    def test_nothing_that_may_have_created_a_task_is_called_not_created(self, answer):
        outcome = judge_submit(answer)
        if outcome.kind is SubmitKind.NOT_CREATED:
            assert certainly_nothing(answer)
            assert outcome.reaction is not Reaction.NONE
        else:
            assert outcome.reaction is Reaction.NONE
        assert (outcome.task_id is not None) is (outcome.kind is SubmitKind.CREATED)
        assert (outcome.error is None) is (outcome.kind is SubmitKind.CREATED)

    @settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
    @given(st.integers(100, 599), st.binary(max_size=60))
    def test_bytes_that_are_no_envelope_never_count_as_not_created(self, http_status, body):
        outcome = judge(body, http_status)
        assert outcome.kind is (SubmitKind.NOT_CREATED if http_status == 407 else SubmitKind.UNKNOWN)

    @settings(deadline=None, suppress_health_check=QUIET)
    @given(st.integers(0, 150), statuses.filter(lambda status: status != 407))
    def test_a_cut_answer_of_a_created_task_never_counts_as_not_created(self, cut, http_status):
        whole = json.dumps(
            {"code": 10000, "data": {"task_id": TASK}, "message": "Success", "status": 10000}
        ).encode()
        assert judge(whole[:cut], http_status).kind is not SubmitKind.NOT_CREATED

    @settings(deadline=None, suppress_health_check=QUIET)
    @given(answers)
    def test_a_readable_task_id_is_never_dropped(self, answer):
        kept = Answer(answer.http_status, answer.envelope, answer.code, data={"task_id": TASK})
        assert judge_submit(kept).task_id == TASK


@pytest.mark.parametrize(
    ("document", "http_status", "shared"),
    [
        (gateway(100010, "SignatureDoesNotMatch"), 401, True),
        (gateway(100012, "AccessDenied"), 403, True),
        (gateway(100026, "InvalidSecretToken"), 401, True),
        ({"code": 50400, "message": "no"}, 400, True),
        # One machine's clock, one content's media, a busy account: others may go on.
        (gateway(100006, "InvalidTimestamp"), 403, False),
        ({"code": 50411, "message": "Pre Img Risk Not Pass"}, 400, False),
        ({"code": 50430, "message": "busy"}, 429, False),
        ({"code": 10000, "data": {"task_id": "7"}, "message": "Success"}, 200, False),
    ],
)
def test_what_every_submit_of_the_account_would_meet(document, http_status, shared):
    assert of_the_account(judge(document, http_status)) is shared


def test_a_proxy_that_wants_credentials_is_one_machines_trouble():
    answer = parse_answer(407, {}, b"<html>Proxy Authentication Required</html>")
    assert not of_the_account(judge_submit(answer))
