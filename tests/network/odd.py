# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What answers in the vendor's place: portals, redirects, floods and bombs."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from functools import cache

from tests.client.servers import Behaviour, Connection, answering

PORTAL = b"<!DOCTYPE html><html><title>Guest Wi-Fi</title><form action='/login'>code: 10000</form></html>"
REDIRECTS = ("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Permanent")
#: What a flood would need in memory if it were read; the read is bounded to a hundredth of it.
FLOOD_BYTES = 5 << 30


def endless_chunks(connection: Connection) -> None:
    """Stream a JSON text that never ends, and whose length nobody told."""
    connection.read_request()
    connection.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    start = b'{"code":10000,"data":{"pad":"'
    connection.send(f"{len(start):x}\r\n".encode() + start + b"\r\n")
    block = b"x" * (1 << 16)
    framed = f"{len(block):x}\r\n".encode() + block + b"\r\n"
    for _ in range(FLOOD_BYTES // len(block)):
        connection.send(framed)


def five_gigabytes(connection: Connection) -> None:
    """Announce five gigabytes, and mean it."""
    connection.read_request()
    connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {FLOOD_BYTES}\r\n\r\n".encode())
    block = b" " * (1 << 16)
    for _ in range(FLOOD_BYTES // len(block)):
        connection.send(block)


@cache
def _bomb() -> bytes:
    """Return 200 kB that unpack to 200 MB, an answer in front."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    start = b'{"code":10000,"data":{"status":"done","video_url":"https://v.test/a.mp4"},"pad":"'
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what came before, so that the same block may follow itself.
    block = packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + 200 * block


def gzip_bomb(connection: Connection) -> None:
    answering(_bomb(), Content_Encoding="gzip")(connection)


def bomb_in_a_bomb(connection: Connection) -> None:
    answering(gzip.compress(_bomb()), Content_Encoding="gzip, gzip")(connection)


def endless_headers(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        connection.send(f"X-Filler-{number}: ".encode() + b"a" * 1000 + b"\r\n")


def deep_json(connection: Connection) -> None:
    answering(b'{"code":10000,"data":' + b'{"data":' * 50_000)(connection)


#: Nothing of these says what became of a request.
TELL_NOTHING: dict[str, Behaviour] = {
    "captive portal": answering(PORTAL, Content_Type="text/html"),
    "portal that says JSON": answering(PORTAL),
    "portal, 511": answering(PORTAL, "511 Network Authentication Required", Content_Type="text/html"),
    "nothing, 200": answering(b""),
    "no content": answering(b"", "204 No Content", Content_Length=""),
    "somebody else's JSON": answering({"error": None, "ok": True, "status": "done"}),
    "a list": answering(b"[]"),
    "null": answering(b"null"),
    "UTF-16": answering(json.dumps({"code": 10000}).encode("utf-16")),
    "five gigabytes": five_gigabytes,
    "endless chunks": endless_chunks,
    "endless headers": endless_headers,
    "gzip bomb": gzip_bomb,
    "bomb in a bomb": bomb_in_a_bomb,
    "fifty thousand levels": deep_json,
}
