# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Reasons are told without the texts that hold URLs and passwords."""

from __future__ import annotations

import ssl

import pytest
import requests
from urllib3.exceptions import IncompleteRead, LocationParseError, MaxRetryError, ProxyError

from airflow_provider_jimeng.client.blame import describe_failure


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "timed out"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed (SSLError)"),
        (ssl.SSLCertVerificationError(), "the TLS certificate is not trusted (no reason given)"),
        (IncompleteRead(1, 2), "the answer broke off"),
        (LocationParseError("http://u:secret@x"), "the URL can't be used"),
        (requests.ConnectionError("https://h/?sig=secret"), "ConnectionError"),
        (OSError("Tunnel connection failed: 403 secret"), "the proxy refuses the way to the host (HTTP 403)"),
        (ValueError("secret"), "ValueError"),
    ],
)
def test_reason(error: BaseException, words: str):
    assert describe_failure(error) == words
    wrapped = requests.ConnectionError(MaxRetryError(None, "/?sig=secret", error))  # type: ignore[arg-type]
    assert "secret" not in describe_failure(wrapped)


def test_reason_at_a_proxy_says_so():
    error = ProxyError("secret", ConnectionRefusedError(111, "Connection refused"))
    assert describe_failure(error) == "at the proxy: Connection refused"


def test_chain_that_bites_its_tail_ends():
    error = ValueError()
    error.__cause__ = error
    error.args = (error,)
    assert describe_failure(error) == "ValueError"
