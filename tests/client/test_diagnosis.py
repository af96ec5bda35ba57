# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a free question tells of a connection."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_jimeng.api.models import Answer, Envelope, FailureKind, TransportFailure
from airflow_provider_jimeng.client.diagnosis import diagnose

from tests.client.settings_for import settings_for

NOW = dt.datetime(2026, 11, 22, 13, 0, tzinfo=dt.UTC)
SETTINGS = settings_for("https://visual.test")


def gateway(code: int, name: str, status: int = 401, **values: Any) -> Answer:
    return Answer(status, Envelope.GATEWAY, code=code, name=name, request_id="R1", **values)


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (gateway(100009, "InvalidAccessKey"), "Wrong key.*`login`.*R1"),
        (gateway(100010, "SignatureDoesNotMatch"), "Wrong signature.*`password`"),
        (gateway(100003, "MissingAuthenticationToken"), "did not arrive"),
        (gateway(100005, "MissingSignature"), "did not arrive"),
        (gateway(100026, "InvalidSecretToken"), "session token.*`session_token`"),
        (gateway(100025, "InvalidCredential", 400), "scope.*`region`"),
        (gateway(100013, "AccessDenied", 403), "Missing permission"),
        (gateway(100008, "InvalidActionOrVersion", 404), "doesn't know this action"),
        (gateway(100014, "InternalError", 500), "gateway refuses or fails"),
        (Answer(400, Envelope.BUSINESS, code=50400, message="Access Denied"), "Product not activated"),
        (Answer(500, Envelope.BUSINESS, code=50500, message="Internal Error"), "internal trouble"),
        (Answer(502, Envelope.NONE, message="HTML"), "HTTP 502.*`host`"),
        (Answer(407, Envelope.NONE), "proxy.*password"),
        (TransportFailure(FailureKind.NOT_SENT, "Connection refused"), "unreachable: Connection refused"),
    ],
)
def test_each_trouble_has_its_own_words(observation: Any, words: str):
    works, message = diagnose(observation, SETTINGS, NOW)
    assert not works
    import re

    assert re.search(words, message), message


@pytest.mark.parametrize(
    ("server_date", "words"),
    [
        (NOW - dt.timedelta(seconds=1200), "1200 s ahead of the vendor's"),
        (NOW + dt.timedelta(hours=2), "7200 s behind the vendor's"),
        (NOW, "within 30 s"),
        (None, "no Date header"),
    ],
)
def test_bad_clock_is_told_with_how_much(server_date: dt.datetime | None, words: str):
    works, message = diagnose(
        gateway(100006, "InvalidTimestamp", 403, server_date=server_date), SETTINGS, NOW
    )
    assert not works
    assert "Bad clock" in message
    assert words in message


def test_wrong_signature_mentions_a_clock_that_is_far_off():
    answer = gateway(100010, "SignatureDoesNotMatch", server_date=NOW + dt.timedelta(days=1))
    assert "86400 s behind" in diagnose(answer, SETTINGS, NOW)[1]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, Envelope.BUSINESS, code=10000, data={"status": "not_found"}),
        Answer(400, Envelope.BUSINESS, code=50215, message="Input invalid for this service."),
        Answer(400, Envelope.GATEWAY, code=50215, name="50215"),
        Answer(400, Envelope.BUSINESS, code=50200, message="bad parameter"),
    ],
)
def test_any_answer_to_an_accepted_signature_is_success(answer: Answer):
    works, message = diagnose(answer, SETTINGS, NOW)
    assert works
    assert "visual.test accepts the key" in message


@pytest.mark.parametrize("code", [50429, 50430])
def test_throttled_account_works_and_is_told_so(code: int):
    works, message = diagnose(Answer(429, Envelope.BUSINESS, code=code), SETTINGS, NOW)
    assert works
    assert "limiting" in message
