# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Queries of worker threads: free, so asked again where no answer came, and never without an end."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from airflow_provider_jimeng.api.models import Answer, Envelope, FailureKind, TransportFailure
from airflow_provider_jimeng.api.parsing import status_of
from airflow_provider_jimeng.client import sync
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.exceptions import JimengConfigurationError

from tests.client.servers import DONE, Connection, answer_bytes, answering, closed_port, serving
from tests.client.settings_for import settings_for


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "backoff_delay", lambda *_, **__: 0.0)


def test_query_carries_req_key_and_task_id():
    with serving(answering(DONE)) as server:
        observation = SyncClient(settings_for(server.url)).query("some_video", "7392616336519610409")
    assert isinstance(observation, Answer)
    assert status_of(observation) == "done"
    assert b"?Action=CVSync2AsyncGetResult&Version=2022-08-31 " in server.requests[0]
    assert server.requests[0].endswith(b'{"req_key":"some_video","task_id":"7392616336519610409"}')


def test_query_is_asked_again_after_a_reset_and_signed_anew():
    count = itertools.count()

    def flaky(connection: Connection) -> None:
        connection.read_request()
        if next(count) < 2:
            connection.reset()
        else:
            connection.answer(DONE)

    with serving(flaky) as server:
        observation = SyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, Answer)
    assert len(server.requests) == 3


def test_query_gives_up_after_a_few_times():
    def reset(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    with serving(reset) as server:
        observation = SyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, TransportFailure)
    assert len(server.requests) == sync.QUERY_TRIES


def test_answer_that_is_an_error_is_not_asked_for_again():
    body = {"code": 50500, "message": "Internal Error", "data": None}
    with serving(answering(body, "500 Internal Server Error")) as server:
        observation = SyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, Answer)
    assert (observation.code, len(server.requests)) == (50500, 1)


def drip(connection: Connection) -> None:
    connection.read_request()
    connection.drip(answer_bytes(DONE), 0.05)


def hang(connection: Connection) -> None:
    connection.read_request()
    connection.hang()


@pytest.mark.parametrize("behave", [drip, hang])
def test_query_ends_at_its_deadline_whatever_the_server_does(behave: Any):
    settings = settings_for("http://127.0.0.1:1", connect_timeout=0.15, read_timeout=0.15)
    with serving(behave) as server:
        client = SyncClient(settings_for(server.url, connect_timeout=0.15, read_timeout=0.15))
        began = time.monotonic()
        observation = client.query("k", "1")
        assert time.monotonic() - began < sync.QUERY_TRIES * settings.query_deadline + 2
    assert isinstance(observation, TransportFailure)


def test_refused_connection_is_told_with_its_reason():
    observation = SyncClient(settings_for(f"http://127.0.0.1:{closed_port()}")).query("k", "1")
    assert isinstance(observation, TransportFailure)
    assert observation.kind is FailureKind.NOT_SENT


def test_call_makes_any_action_once():
    with serving(answering(b"<html>", "502 Bad Gateway")) as server:
        observation = SyncClient(settings_for(server.url)).call("CVCancelTask", "2024-06-06", b"{}")
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE
    assert b"?Action=CVCancelTask&Version=2024-06-06 " in server.requests[0]
    assert len(server.requests) == 1


def test_ca_bundle_that_is_missing_is_named_before_anything_is_sent():
    with pytest.raises(
        JimengConfigurationError, match="`verify`.*/no/such/bundle.pem|/no/such/bundle.pem.*`verify`"
    ):
        SyncClient(settings_for("https://127.0.0.1:1", verify="/no/such/bundle.pem"))


def test_ca_bundle_without_certificates_is_named(tmp_path: Any):
    bundle = tmp_path / "empty.pem"
    bundle.write_text("nothing\n")
    with pytest.raises(JimengConfigurationError, match="verify"):
        SyncClient(settings_for("https://127.0.0.1:1", verify=str(bundle)))


def test_ca_folder_is_accepted(tmp_path: Any):
    assert SyncClient(settings_for("https://127.0.0.1:1", verify=str(tmp_path))).settings.verify == str(
        tmp_path
    )


def test_socks_proxy_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("all_proxy", "socks5://user:pw-secret@127.0.0.1:1080")
    with pytest.raises(JimengConfigurationError, match="proxies") as caught:
        SyncClient(settings_for("https://visual.test"))
    assert "pw-secret" not in str(caught.value)


def test_proxy_without_a_scheme_is_http(monkeypatch: pytest.MonkeyPatch):
    with serving(answering(DONE)) as proxy:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        assert isinstance(SyncClient(settings_for("http://visual.test")).query("k", "1"), Answer)


def test_no_proxy_of_the_connection_is_honoured():
    proxies = {"http": f"http://127.0.0.1:{closed_port()}", "no_proxy": "127.0.0.1"}
    with serving(answering(DONE)) as server:
        assert isinstance(SyncClient(settings_for(server.url, proxies=proxies)).query("k", "1"), Answer)
