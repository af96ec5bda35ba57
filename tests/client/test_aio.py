# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Queries of event loops: many at once, one session, and the loop never waits."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from airflow_provider_jimeng.api.models import Answer, Envelope, FailureKind, TransportFailure
from airflow_provider_jimeng.api.parsing import status_of
from airflow_provider_jimeng.client import aio, route
from airflow_provider_jimeng.client.aio import AsyncClient, close_sessions
from airflow_provider_jimeng.client.sync import QUERY_TRIES

from tests.client.servers import (
    DONE,
    Connection,
    answer_bytes,
    answering,
    closed_port,
    make_certificate,
    server_context,
    serving,
)
from tests.client.settings_for import SECRET, TOKEN, settings_for


@pytest.fixture(autouse=True)
async def _closed_afterwards(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(aio, "backoff_delay", lambda *_, **__: 0.0)
    yield
    await close_sessions()


async def test_query_returns_the_answer():
    with serving(answering(DONE)) as server:
        observation = await AsyncClient(settings_for(server.url)).query("some_video", "7392616336519610409")
    assert isinstance(observation, Answer)
    assert status_of(observation) == "done"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /?Action=CVSync2AsyncGetResult&Version=2022-08-31 HTTP/1.1")
    assert b"Authorization: HMAC-SHA256 Credential=AKtest/" in head
    assert body == b'{"req_key":"some_video","task_id":"7392616336519610409"}'
    assert head.lower().count(b"\r\nhost:") == head.lower().count(b"\r\ncontent-length:") == 1


async def test_both_clients_send_the_same_request():
    from airflow_provider_jimeng.client.sync import SyncClient, utc_now

    frozen = utc_now()
    with serving(answering(DONE)) as server:
        settings = settings_for(server.url)
        await AsyncClient(settings, now=lambda: frozen).query("k", "1")
        await asyncio.to_thread(SyncClient(settings, now=lambda: frozen).query, "k", "1")

    def parts(request: bytes) -> tuple[bytes, set[bytes], bytes]:
        head, _, body = request.partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        return first, {field.lower() for field in fields if not field.lower().startswith(b"connection")}, body

    assert parts(server.requests[0]) == parts(server.requests[1])


#: In a process of its own: in this one it would hold up the loop that is watched.
SLOW_VENDOR = """
import asyncio, sys
from aiohttp import web
async def answer(request):
    await request.read()
    await asyncio.sleep(1.0)
    return web.json_response({"code": 10000, "data": {"status": "generating"}})
async def main():
    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""


@pytest.fixture
def slow_vendor() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_VENDOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate(timeout=10)


def test_fifty_queries_at_once_never_block_the_loop(slow_vendor: str, caplog: pytest.LogCaptureFixture):
    settings = settings_for(slow_vendor)

    async def ask() -> list[str]:
        asyncio.get_running_loop().slow_callback_duration = 0.05
        began = time.monotonic()
        clients = [AsyncClient(settings) for _ in range(50)]
        found = await asyncio.gather(*(each.query("k", str(n)) for n, each in enumerate(clients)))
        # One after the other they would take 50 s.
        assert time.monotonic() - began < 15
        assert all(isinstance(each, Answer) for each in found)
        return [record.getMessage() for record in caplog.records if "Executing" in record.getMessage()]

    blocked = []
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        for _ in range(10):
            caplog.clear()
            blocked.append(asyncio.run(ask(), debug=True))
            if not blocked[-1]:
                break
    # A busy machine may hold up any callback once; a call that blocks does so every time.
    assert not all(blocked), blocked


def test_asyncio_run_leaves_no_session_open(recwarn: pytest.WarningsRecorder):
    async def ask(url: str) -> Any:
        return await AsyncClient(settings_for(url)).query("k", "1")

    with serving(answering(DONE)) as server:
        for _ in range(3):
            assert isinstance(asyncio.run(ask(server.url)), Answer)
    gc.collect()
    assert not [each for each in recwarn if issubclass(each.category, ResourceWarning)]
    assert server.connections == 3


async def test_all_clients_of_a_connection_share_one_session_of_their_loop():
    with serving(answering(DONE)) as server:
        for _ in range(5):
            await AsyncClient(settings_for(server.url)).query("k", "1")
        assert len(server.requests) == 5
        assert server.connections == 1
        await close_sessions()
        await AsyncClient(settings_for(server.url)).query("k", "1")
        assert server.connections == 2


async def test_two_first_queries_at_once_open_one_session():
    with serving(answering(DONE)) as server:
        client = AsyncClient(settings_for(server.url))
        await asyncio.gather(*(client.query("k", "1") for _ in range(10)))
        sessions = aio._sessions._by_loop[asyncio.get_running_loop()]
        assert len(sessions) == 1


async def test_cancelled_queries_leave_nothing_behind():
    def hang(connection: Connection) -> None:
        connection.read_request()
        connection.hang()

    with serving(hang) as server:
        before = asyncio.all_tasks()
        client = AsyncClient(settings_for(server.url))
        asking = [asyncio.create_task(client.query("k", str(n))) for n in range(10)]
        assert await asyncio.to_thread(server.wait_for_requests, 10)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert all(each.cancelled() for each in asking)
        assert asyncio.all_tasks() == before
        sessions = aio._sessions._by_loop[asyncio.get_running_loop()]
        connector = next(iter(sessions.values())).session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        assert not connector._acquired
        assert not connector._conns


async def test_query_that_is_cancelled_while_it_waits_its_turn_gives_it_back():
    with serving(answering(DONE)) as server:
        settings = settings_for(server.url, query_qps=0.5)
        client = AsyncClient(settings)
        await client.query("k", "1")
        waiting = [asyncio.create_task(client.query("k", "2")) for _ in range(20)]
        await asyncio.sleep(0)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        from airflow_provider_jimeng.client.limiter import query_limiter

        assert query_limiter(settings).reserve() <= 2.0
        assert len(server.requests) == 1


async def test_tls_context_is_built_off_the_loop_once_and_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    built: list[str] = []
    real = route._make_context

    def make(trust: bool | str) -> Any:
        built.append(threading.current_thread().name)
        return real(trust)

    monkeypatch.setattr(route, "_make_context", make)
    certificate, key = make_certificate(tmp_path)
    with serving(answering(DONE), server_context(certificate, key)) as server:
        client = AsyncClient(settings_for(server.url, verify=str(certificate)))
        found = await asyncio.gather(*(client.query("k", "1") for _ in range(10)))
    assert all(isinstance(each, Answer) for each in found)
    assert len(built) == 1
    assert built[0] != threading.main_thread().name


async def test_untrusted_certificate_was_not_sent(tmp_path: Path):
    with serving(answering(DONE), server_context(*make_certificate(tmp_path))) as server:
        observation = await AsyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, TransportFailure)
    assert observation.kind is FailureKind.NOT_SENT
    assert "certificate" in observation.detail
    assert server.requests == []


async def test_refused_connection_was_not_sent():
    observation = await AsyncClient(settings_for(f"http://127.0.0.1:{closed_port()}")).query("k", "1")
    assert isinstance(observation, TransportFailure)
    assert observation.kind is FailureKind.NOT_SENT
    for secret in (SECRET, TOKEN, "Action="):
        assert secret not in observation.detail


def reset(connection: Connection) -> None:
    connection.read_request()
    connection.reset()


def hang(connection: Connection) -> None:
    connection.read_request()
    connection.hang()


def drip(connection: Connection) -> None:
    connection.read_request()
    connection.drip(answer_bytes(DONE), 0.02)


def garbage(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"\x00\x01 nonsense\r\n\r\n")


def endless_headers(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.send(b"X-Filler: " + b"a" * 1000 + b"\r\n")


@pytest.mark.parametrize("behave", [reset, hang, drip, garbage, endless_headers])
async def test_trouble_is_no_answer_within_the_deadline(behave: Any):
    with serving(behave) as server:
        settings = settings_for(server.url, connect_timeout=0.2, read_timeout=0.2)
        began = time.monotonic()
        observation = await AsyncClient(settings).query("k", "1")
        assert time.monotonic() - began < 4
    assert isinstance(observation, TransportFailure)
    assert observation.kind is FailureKind.NO_ANSWER
    assert len(server.requests) >= QUERY_TRIES


async def test_redirect_is_not_followed():
    with serving(answering(DONE)) as target:
        with serving(answering(b"", "302 Found", Location=target.url)) as server:
            observation = await AsyncClient(settings_for(server.url)).query("k", "1")
        assert target.connections == 0
    assert isinstance(observation, Answer)
    assert observation.http_status == 302


async def test_html_is_an_answer_without_an_envelope():
    with serving(answering(b"<html>504</html>", "504 Gateway Time-out")) as server:
        observation = await AsyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE
    assert len(server.requests) == 1


async def test_gzip_bomb_is_not_unpacked():
    bomb = gzip.compress(b" " * (64 << 20))
    with serving(answering(bomb, Content_Encoding="gzip")) as server:
        observation = await AsyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE


async def test_five_gigabytes_are_not_read():
    def flood(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5368709120\r\n\r\n")
        while True:
            connection.send(b" " * (1 << 16))

    with serving(flood) as server:
        observation = await AsyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE


async def test_body_that_breaks_off_is_judged_as_it_came():
    def short(connection: Connection) -> None:
        connection.read_request()
        connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"code": 10000, "da')

    with serving(short) as server:
        observation = await AsyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE


async def test_proxy_of_the_connection_is_used_with_its_password():
    with serving(answering(DONE)) as proxy:
        settings = settings_for(
            "http://visual.test", proxies={"http": f"http://user:pw@127.0.0.1:{proxy.port}"}
        )
        observation = await AsyncClient(settings).query("k", "1")
    assert isinstance(observation, Answer)
    assert proxy.requests[0].startswith(b"POST http://visual.test/?Action=")
    assert b"\r\nProxy-Authorization: Basic " in proxy.requests[0]


async def test_proxy_that_refuses_the_way_was_not_sent():
    def refuse(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with serving(refuse) as proxy:
        settings = settings_for(
            "https://visual.test", proxies={"https": f"http://u:pw-secret@127.0.0.1:{proxy.port}"}
        )
        observation = await AsyncClient(settings).query("k", "1")
    assert isinstance(observation, TransportFailure)
    assert observation.kind is FailureKind.NOT_SENT
    assert "403" in observation.detail
    assert "pw-secret" not in observation.detail


async def test_netrc_and_proxies_of_the_environment_are_treated_as_in_the_sync_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(answering(DONE)) as server:
        observation = await AsyncClient(settings_for(server.url)).query("k", "1")
    assert isinstance(observation, Answer)
    assert b"Authorization: HMAC-SHA256 " in server.requests[0]


async def test_close_sessions_on_a_loop_without_any_is_fine():
    await close_sessions()
    await close_sessions()
    assert asyncio.get_running_loop() not in aio._sessions._by_loop
