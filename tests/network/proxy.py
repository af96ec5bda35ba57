# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A TCP proxy between the product and a vendor that loses, delays and cuts what passes, byte by byte."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    What befalls a connection; the default is nothing.

    :param request_bytes: how many bytes of the request reach the vendor before the cut.
    :param answer_bytes: how many bytes of the answer reach the product before the cut.
    :param how: ``close`` ends both sides as a proxy that is shut down does, ``reset`` with RST, and ``hang``
        keeps the connection and swallows everything, as a black hole does.
    :param delay: seconds before the answer's first byte.
    :param pause: seconds after each byte of the answer.
    """

    request_bytes: int | None = None
    answer_bytes: int | None = None
    how: Literal["close", "reset", "hang"] = "close"
    delay: float = 0.0
    pause: float = 0.0


@dataclass(slots=True)
class Passage:
    """
    One connection, as the proxy saw it.

    :ivar request: what reached the vendor.
    :ivar answer: what reached the product.
    :ivar offered: how many bytes the product wanted to send.
    :ivar heard: whether the vendor answered.
    """

    trouble: Trouble
    request: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)
    offered: int = 0
    heard: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """
    Listens on loopback and carries each connection to the vendor, with :attr:`trouble`.

    :ivar trouble: of every connection from now on.
    :ivar vendor_port: where every connection from now on leads.
    :ivar passages: all connections so far.
    """

    def __init__(self, vendor_port: int) -> None:
        self.trouble = Trouble()
        self.passages: list[Passage] = []
        self.vendor_port = vendor_port
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settled(self) -> list[Passage]:
        """Return all passages once each is over, so that the vendor has seen what it will ever see."""
        for passage in self.passages:
            assert passage.over.wait(_PATIENCE), "a connection is still open"
        return self.passages

    def close(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._acceptor, *self._threads):
            thread.join(_PATIENCE)
            assert not thread.is_alive(), "a thread of the proxy did not end"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            passage = Passage(self.trouble)
            self.passages.append(passage)
            thread = threading.Thread(target=self._serve, args=(passage, client), daemon=True)
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()

    def _serve(self, passage: Passage, client: socket.socket) -> None:
        try:
            way = ("127.0.0.1", self.vendor_port)
            # A side that goes away is what this is about.
            with contextlib.suppress(OSError), client, socket.create_connection(way) as vendor:
                for sock in (client, vendor):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._carry(passage, client, vendor):
                    self._cut(passage, client, vendor)
        finally:
            passage.over.set()

    def _carry(self, passage: Passage, client: socket.socket, vendor: socket.socket) -> bool:
        """Carry bytes both ways until the cut (``True``) or until a side has had enough."""
        trouble = passage.trouble
        while not self._stopping.is_set():
            ready, _, _ = select.select([client, vendor], [], [], 0.5)
            if client in ready:
                data = client.recv(65536)
                if not data:
                    return False
                passage.offered += len(data)
                self._send(vendor, data, passage.request, trouble.request_bytes)
                if trouble.request_bytes is not None and len(passage.request) >= trouble.request_bytes:
                    return True
            if vendor in ready:
                data = vendor.recv(65536)
                if not data:
                    return False
                if not passage.heard and self._stopping.wait(trouble.delay):
                    return False
                passage.heard = True
                self._send(client, data, passage.answer, trouble.answer_bytes, trouble.pause)
                if trouble.answer_bytes is not None and len(passage.answer) >= trouble.answer_bytes:
                    return True
        return False

    def _answered(self, vendor: socket.socket) -> None:
        while not self._stopping.is_set() and not select.select([vendor], [], [], 0.1)[0]:
            pass

    def _send(
        self, to: socket.socket, data: bytes, passed: bytearray, most: int | None, pause: float = 0.0
    ) -> None:
        data = data if most is None else data[: most - len(passed)]
        step = len(data) if not pause else 1
        for at in range(0, len(data), step or 1):
            part = data[at : at + step]
            to.sendall(part)
            passed += part
            if pause and self._stopping.wait(pause):
                return

    def _cut(self, passage: Passage, client: socket.socket, vendor: socket.socket) -> None:
        """End the connection; the vendor first, which has decided when the product learns of it."""
        if is_whole(passage.request) and not passage.heard:
            self._answered(vendor)
        if passage.trouble.how == "hang":
            while not self._stopping.is_set() and not _hung_up(client):
                self._stopping.wait(0.02)
            return
        if passage.trouble.how == "reset":
            for sock in (vendor, client):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            return
        _finish(vendor)
        _finish(client)


def is_whole(request: bytes | bytearray) -> bool:
    """Return whether a request is there with its whole body."""
    head, found, body = bytes(request).partition(b"\r\n\r\n")
    if not found:
        return False
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")[1:]
        if line.lower().startswith(b"content-length:")
    ]
    return bool(lengths) and len(body) >= lengths[0]


def _hung_up(sock: socket.socket) -> bool:
    if not select.select([sock], [], [], 0)[0]:
        return False
    return not sock.recv(65536)


def _finish(sock: socket.socket) -> None:
    """Say that nothing more comes, and take what the other side still sends: FIN, and no RST."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(_PATIENCE)
        while sock.recv(65536):
            pass


@contextlib.contextmanager
def proxying(vendor_port: int) -> Iterator[Proxy]:
    """Run a proxy for the length of a block."""
    proxy = Proxy(vendor_port)
    try:
        yield proxy
    finally:
        proxy.close()
