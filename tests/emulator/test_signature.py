# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from airflow_provider_jimeng.api.models import SUBMIT_ACTION
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.emulator.signature import Account, Received, verify

from tests.emulator.caller import Caller, error_of, pair

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "sigv4_vectors.json").read_text("utf-8"))[
    "vectors"
]
BODY = json.dumps(pair("a")).encode()


def received(vector: Mapping[str, Any]) -> Received:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in vector["query"])
    headers = [*vector["headers_out"].items(), ("Authorization", vector["authorization"])]
    target = f"{vector['path']}?{query}" if query else vector["path"]
    return Received(vector["method"], target, headers, vector["body"].encode())


def account(vector: Mapping[str, Any]) -> Account:
    token = vector["session_token"] or None
    return Account(vector["access_key"], vector["secret_key"], token, vector["region"], vector["service"])


def date_of(vector: Mapping[str, Any]) -> dt.datetime:
    return dt.datetime.strptime(vector["x_date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_every_golden_vector_is_authentic(vector: dict[str, Any]) -> None:
    assert verify(received(vector), account(vector), now=date_of(vector), tolerance=900) is None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
@pytest.mark.parametrize("part", ["body", "method", "query", "path", "header", "secret", "signature"])
def test_no_golden_vector_survives_tampering(vector: dict[str, Any], part: str) -> None:
    request = received(vector)
    known = account(vector)
    if part == "body":
        request = dataclasses.replace(request, body=request.body + b" ")
    elif part == "method":
        request = dataclasses.replace(request, method="PUT")
    elif part == "query":
        joint = "&" if "?" in request.target else "?"
        request = dataclasses.replace(request, target=f"{request.target}{joint}extra=1")
    elif part == "path":
        request = dataclasses.replace(request, target=f"/other{request.target}")
    elif part == "header":
        headers = [(name, f"{value}0" if name == "Host" else value) for name, value in request.headers]
        request = dataclasses.replace(request, headers=headers)
    elif part == "secret":
        known = dataclasses.replace(known, secret_key=known.secret_key + "=")
    else:
        last = request.headers[-1][1]
        flipped = last[:-1] + ("0" if last[-1] != "0" else "1")
        request = dataclasses.replace(request, headers=[*request.headers[:-1], ("Authorization", flipped)])
    refusal = verify(request, known, now=date_of(vector), tolerance=900)
    assert refusal is not None
    # A request that becomes a PUT needs a content type, which a GET has not.
    bare = part == "method" and vector["method"] == "GET"
    assert refusal.code == (100004 if bare else 100010)


def test_a_date_is_good_for_fifteen_minutes_either_way() -> None:
    vector = VECTORS[0]
    for seconds, good in ((-901, False), (-899, True), (0, True), (899, True), (901, False)):
        now = date_of(vector) + dt.timedelta(seconds=seconds)
        refusal = verify(received(vector), account(vector), now=now, tolerance=900)
        assert (refusal is None) is good, seconds
        assert refusal is None or refusal.code == 100006


# -- over the wire ----------------------------------------------------------------------------------------

Change = Callable[[requests.PreparedRequest], object]


def header(name: str, value: str | None) -> Change:
    def change(request: requests.PreparedRequest) -> None:
        if value is None:
            del request.headers[name]
        else:
            request.headers[name] = value

    return change


def replaced(name: str, old: str, new: str) -> Change:
    def change(request: requests.PreparedRequest) -> None:
        text = request.headers[name]
        assert old in text
        request.headers[name] = text.replace(old, new)

    return change


def body(raw: bytes) -> Change:
    def change(request: requests.PreparedRequest) -> None:
        request.body = raw
        request.headers["Content-Length"] = str(len(raw))

    return change


def url(old: str, new: str) -> Change:
    def change(request: requests.PreparedRequest) -> None:
        assert old in (request.url or "")
        request.url = (request.url or "").replace(old, new)

    return change


def method(name: str) -> Change:
    return lambda request: request.prepare_method(name)


TODAY = dt.datetime.now(dt.UTC).strftime("%Y%m%d")
TAMPERINGS: dict[str, tuple[Change, tuple[int, int, str]]] = {
    "another body": (body(BODY.replace(b"a.png", b"b.png")), (401, 100010, "SignatureDoesNotMatch")),
    "a body with a space more": (body(BODY + b" "), (401, 100010, "SignatureDoesNotMatch")),
    "no body": (body(b""), (401, 100010, "SignatureDoesNotMatch")),
    "a query parameter more": (url("?", "?Extra=1&"), (401, 100010, "SignatureDoesNotMatch")),
    "a query parameter twice": (url("?", "?Action=x&"), (401, 100010, "SignatureDoesNotMatch")),
    "another content type": (header("Content-Type", "text/plain"), (401, 100010, "SignatureDoesNotMatch")),
    "another host": (header("Host", "visual.volcengineapi.com"), (401, 100010, "SignatureDoesNotMatch")),
    "another digest": (header("X-Content-Sha256", "0" * 64), (401, 100010, "SignatureDoesNotMatch")),
    "another signature": (
        replaced("Authorization", "Signature=", "Signature=0"),
        (401, 100010, "SignatureDoesNotMatch"),
    ),
    "fewer signed headers": (
        replaced("Authorization", "content-type;host;", "content-type;"),
        (401, 100010, "SignatureDoesNotMatch"),
    ),
    "signed headers out of order": (
        replaced("Authorization", "content-type;host;", "host;content-type;"),
        (400, 100024, "InvalidAuthorization"),
    ),
    "an unsigned session token": (
        header("X-Security-Token", "STS2x"),
        (401, 100010, "SignatureDoesNotMatch"),
    ),
    "no authorization": (header("Authorization", None), (401, 100003, "MissingAuthenticationToken")),
    "an empty signature": (
        lambda request: header(
            "Authorization", request.headers["Authorization"].split("Signature=")[0] + "Signature="
        )(request),
        (401, 100005, "MissingSignature"),
    ),
    "another algorithm": (
        replaced("Authorization", "HMAC-SHA256", "HMAC-SHA1"),
        (400, 100024, "InvalidAuthorization"),
    ),
    "a malformed authorization": (
        header("Authorization", "HMAC-SHA256 nonsense"),
        (400, 100024, "InvalidAuthorization"),
    ),
    "an unknown key": (
        replaced("Authorization", "AKLTEMULATOR", "AKLTOTHER"),
        (401, 100009, "InvalidAccessKey"),
    ),
    "another region": (
        replaced("Authorization", "cn-north-1", "cn-beijing"),
        (400, 100025, "InvalidCredential"),
    ),
    "another service": (replaced("Authorization", "/cv/", "/sts/"), (400, 100025, "InvalidCredential")),
    "another terminator": (
        replaced("Authorization", "/request,", "/aws4_request,"),
        (400, 100025, "InvalidCredential"),
    ),
    "another day": (
        replaced("Authorization", f"/{TODAY}/", "/20200101/"),
        (400, 100025, "InvalidCredential"),
    ),
    "no date": (header("X-Date", None), (400, 100004, "MissingRequestInfo")),
    "no digest": (header("X-Content-Sha256", None), (400, 100004, "MissingRequestInfo")),
    "a date in another form": (
        header("X-Date", f"{TODAY[:4]}-{TODAY[4:6]}-{TODAY[6:]}"),
        (400, 100025, "InvalidCredential"),
    ),
    "an unknown action": (url(SUBMIT_ACTION, "CVSubmitTask"), (404, 100008, "InvalidActionOrVersion")),
    "another version": (url("2022-08-31", "2020-08-26"), (404, 100008, "InvalidActionOrVersion")),
    "no version": (url("&Version=2022-08-31", ""), (400, 100002, "MissingParameter")),
    "another path": (url("/?", "/v1?"), (404, 100007, "ServiceNotFound")),
    "another method": (method("PUT"), (405, 100020, "MethodNotAllowed")),
}


@pytest.fixture(scope="module")
def shared() -> Any:
    with Emulator(EmulatorConfig(duration=0.0, concurrency=None)) as running:
        yield Caller(running)


@pytest.mark.parametrize("case", TAMPERINGS)
def test_a_tampered_request_is_refused_in_the_gateways_envelope(shared: Caller, case: str) -> None:
    change, expected = TAMPERINGS[case]
    request = shared.signed(SUBMIT_ACTION, BODY)
    change(request)
    answer = shared.send(request)
    assert error_of(answer) == expected
    assert answer.json()["ResponseMetadata"]["RequestId"]
    assert shared.emulator.accepted == 0


def test_the_same_request_untouched_is_accepted(caller: Caller) -> None:
    assert caller.send(caller.signed(SUBMIT_ACTION, BODY)).status_code == 200


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_stale_or_future_date_is_refused(shared: Caller, minutes: int) -> None:
    date = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    answer = shared.send(shared.signed(SUBMIT_ACTION, BODY, date=date))
    assert error_of(answer) == (400, 100006, "InvalidTimestamp")


def test_a_wrong_clock_can_be_told_from_the_date_header() -> None:
    with Emulator(EmulatorConfig(clock_offset=3600.0)) as emulator:
        answer = Caller(emulator).submit()
        assert error_of(answer)[1] == 100006
        date = dt.datetime.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S GMT").replace(
            tzinfo=dt.UTC
        )
        ahead = (date - dt.datetime.now(dt.UTC)).total_seconds()
        assert 3590 < ahead < 3610


@pytest.mark.parametrize("token", [None, "", "STS2other"])
def test_a_temporary_key_needs_its_token(token: str | None) -> None:
    with Emulator(EmulatorConfig(session_token="STS2mine", duration=0.0)) as emulator:
        assert error_of(Caller(emulator, session_token=token).submit()) == (401, 100026, "InvalidSecretToken")
        assert Caller(emulator).submit().status_code == 200


def test_rotated_keys_are_honoured_at_once(emulator: Emulator) -> None:
    old = Caller(emulator)
    assert old.submit().status_code == 200
    emulator.configure(access_key="AKLTNEW", secret_key="new")
    assert error_of(old.submit())[2] == "InvalidAccessKey"
    assert Caller(emulator, access_key="AKLTNEW", secret_key="new").submit().status_code == 200
