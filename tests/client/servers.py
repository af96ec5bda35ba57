# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Loopback servers that speak, or fail to speak, byte for byte as a test wants."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TASK_ID = "7392616336519610409"
CREATED = {"code": 10000, "data": {"task_id": TASK_ID}, "message": "Success", "request_id": "R1"}
DONE = {"code": 10000, "data": {"status": "done", "video_url": "https://v.test/a.mp4"}, "message": "Success"}


def closed_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Connection:
    """One accepted connection, from the server's side."""

    def __init__(self, server: RawServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock

    def read_request(self) -> bytes:
        """Read a whole request and count it; empty where the client went away first."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.sock.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            chunk = self.sock.recv(65536)
            if not chunk:
                return b""
            body += chunk
        whole = head + b"\r\n\r\n" + body
        self.server.note(whole)
        return whole

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, body: Any, status: str = "200 OK", **headers: str) -> None:
        """Send a whole answer; a ``dict`` goes as JSON."""
        self.send(answer_bytes(body, status, **headers))

    def reset(self) -> None:
        """Close with RST in place of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def hang(self) -> None:
        """Say nothing until the test ends."""
        self.server.stopping.wait(60)

    def drip(self, data: bytes, seconds: float) -> None:
        """Send one byte at a time until the client goes away."""
        for each in data:
            self.send(bytes([each]))
            if self.server.stopping.wait(seconds):
                return


def answer_bytes(body: Any, status: str = "200 OK", **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + data


Behaviour = Callable[[Connection], None]


class RawServer:
    """
    Listens on loopback and lets ``behave`` handle each connection in a thread of its own.

    :ivar connections: accepted connections.
    :ivar requests: whole requests that arrived, as bytes.
    """

    def __init__(self, behave: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.stopping = threading.Event()
        self.arrived = threading.Condition()
        self.connections = 0
        self.requests: list[bytes] = []
        self._behave = behave
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def note(self, request: bytes) -> None:
        with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.requests) >= count, timeout)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        self._open.add(sock)
        # A client that goes away is what many of these tests are about.
        with contextlib.suppress(OSError), contextlib.closing(sock):
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            with contextlib.closing(sock):
                self._behave(Connection(self, sock))

    def close(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in [self._acceptor, *self._threads]:
            thread.join(10)
            assert not thread.is_alive(), "a server thread did not end"


@contextlib.contextmanager
def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Run a server for the length of a block."""
    server = RawServer(behave, tls)
    try:
        yield server
    finally:
        server.close()


def answering(body: Any, status: str = "200 OK", **headers: str) -> Behaviour:
    """Return the behaviour of a server that gives every request of a connection the same answer."""

    def behave(connection: Connection) -> None:
        while connection.read_request():
            connection.answer(body, status, **headers)

    return behave


def make_certificate(folder: Path, host: str = "127.0.0.1", *, hours: float = 1.0) -> tuple[Path, Path]:
    """
    Write a self-signed certificate for a host and its key; return both paths.

    :param hours: from now to its end, below zero for one that has expired.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback test")])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(hours=hours))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / f"{host}.pem", folder / f"{host}.key"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_path, key_path


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS context of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
