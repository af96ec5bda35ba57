# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
One request, sent at most once, with an end that no socket can put off.

Whether a request that got no answer was sent is not guessed from the exception: a :class:`Gate` stands
between the connection (name, TCP, proxy's CONNECT, TLS) and the first byte of the request. What fails before
it was ``NOT_SENT``; what fails after it is ``NO_ANSWER``; and it opens once, so that nothing below can send a
second time.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from airflow_provider_jimeng.api.models import (
    Answer,
    FailureKind,
    Observation,
    SignedRequest,
    TransportFailure,
)
from airflow_provider_jimeng.api.parsing import parse_answer
from airflow_provider_jimeng.client.blame import describe_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.client.adapter import OnceAdapter

log = logging.getLogger(__name__)

#: An answer is a few hundred bytes; what is longer is not the vendor's.
MAX_ANSWER_BYTES = 1 << 20
_CHUNK = 1 << 14
#: Why a request was kept in by its own task.
WITHDRAWN = "its task was told to stop"
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def steady_seconds() -> float:
    """
    Read a clock that never jumps and also runs while the machine sleeps, in seconds from an arbitrary point.

    A laptop's lid or a paused virtual machine must make an intent older; ``time.monotonic`` stands still on
    Linux.
    """
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


def still_wanted() -> bool:
    """Tell that a request was not withdrawn: where nobody can withdraw it."""
    return False


class GateShut(Exception):
    """Raised in the sending thread instead of sending."""


class Gate:
    """
    The point of no return of one request.

    :param expires: by :func:`steady_seconds`, when it no longer opens, so that a thread that was held up (a
        slow name server, a suspended machine) doesn't send what its caller has given up.
    :param withdrawn: asked right before it opens; ``True`` keeps the request in.
    """

    def __init__(self, expires: float, withdrawn: Callable[[], bool] = still_wanted) -> None:
        self._expires = expires
        self._withdrawn = withdrawn
        self._lock = threading.Lock()
        self._shut = False
        self._socket: Any = None
        self.passed = False

    def open(self, connected: Any) -> None:
        """Let the request out through a connected socket, once; raises :class:`GateShut` otherwise."""
        with self._lock:
            withdrawn = self._withdrawn()
            if withdrawn or self._shut or self.passed or steady_seconds() >= self._expires:
                self._shut = True
                raise GateShut(WITHDRAWN if withdrawn else "the request became too old to be sent")
            self.passed = True
            self._socket = connected

    def shut(self) -> bool:
        """Keep the request in if it is still in; tell whether it was."""
        with self._lock:
            self._shut = True
            return not self.passed

    def hang_up(self) -> None:
        """End the connection from another thread, so that a read that would last for ever ends."""
        with self._lock:
            connected = getattr(self._socket, "socket", self._socket)
        if connected is not None:
            # Not the TLS socket's own shutdown, which drops state that the reading thread is using.
            with contextlib.suppress(OSError, TypeError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long a request may take, in seconds.

    :param connect: for each address of the host.
    :param read: between two reads.
    :param total: for everything.
    :param linger: how much longer an answer that is of use late is waited for, out of the caller's way.
    """

    connect: float
    read: float
    total: float
    linger: float = 0.0


def exchange(
    request: SignedRequest,
    patience: Patience,
    make_adapter: Callable[[Gate], OnceAdapter],
    *,
    started: float | None = None,
    on_late: Callable[[Observation], None] | None = None,
    withdrawn: Callable[[], bool] = still_wanted,
) -> Observation:
    """
    Send a request at most once on a fresh connection, and return within ``patience.total`` seconds.

    The caller's thread only waits, so that neither a server that drips bytes nor a name server that hangs can
    hold it, and an Airflow timeout that interrupts it also keeps in what was not yet sent.

    :param make_adapter: makes the connection's maker around the gate.
    :param started: by :func:`steady_seconds`, when the total began; now, unless given.
    :param on_late: gets the answer that came after the total, in another thread.
    :param withdrawn: asked right before the first byte leaves; ``True`` keeps the request in.
    """
    began = steady_seconds() if started is None else started
    gate = Gate(began + patience.total, withdrawn)
    sending = _Sending(request, patience, gate, make_adapter, on_late)
    return sending.run(max(0.0, began + patience.total - steady_seconds()))


class _Sending:
    def __init__(
        self,
        request: SignedRequest,
        patience: Patience,
        gate: Gate,
        make_adapter: Callable[[Gate], OnceAdapter],
        on_late: Callable[[Observation], None] | None,
    ) -> None:
        self._request = request
        self._patience = patience
        self._gate = gate
        self._make_adapter = make_adapter
        self._on_late = on_late
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._observation: Observation | None = None
        self._given_up = False

    def run(self, seconds: float) -> Observation:
        thread = threading.Thread(target=self._work, name="jimeng-send", daemon=True)
        try:
            thread.start()
            self._done.wait(seconds)
        except BaseException as error:
            # A timeout or a user's interrupt: what is still in stays in, what is out may still be answered.
            seen = self._give_up()
            if isinstance(seen, Answer):
                # It arrived just as the caller was interrupted, and nobody else will look at it.
                self._tell_late(seen)
            if isinstance(error, RuntimeError) and thread.ident is None:
                return TransportFailure(FailureKind.NOT_SENT, "this process can't start another thread")
            raise
        return self._give_up()

    def _give_up(self) -> Observation:
        with self._lock:
            if self._observation is not None:
                return self._observation
            self._given_up = True
        if self._gate.shut():
            return TransportFailure(FailureKind.NOT_SENT, f"no connection within {self._patience.total:g} s")
        timer = threading.Timer(self._patience.linger, self._gate.hang_up)
        timer.daemon = True
        timer.start()
        return TransportFailure(FailureKind.NO_ANSWER, f"no whole answer within {self._patience.total:g} s")

    def _work(self) -> None:
        observation = self._observe()
        with self._lock:
            self._observation = observation
            late = self._given_up
        self._done.set()
        if late and isinstance(observation, Answer):
            self._tell_late(observation)

    def _tell_late(self, answer: Answer) -> None:
        if self._on_late is None:
            return
        try:
            self._on_late(answer)
        except Exception:
            log.exception("A late answer to a submit could not be handled.")

    def _observe(self) -> Observation:
        try:
            with contextlib.closing(self._make_adapter(self._gate)) as adapter:
                return self._send(adapter)
        except GateShut as shut:
            return TransportFailure(FailureKind.NOT_SENT, str(shut))
        except Exception as error:
            # Whatever it is, only the gate knows whether the vendor may have got the request.
            kind = FailureKind.NO_ANSWER if self._gate.passed else FailureKind.NOT_SENT
            return TransportFailure(kind, describe_failure(error))

    def _send(self, adapter: OnceAdapter) -> Answer:
        response = adapter.send(
            _prepare(self._request),
            stream=True,
            timeout=(self._patience.connect, self._patience.read),
            verify=adapter.verifies,
            proxies=adapter.proxies,
        )
        with contextlib.closing(response):
            body = _read_body(response.raw)
            encoding = response.headers.get("Content-Encoding", "")
            return parse_answer(response.status_code, response.headers, plain_body(body, encoding))


def _prepare(request: SignedRequest) -> PreparedRequest:
    """Hand requests the bytes that were signed; its own preparation would quote the URL again."""
    prepared = PreparedRequest()
    prepared.method = request.method
    prepared.url = request.url
    prepared.headers = CaseInsensitiveDict(wire_headers(request))
    prepared.body = request.body
    return prepared


def wire_headers(request: SignedRequest) -> dict[str, str]:
    """Return the signed headers with those that every HTTP request carries."""
    return {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "airflow-provider-jimeng",
        **request.headers,
        "Content-Length": str(len(request.body)),
    }


def _read_body(raw: Any) -> bytes:
    """
    Read what there is of a body, up to the limit.

    A body that breaks off is returned as far as it came: an id that can be read from it is an id that was
    paid for.
    """
    body = bytearray()
    # read1 hands over what has arrived; read would hold a slow body back until its end, and drop it at an
    # error.
    read = getattr(raw, "read1", None) or raw.read
    try:
        while len(body) < MAX_ANSWER_BYTES:
            chunk = read(_CHUNK, decode_content=False)
            if not chunk:
                break
            body += chunk
    except (HTTPError, OSError, ValueError) as error:
        log.debug("An answer broke off after %d bytes: %s", len(body), describe_failure(error))
    return bytes(body[:MAX_ANSWER_BYTES])


def plain_body(body: bytes, encoding: str) -> bytes:
    """Undo a compression that was not asked for, never to more than the limit."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MAX_ANSWER_BYTES)
    except zlib.error:
        return body
