# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What is known of an input without downloading it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_jimeng.media.guard import NetworkGuard, RefusedAddressError
from airflow_provider_jimeng.media.inputs import Validators, read_validators

from tests.client.servers import Connection, answering, closed_port, serving

OPEN = NetworkGuard(allow_loopback=True)
MODIFIED = "Wed, 21 Oct 2026 07:28:00 GMT"


def ask(*, status: str = "206 Partial Content", body: bytes = b"x", **headers: str) -> Validators | None:
    with serving(answering(body, status, **headers)) as server:
        found = read_validators(f"{server.url}/a.png?sig=1", OPEN, 5.0)
    assert b"\r\nRange: bytes=0-0\r\n" in server.requests[0]
    assert server.requests[0].startswith(b"GET ")
    return found


def test_ranged_answer_tells_size_tag_and_date():
    found = ask(Content_Range="bytes 0-0/12345", ETag='"abc"', Last_Modified=MODIFIED)
    assert found == Validators('"abc"', MODIFIED, 12345)


def test_server_without_ranges_tells_its_length_and_its_body_is_not_read():
    sent = 0

    def flood(connection: Connection) -> None:
        nonlocal sent
        connection.read_request()
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 5368709120\r\nETag: W/"e"\r\n\r\n')
        while True:
            connection.send(b"x" * (1 << 16))
            sent += 1 << 16

    with serving(flood) as server:
        assert read_validators(f"{server.url}/a", OPEN, 5.0) == Validators('W/"e"', None, 5368709120)
    assert sent < 64 << 20


def test_empty_file_has_size_zero():
    assert ask(status="416 Range Not Satisfiable", body=b"", Content_Range="bytes */0") == Validators(size=0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content_Range": "bytes 0-0/*"},
        {"Content_Range": "pages 1-2/3"},
        {"Content_Range": "bytes 0-0/" + "9" * 40},
        {"ETag": "e" * 5000},
    ],
)
def test_answer_that_tells_nothing_is_nothing_known(headers: Any):
    assert ask(**headers) is None


@pytest.mark.parametrize(
    "status", ["404 Not Found", "403 Forbidden", "500 Internal Server Error", "304 Not Modified"]
)
def test_other_answers_are_nothing_known(status: str):
    assert ask(status=status, body=b"", ETag='"error-page"') is None


def test_what_can_not_be_read_is_nothing_known():
    assert read_validators(f"http://127.0.0.1:{closed_port()}/a", OPEN, 2.0) is None
    assert read_validators("https://no-such-host.invalid/a", OPEN, 2.0) is None


def test_server_that_hangs_is_given_up_in_time():
    def hang(connection: Connection) -> None:
        connection.read_request()
        connection.hang()

    with serving(hang) as server:
        began = time.monotonic()
        assert read_validators(f"{server.url}/a", OPEN, 0.3) is None
        assert time.monotonic() - began < 3


def test_address_that_is_not_allowed_is_an_error_and_not_nothing():
    with serving(answering(b"x")) as server, pytest.raises(RefusedAddressError):
        read_validators(f"{server.url}/a", NetworkGuard(), 2.0)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("earlier", "now", "differs"),
    [
        (Validators(), Validators(), False),
        (Validators('"a"', MODIFIED, 1), Validators('"a"', MODIFIED, 1), False),
        (Validators('"a"'), Validators('"b"'), True),
        (Validators('"a"', size=1), Validators('"a"', size=2), True),
        (Validators('W/"a"'), Validators('"a"'), False),
        (Validators(size=1), Validators('"a"'), False),
        (Validators(last_modified="x", size=1), Validators(last_modified="y", size=1), True),
        (Validators('"a"', "x"), Validators('"a"', "y"), False),
        (Validators('"a"'), Validators(last_modified="y"), False),
    ],
)
def test_difference_is_only_what_both_sides_know(earlier: Validators, now: Validators, differs: bool):
    assert now.differs_from(earlier) is differs


@pytest.mark.parametrize("known", [Validators('"a"', MODIFIED, 3), Validators(), Validators(size=0)])
def test_round_trip(known: Validators):
    assert Validators.from_dict(known.to_dict()) == known


def test_foreign_values_count_as_not_known():
    assert Validators.from_dict({"etag": 3, "size": True, "last_modified": " ", "other": 1}) == Validators()
