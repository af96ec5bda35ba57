# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Where inputs and results may be, asked at the name, at the socket and at every redirect."""

from __future__ import annotations

import socket
import threading
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.media import guard as guard_module
from airflow_provider_jimeng.media.guard import FetchError, NetworkGuard, RefusedAddressError

from tests.client.servers import (
    Connection,
    answer_bytes,
    answering,
    closed_port,
    make_certificate,
    server_context,
    serving,
)
from tests.client.settings_for import settings_for

OPEN = NetworkGuard(allow_loopback=True)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("fd00::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::a00:1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("100.64.0.1", "reserved"),
        ("100.100.100.200", "cloud metadata"),
        ("100.96.0.96", "cloud metadata"),
        ("192.0.0.192", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("::ffff:100.96.0.96", "cloud metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "private"),
        ("240.0.0.1", "private"),
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str, kind: str):
    assert NetworkGuard().refusal(ip_address(address)) == kind


@pytest.mark.parametrize("address", ["2002:a00:1::1", "2002:7f00:1::", "2001:0:7f00:1::"])
def test_private_addresses_that_are_wrapped_are_refused(address: str):
    assert NetworkGuard().refusal(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_pass(address: str):
    assert NetworkGuard().refusal(ip_address(address)) is None


def test_allowed_networks_open_what_they_name_and_nothing_else():
    guard = NetworkGuard([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    assert guard.refusal(ip_address("10.1.2.3")) is None
    assert guard.refusal(ip_address("fd00::1")) is None
    assert guard.refusal(ip_address("::ffff:10.1.2.3")) is None
    assert guard.refusal(ip_address("192.168.1.1")) == "private"
    assert guard.refusal(ip_address("127.0.0.1")) == "loopback"


def test_loopback_endpoint_opens_loopback_and_private_addresses_but_no_metadata_service():
    assert OPEN.refusal(ip_address("127.0.0.1")) is None
    assert OPEN.refusal(ip_address("10.0.0.1")) is None
    assert OPEN.refusal(ip_address("169.254.169.254")) == "link-local"
    assert OPEN.refusal(ip_address("fd00:ec2::254")) == "cloud metadata"


def test_guard_of_an_account_follows_its_connection():
    local = NetworkGuard.of_account(settings_for("http://127.0.0.1:1"))
    vendor = NetworkGuard.of_account(
        settings_for("https://visual.test", allowed_networks=(ip_network("10.0.0.0/8"),))
    )
    assert local.refusal(ip_address("127.0.0.1")) is None
    assert vendor.refusal(ip_address("127.0.0.1")) == "loopback"
    assert vendor.refusal(ip_address("10.0.0.1")) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://[::1]/x",
        "http://2130706433/x",
        "http://0x7f.1/x",
        "http://127.1/x",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/x?sig=the-signature",
        "http://0.0.0.0/x",
    ],
)
def test_urls_of_private_addresses_are_refused_however_they_are_written(url: str):
    with pytest.raises(RefusedAddressError, match="allowed_networks") as caught:
        NetworkGuard().check(url)
    assert "the-signature" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "http://", "/x", "gopher://h/"])
def test_other_schemes_are_refused(url: str):
    with pytest.raises(RefusedAddressError, match="http"):
        OPEN.check(url)


def test_host_without_an_address_here_may_have_one_for_the_vendor():
    assert NetworkGuard().check("https://only-the-vendor-knows.invalid/x") is None  # type: ignore[func-returns-value]


def test_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch):
    def both(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(RefusedAddressError, match="two-faced.test"):
        NetworkGuard().check("https://two-faced.test/x")


def test_name_that_changes_its_address_after_the_check_gets_no_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guard_module, "_resolve", lambda *_: [ip_address("8.8.8.8")])
    with serving(answering(b"secret")) as server:
        guard = NetworkGuard()
        with (
            pytest.raises(RefusedAddressError, match="loopback"),
            guard.open(f"http://localhost:{server.port}/x"),
        ):
            raise AssertionError("it was opened")
    assert server.requests == []


def test_open_reads_what_passes():
    with serving(answering(b"bytes", ETag='"e"')) as server, OPEN.open(f"{server.url}/a?sig=1") as response:
        assert response.status_code == 200
        assert response.raw.read() == b"bytes"
        assert response.headers["etag"] == '"e"'
    assert server.requests[0].startswith(b"GET /a?sig=1 HTTP/1.1\r\n")
    assert b"Authorization" not in server.requests[0]


def test_redirect_is_followed_and_checked():
    with serving(answering(b"bytes")) as target:
        with (
            serving(answering(b"", "302 Found", Location=f"{target.url}/b?sig=2")) as server,
            OPEN.open(f"{server.url}/a", headers={"Range": "bytes=0-0"}) as response,
        ):
            assert response.raw.read() == b"bytes"
    assert target.requests[0].startswith(b"GET /b?sig=2 ")
    assert b"Range: bytes=0-0" in target.requests[0]


def test_relative_redirect_is_followed():
    def behave(connection: Connection) -> None:
        request = connection.read_request()
        if request.startswith(b"GET /a/b "):
            connection.answer(b"", "301 Moved Permanently", Location="../c")
        else:
            connection.answer(request.split(b" ")[1])

    with serving(behave) as server, OPEN.open(f"{server.url}/a/b") as response:
        assert response.raw.read() == b"/c"


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "file:///etc/passwd", "http://[fe80::1]/x"]
)
def test_redirect_to_a_refused_address_is_refused(target: str):
    with (
        serving(answering(b"", "307 Temporary Redirect", Location=target)) as server,
        pytest.raises(RefusedAddressError),
        OPEN.open(f"{server.url}/a"),
    ):
        raise AssertionError("it was opened")


def test_redirect_from_https_to_http_is_refused(tmp_path: Path):
    certificate, key = make_certificate(tmp_path)
    guard = NetworkGuard(allow_loopback=True, verify=str(certificate))
    with serving(answering(b"x")) as plain:
        redirect = answering(b"", "302 Found", Location=f"{plain.url}/x?sig=the-signature")
        with (
            serving(redirect, server_context(certificate, key)) as server,
            pytest.raises(RefusedAddressError, match="redirects") as caught,
            guard.open(f"{server.url}/a"),
        ):
            raise AssertionError("it was opened")
        assert plain.connections == 0
    assert "the-signature" not in str(caught.value)


def test_redirects_without_an_end_are_given_up():
    with (
        serving(answering(b"", "302 Found", Location="/again")) as server,
        pytest.raises(FetchError, match="redirects"),
        OPEN.open(f"{server.url}/a"),
    ):
        raise AssertionError("it was opened")
    assert len(server.requests) == guard_module.MAX_REDIRECTS + 1


def test_failure_names_the_url_without_its_query():
    with (
        pytest.raises(FetchError) as caught,
        OPEN.open(f"http://127.0.0.1:{closed_port()}/a.mp4?X-Tos-Signature=the-signature"),
    ):
        raise AssertionError("it was opened")
    assert "/a.mp4" in str(caught.value)
    assert "the-signature" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_connection_is_cut_at_the_total():
    def drip(connection: Connection) -> None:
        connection.read_request()
        connection.drip(answer_bytes(b"x" * 1000), 0.05)

    with serving(drip) as server:
        began = time.monotonic()
        with pytest.raises(FetchError), OPEN.open(f"{server.url}/a", total=0.3):
            raise AssertionError("it was opened")
        assert time.monotonic() - began < 3


def test_nothing_stays_behind():
    before = threading.active_count()
    with serving(answering(b"bytes")) as server:
        for _ in range(3):
            with OPEN.open(f"{server.url}/a") as response:
                assert response.status_code == 200
    # A thread that was told to end needs a moment to be gone.
    until = time.monotonic() + 5.0
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_proxy_is_not_taken_for_the_host():
    with serving(answering(b"bytes")) as proxy:
        guard = NetworkGuard(proxies={"http": proxy.url})
        with guard.open("http://public.invalid/a?sig=1") as response:
            assert response.raw.read() == b"bytes"
    assert proxy.requests[0].startswith(b"GET http://public.invalid/a?sig=1 ")


def test_host_that_is_refused_is_refused_behind_a_proxy_too():
    with serving(answering(b"bytes")) as proxy:
        guard = NetworkGuard(proxies={"http": proxy.url})
        with pytest.raises(RefusedAddressError), guard.open("http://169.254.169.254/latest"):
            raise AssertionError("it was opened")
    assert proxy.connections == 0
