# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A submit is sent once or not at all, within its deadline, whatever the other side does."""

from __future__ import annotations

import gzip
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.api.build import encode_body
from airflow_provider_jimeng.api.models import Answer, Envelope, FailureKind, Observation, TransportFailure
from airflow_provider_jimeng.api.parsing import task_id_of
from airflow_provider_jimeng.client import wire
from airflow_provider_jimeng.client.sync import SyncClient

from tests.client.servers import (
    CREATED,
    TASK_ID,
    Behaviour,
    Connection,
    RawServer,
    answer_bytes,
    answering,
    closed_port,
    make_certificate,
    server_context,
    serving,
)
from tests.client.settings_for import SECRET, TOKEN, settings_for

BODY = encode_body({"req_key": "k", "image_url": "https://a.test/i?sig=1", "video_url": "https://a.test/v"})


def never_late(observation: Observation) -> None:
    raise AssertionError(f"an answer in time was called late: {observation}")


def submit(origin: str, on_late: Any = never_late, **changes: Any) -> Observation:
    return SyncClient(settings_for(origin, **changes)).submit(BODY, on_late=on_late)


def failure(observation: Observation) -> TransportFailure:
    assert isinstance(observation, TransportFailure), observation
    for secret in (SECRET, TOKEN, "Authorization", "Signature", "Action="):
        assert secret not in observation.detail
    return observation


def reset_before_reading(connection: Connection) -> None:
    # Something has arrived, and is thrown away unread.
    connection.sock.recv(1, socket.MSG_PEEK)
    connection.reset()


def reset_after_reading(connection: Connection) -> None:
    connection.read_request()
    connection.reset()


def close_after_reading(connection: Connection) -> None:
    connection.read_request()


def hang_after_reading(connection: Connection) -> None:
    connection.read_request()
    connection.hang()


def hang_before_reading(connection: Connection) -> None:
    connection.hang()


def drip_headers(connection: Connection) -> None:
    connection.read_request()
    connection.drip(answer_bytes(CREATED), 0.05)


def drip_body(connection: Connection) -> None:
    connection.read_request()
    whole = answer_bytes(CREATED)
    head, _, body = whole.partition(b"\r\n\r\n")
    connection.send(head + b"\r\n\r\n")
    connection.drip(body, 0.05)


def garbage(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"\x16\x03\x01\x02\x00 not http at all\r\n\r\n")


def endless_headers(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.send(b"X-Filler: " + b"a" * 1000 + b"\r\n")


def test_answer_comes_back_with_the_task_id_after_exactly_one_post():
    with serving(answering(CREATED)) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID
    assert len(server.requests) == server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /?Action=CVSync2AsyncSubmitTask&Version=2022-08-31 HTTP/1.1\r\n")
    assert body == BODY
    assert head.lower().count(b"\r\nhost:") == head.lower().count(b"\r\ncontent-length:") == 1


def test_every_submit_uses_a_fresh_connection():
    with serving(answering(CREATED)) as server:
        client = SyncClient(settings_for(server.url))
        for _ in range(3):
            assert isinstance(client.submit(BODY, on_late=never_late), Answer)
    assert server.connections == len(server.requests) == 3


# --- nothing was sent ---


def test_refused_connection_was_not_sent():
    found = failure(submit(f"http://127.0.0.1:{closed_port()}"))
    assert found.kind is FailureKind.NOT_SENT
    assert "refused" in found.detail.lower()


def test_name_without_address_was_not_sent():
    found = failure(submit("https://no-such-host.invalid"))
    assert found.kind is FailureKind.NOT_SENT
    assert "no address" in found.detail


def test_connection_that_is_never_accepted_was_not_sent():
    # A listener whose queue is full drops new connections, as a firewall does.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        held = []
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            held.append(each)
        began = time.monotonic()
        found = failure(submit(f"http://127.0.0.1:{port}", connect_timeout=0.3))
        for each in held:
            each.close()
    assert found.kind is FailureKind.NOT_SENT
    assert time.monotonic() - began < 3


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    return {host: make_certificate(folder, host) for host in ("127.0.0.1", "other.test")}


@pytest.fixture
def https(certificates: dict[str, tuple[Path, Path]]) -> Iterator[RawServer]:
    with serving(answering(CREATED), server_context(*certificates["127.0.0.1"])) as server:
        yield server


def test_trusted_certificate_is_accepted(https: RawServer, certificates: Any):
    observation = submit(https.url, verify=str(certificates["127.0.0.1"][0]))
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID


def test_verify_false_accepts_any_certificate(https: RawServer):
    assert isinstance(submit(https.url, verify=False), Answer)


def test_ca_bundle_of_the_environment_is_used(
    https: RawServer, certificates: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates["127.0.0.1"][0]))
    assert isinstance(submit(https.url), Answer)


def test_untrusted_certificate_was_not_sent(https: RawServer):
    found = failure(submit(https.url))
    assert found.kind is FailureKind.NOT_SENT
    assert "certificate" in found.detail
    assert https.requests == []


def test_certificate_of_another_host_was_not_sent(certificates: Any):
    with serving(answering(CREATED), server_context(*certificates["other.test"])) as server:
        found = failure(submit(server.url, verify=str(certificates["other.test"][0])))
    assert found.kind is FailureKind.NOT_SENT
    assert server.requests == []


def test_tls_handshake_that_fails_was_not_sent():
    with serving(answering(CREATED)) as plain:
        found = failure(submit(plain.url.replace("http:", "https:"), read_timeout=1.0, submit_deadline=2.0))
    assert found.kind is FailureKind.NOT_SENT


def test_tls_handshake_that_hangs_was_not_sent_and_never_will_be():
    with serving(hang_before_reading) as server:
        found = failure(
            submit(server.url.replace("http:", "https:"), connect_timeout=5.0, submit_deadline=0.3)
        )
    assert found.kind is FailureKind.NOT_SENT


@pytest.mark.parametrize(
    "status", [b"403 Forbidden", b"407 Proxy Authentication Required", b"502 Bad Gateway"]
)
def test_proxy_that_refuses_the_way_was_not_sent(status: bytes):
    def refuse(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    with serving(refuse) as proxy:
        found = failure(
            submit("https://visual.test", proxies={"https": f"http://user:pw-secret@127.0.0.1:{proxy.port}"})
        )
    assert found.kind is FailureKind.NOT_SENT
    assert status[:3].decode() in found.detail
    assert "pw-secret" not in found.detail
    assert proxy.requests[0].startswith(b"CONNECT visual.test:443 ")


def test_proxy_that_is_not_there_was_not_sent():
    found = failure(
        submit("https://visual.test", proxies={"https": f"http://u:pw-secret@127.0.0.1:{closed_port()}"})
    )
    assert found.kind is FailureKind.NOT_SENT
    assert "proxy" in found.detail
    assert "pw-secret" not in found.detail


def test_connection_after_the_deadline_sends_nothing(monkeypatch: pytest.MonkeyPatch):
    entered, released, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow_names(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        assert released.wait(10)
        return real(*args, **kwargs)

    with serving(answering(CREATED)) as server:
        client = SyncClient(settings_for(server.url, submit_deadline=0.2))
        monkeypatch.setattr(socket, "getaddrinfo", slow_names)
        found = failure(client.submit(BODY, on_late=never_late))
        assert entered.is_set()
        released.set()
        senders = [each for each in threading.enumerate() if each.name == "jimeng-send"]
        for each in senders:
            each.join(5)
            assert not each.is_alive()
    assert found.kind is FailureKind.NOT_SENT
    assert server.requests == []


def test_intent_that_is_too_old_is_not_sent():
    with serving(answering(CREATED)) as server:
        client = SyncClient(settings_for(server.url, submit_deadline=30.0))
        found = failure(client.submit(BODY, on_late=never_late, started=wire.steady_seconds() - 31))
    assert found.kind is FailureKind.NOT_SENT
    assert "too old" in found.detail
    assert server.connections == 0


def test_request_that_is_withdrawn_at_the_last_moment_is_not_sent():
    asked: list[bool] = []

    def withdrawn() -> bool:
        asked.append(True)
        return True

    with serving(answering(CREATED)) as server:
        client = SyncClient(settings_for(server.url))
        found = failure(client.submit(BODY, on_late=never_late, withdrawn=withdrawn))
        assert found.kind is FailureKind.NOT_SENT
        assert "told to stop" in found.detail
        assert asked
        assert server.requests == []


def test_withdrawal_ends_the_wait_for_a_turn_under_the_rate_limit():
    with serving(answering(CREATED)) as server:
        client = SyncClient(settings_for(server.url, submit_qps=0.1, submit_deadline=60.0))
        assert isinstance(client.submit(BODY, on_late=never_late), Answer)
        began = time.monotonic()
        found = failure(client.submit(BODY, on_late=never_late, withdrawn=lambda: True))
        assert (found.kind, "told to stop" in found.detail) == (FailureKind.NOT_SENT, True)
        assert time.monotonic() - began < 5.0
        assert len(server.requests) == 1


def test_turn_under_the_rate_limit_that_comes_too_late_is_not_sent():
    with serving(answering(CREATED)) as server:
        client = SyncClient(settings_for(server.url, submit_qps=0.01, submit_deadline=5.0))
        assert isinstance(client.submit(BODY, on_late=never_late), Answer)
        began = time.monotonic()
        found = failure(client.submit(BODY, on_late=never_late))
    assert found.kind is FailureKind.NOT_SENT
    assert time.monotonic() - began < 1
    assert len(server.requests) == 1


# --- something may have been sent ---


@pytest.mark.parametrize(
    ("behave", "posts"),
    [
        (reset_before_reading, 0),
        (reset_after_reading, 1),
        (close_after_reading, 1),
        (hang_after_reading, 1),
        (hang_before_reading, 0),
        (drip_headers, 1),
        (garbage, 1),
        (endless_headers, 1),
    ],
)
def test_no_answer_after_a_connection_is_never_called_unsent(behave: Behaviour, posts: int):
    with serving(behave) as server:
        began = time.monotonic()
        found = failure(submit(server.url, on_late=lambda _: None, submit_deadline=0.6))
        assert time.monotonic() - began < 3
        assert found.kind is FailureKind.NO_ANSWER
        assert len(server.requests) == posts
    assert server.connections == 1


def test_reset_of_a_connection_that_just_opened_is_unsent_or_without_an_answer():
    with serving(Connection.reset) as server:
        failure(submit(server.url))
    # The reset may overtake the end of connect(), which is then unsent; in no case did the request arrive.
    assert server.requests == []
    assert server.connections == 1


def test_read_timeout_is_no_answer():
    with serving(hang_after_reading) as server:
        found = failure(submit(server.url, read_timeout=0.2))
    assert found.kind is FailureKind.NO_ANSWER
    assert len(server.requests) == 1


def test_body_that_drips_is_given_up_at_the_deadline():
    with serving(drip_body) as server:
        began = time.monotonic()
        found = failure(submit(server.url, on_late=lambda _: None, submit_deadline=0.5))
        assert time.monotonic() - began < 2
    assert found.kind is FailureKind.NO_ANSWER
    assert len(server.requests) == 1


# --- late answers ---


def test_answer_after_the_deadline_reaches_on_late():
    late: queue.Queue[Observation] = queue.Queue()
    proceed = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_request()
        proceed.wait(10)
        connection.answer(CREATED)

    with serving(slow) as server:
        found = failure(submit(server.url, on_late=late.put, submit_deadline=0.2))
        assert late.empty()
        proceed.set()
        observation = late.get(timeout=5)
    assert found.kind is FailureKind.NO_ANSWER
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID
    assert len(server.requests) == 1


def test_handler_of_a_late_answer_that_fails_is_logged(caplog: pytest.LogCaptureFixture):
    proceed, failed = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_request()
        proceed.wait(10)
        connection.answer(CREATED)

    def broken(observation: Observation) -> None:
        failed.set()
        raise RuntimeError("no ledger")

    with serving(slow) as server:
        submit(server.url, on_late=broken, submit_deadline=0.2)
        senders = [each for each in threading.enumerate() if each.name == "jimeng-send"]
        proceed.set()
        assert failed.wait(5)
        for each in senders:
            each.join(5)
    assert "late answer" in caplog.text


def test_dripping_answer_is_cut_at_the_end_of_the_linger(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("airflow_provider_jimeng.client.sync.LATE_ANSWER_SECONDS", 0.2)
    with serving(drip_headers) as server:
        submit(server.url, on_late=lambda _: None, submit_deadline=0.2)
        senders = [each for each in threading.enumerate() if each.name == "jimeng-send"]
        assert senders
        for each in senders:
            each.join(5)
            assert not each.is_alive()


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("kind", [Interrupted, KeyboardInterrupt, RuntimeError, TimeoutError])
def test_interruption_of_the_waiting_thread_still_hands_over_the_answer(kind: type[BaseException]):
    late: queue.Queue[Observation] = queue.Queue()
    proceed = threading.Event()

    def interrupt(*_: Any) -> None:
        raise kind

    def slow(connection: Connection) -> None:
        connection.read_request()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        proceed.wait(10)
        connection.answer(CREATED)

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with serving(slow) as server:
            with pytest.raises(kind):
                submit(server.url, on_late=late.put, submit_deadline=10.0)
            proceed.set()
            observation = late.get(timeout=5)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID


def test_interruption_before_the_connection_keeps_the_request_in(monkeypatch: pytest.MonkeyPatch):
    entered, released, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow_names(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        assert released.wait(10)
        return real(*args, **kwargs)

    def interrupt(*_: Any) -> None:
        raise Interrupted

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with serving(answering(CREATED)) as server:
            client = SyncClient(settings_for(server.url))
            monkeypatch.setattr(socket, "getaddrinfo", slow_names)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Interrupted):
                client.submit(BODY, on_late=never_late)
            assert entered.is_set()
            senders = [each for each in threading.enumerate() if each.name == "jimeng-send"]
            released.set()
            for each in senders:
                each.join(5)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert server.requests == []


def test_process_that_can_start_no_thread_sends_nothing(monkeypatch: pytest.MonkeyPatch):
    with serving(answering(CREATED)) as server:

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            found = failure(submit(server.url))
    assert found.kind is FailureKind.NOT_SENT
    assert server.requests == []


# --- odd answers ---


def test_redirect_is_an_answer_and_never_followed():
    with serving(answering(CREATED)) as target:
        with serving(answering(b"", "307 Temporary Redirect", Location=target.url)) as server:
            observation = submit(server.url)
        assert target.connections == 0
    assert isinstance(observation, Answer)
    assert (observation.http_status, observation.envelope) == (307, Envelope.NONE)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("504 Gateway Time-out", b"<html><h1>504 Gateway Time-out</h1></html>"),
        ("502 Bad Gateway", b"<html></html>"),
        ("503 Service Unavailable", b""),
        ("200 OK", b""),
        ("400 Bad Request", b"bad request"),
        ("407 Proxy Authentication Required", b""),
    ],
)
def test_answers_that_are_not_the_vendors_come_back_as_they_are(status: str, body: bytes):
    with serving(answering(body, status)) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert observation.http_status == int(status[:3])
    assert observation.envelope is Envelope.NONE
    assert len(server.requests) == 1


def test_five_gigabytes_are_not_read():
    sent = 0

    def flood(connection: Connection) -> None:
        nonlocal sent
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5368709120\r\n\r\n")
        block = b" " * (1 << 16)
        for _ in range(5368709120 // len(block)):
            connection.send(block)
            sent += len(block)

    with serving(flood) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE
    assert sent < 64 << 20
    assert len(server.requests) == 1


def test_gzip_bomb_is_not_unpacked():
    bomb = gzip.compress(b" " * (64 << 20))
    with serving(answering(bomb, Content_Encoding="gzip")) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression_that_was_not_asked_for_is_undone(encoding: str):
    import json
    import zlib

    plain = json.dumps(CREATED).encode()
    packed = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    with serving(answering(packed, Content_Encoding=encoding)) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID
    assert b"accept-encoding: identity" in server.requests[0].lower()


def test_broken_compression_is_no_envelope():
    with serving(answering(b"\x1f\x8b not gzip", Content_Encoding="gzip")) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert observation.envelope is Envelope.NONE


def test_id_in_a_body_that_broke_off_after_it_is_kept():
    def short(connection: Connection) -> None:
        connection.read_request()
        connection.send(answer_bytes(CREATED).replace(b"Content-Length: ", b"Content-Length: 9"))
        connection.reset()

    with serving(short) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    # The reset may overtake the bytes; if they came, they count.
    assert task_id_of(observation) in (TASK_ID, None)
    assert len(server.requests) == 1


def test_id_in_a_body_that_is_closed_early_is_read():
    def short(connection: Connection) -> None:
        connection.read_request()
        connection.send(answer_bytes(CREATED).replace(b"Content-Length: ", b"Content-Length: 9"))

    with serving(short) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID


def test_chunked_answer_is_read():
    def chunked(connection: Connection) -> None:
        import json

        connection.read_request()
        data = json.dumps(CREATED).encode()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for index in range(0, len(data), 7):
            part = data[index : index + 7]
            connection.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        connection.send(b"0\r\n\r\n")

    with serving(chunked) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID


def test_interim_answer_is_skipped():
    def interim(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.answer(CREATED)

    with serving(interim) as server:
        observation = submit(server.url)
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID


# --- the environment ---


def test_netrc_never_replaces_the_signature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\ndefault login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(answering(CREATED)) as server:
        submit(server.url)
    assert b"Authorization: HMAC-SHA256 Credential=AKtest/" in server.requests[0]
    assert b"Basic" not in server.requests[0]


def test_proxy_of_the_environment_is_used_with_its_password(monkeypatch: pytest.MonkeyPatch):
    with serving(answering(CREATED)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pw@127.0.0.1:{proxy.port}")
        observation = submit("http://visual.test")
    assert isinstance(observation, Answer)
    assert proxy.requests[0].startswith(b"POST http://visual.test/?Action=")
    assert b"\r\nProxy-Authorization: Basic " in proxy.requests[0]


def test_no_proxy_of_the_environment_is_honoured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    with serving(answering(CREATED)) as server:
        assert isinstance(submit(server.url), Answer)


def test_proxy_of_the_connection_comes_before_the_environments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    with serving(answering(CREATED)) as proxy:
        observation = submit("http://visual.test", proxies={"http": proxy.url})
    assert isinstance(observation, Answer)
    assert len(proxy.requests) == 1


def test_https_goes_through_the_tunnel_of_a_proxy(certificates: Any):
    with serving(answering(CREATED), server_context(*certificates["127.0.0.1"])) as server:

        def tunnel(connection: Connection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with socket.create_connection(("127.0.0.1", server.port)) as onward:

                def back() -> None:
                    try:
                        while data := onward.recv(65536):
                            connection.send(data)
                    except OSError:
                        return

                thread = threading.Thread(target=back, daemon=True)
                thread.start()
                while data := connection.sock.recv(65536):
                    onward.sendall(data)
                onward.shutdown(socket.SHUT_RDWR)
                thread.join(5)

        with serving(tunnel) as proxy:
            observation = submit(
                server.url, proxies={"https": proxy.url}, verify=str(certificates["127.0.0.1"][0])
            )
    assert isinstance(observation, Answer)
    assert task_id_of(observation) == TASK_ID
    assert b"Authorization" not in proxy.requests[0]


def test_nothing_secret_is_logged_at_debug_level(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    for behave in (answering(CREATED), reset_after_reading, garbage):
        with serving(behave) as server:
            submit(server.url)
    for secret in (SECRET, TOKEN, "HMAC-SHA256"):
        assert secret not in caplog.text
