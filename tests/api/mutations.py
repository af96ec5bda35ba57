# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Ten thousand answers that no vendor should give: genuine ones, damaged the same way at every run."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

TASK = "7392616336519610409"
URL = "https://v.test/a.mp4?sig=1"

_HTTP = (200, 200, 200, 400, 400, 401, 403, 404, 407, 408, 429, 499, 500, 502, 503, 504, 302, 204)
_CODES = (
    10000, 50411, 50511, 50412, 50512, 50413, 50429, 50430, 50500, 50501, 50200, 50207, 50214, 50215, 50218,
    50400, 50402, 50513, 50516, 50518, 50519, 50520, 60102, 60208, 59999, 0, -1,
)  # fmt: skip
_GATEWAY = (100006, 100008, 100009, 100010, 100013, 100014, 100018, 100019, 100024, 100026, 100031, 199999)
_STATUSES = ("in_queue", "generating", "done", "not_found", "expired", "resting")
_FIELDS = (
    "code", "data", "task_id", "status", "video_url", "image_urls", "message", "request_id", "Error", "Code",
    "CodeN", "ResponseMetadata", "Result", "Data",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 10000, "10000", 10000.0, 1e4, 50430, "50430", 10**40, 1e308, "", " ", "0",
    "null", "None", "done", "generating", TASK, int(TASK), float(TASK), "7.39e+18", "undefined", [], {},
    [TASK], {"task_id": TASK}, URL, "javascript:alert(1)", "\x00", "\ud800", "x" * 5000, "状态", "NaN",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    One answer.

    :param how: what was done to it, to find it again.
    """

    http_status: int
    headers: dict[str, str]
    body: bytes
    how: str


def genuine(draw: random.Random) -> dict[str, Any]:
    """Return an answer as the vendor gives it, to a submit or to a query."""
    if draw.random() < 0.25:
        error = {"CodeN": draw.choice(_GATEWAY), "Code": "SomeWord", "Message": "words"}
        return {"ResponseMetadata": {"RequestId": "r1", "Action": "CVSync2AsyncSubmitTask", "Error": error}}
    data: dict[str, Any] | None = {"task_id": TASK}
    if draw.random() < 0.6:
        data = {"status": draw.choice(_STATUSES)}
        if draw.random() < 0.5:
            data["video_url"] = URL
        if draw.random() < 0.3:
            data = {"status": "done", "video_url": URL}
    code = 10000 if draw.random() < 0.4 else draw.choice(_CODES)
    if code != 10000 and draw.random() < 0.6:
        data = None
    return {
        "code": code, "data": data, "message": "words", "request_id": "r1", "status": code,
        "time_elapsed": "1.5ms",
    }  # fmt: skip


def _nodes(value: Any) -> list[Any]:
    found = [value] if isinstance(value, dict | list) and value else []
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found += _nodes(each)
    return found


def _a_field(document: Any, draw: random.Random) -> tuple[Any, Any]:
    node = draw.choice(_nodes(document) or [{"code": 1}])
    return node, draw.choice(list(node) if isinstance(node, dict) else range(len(node)))


def swap_types(document: Any, draw: random.Random) -> Any:
    node, key = _a_field(document, draw)
    node[key] = copy.deepcopy(draw.choice(_VALUES))
    return document


def swap_keys(document: Any, draw: random.Random) -> Any:
    node, key = _a_field(document, draw)
    other, name = _a_field(document, draw)
    node[key], other[name] = other[name], node[key]
    # What would hold itself now is no JSON any more.
    return json.loads(_encodable(document))


def rename(document: Any, draw: random.Random) -> Any:
    node, key = _a_field(document, draw)
    if isinstance(node, dict):
        node[draw.choice((*_FIELDS, str(key).upper(), f" {key}", ""))] = node.pop(key)
    return document


def move(document: Any, draw: random.Random) -> Any:
    node, key = _a_field(document, draw)
    value = node.pop(key)
    target = draw.choice(_nodes(document) or [node])
    if isinstance(target, dict):
        target[str(key)] = value
    else:
        target.append(value)
    return json.loads(_encodable(document))


def add(document: Any, draw: random.Random) -> Any:
    node = draw.choice(_nodes(document) or [{}])
    if isinstance(node, dict):
        node[draw.choice(_FIELDS)] = copy.deepcopy(draw.choice(_VALUES))
    return document


def wrap(document: Any, draw: random.Random) -> Any:
    name = draw.choice(_FIELDS)
    return draw.choice(([document], {name: document}, {**genuine(draw), name: document}))


def merge(document: Any, draw: random.Random) -> Any:
    return {**document, **genuine(draw)} if isinstance(document, dict) else document


def nest(document: Any, draw: random.Random) -> Any:
    node, key = _a_field(document, draw)
    for _ in range(draw.choice((1, 3, 50))):
        node[key] = {str(key): node[key]}
    return document


def _encodable(document: Any) -> str:
    try:
        return json.dumps(document)
    except (ValueError, RecursionError):
        return "{}"


def flip_bits(body: bytes, draw: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def truncate(body: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(body))
    return draw.choice((body[:at], body[at:], body[:at] + body[at + 1 :]))


def duplicate(body: bytes, draw: random.Random) -> bytes:
    field = json.dumps({draw.choice(_FIELDS): draw.choice(_VALUES)}).encode()[1:-1]
    at = draw.choice([number for number, byte in enumerate(body) if byte in b"{"] or [0])
    return draw.choice(
        (body[: at + 1] + field + b"," + body[at + 1 :], body + body, body[:-1] + b"," + body[1:])
    )


def encode(body: bytes, draw: random.Random) -> bytes:
    text = body.decode("utf-8", "replace").replace("words", "输入图片未通过审核")
    codec = draw.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030", "big5", "utf-7"))
    return text.encode(codec, "replace")


def litter(body: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(body) + 1)
    junk = draw.choice(
        (b"\x00", b"\xff\xfe", b"\\u0000", b"1e999", b"-", b"[" * 3000, b"9" * 5000, b"<html>")
    )
    return body[:at] + junk + body[at:]


def large_number(body: bytes, draw: random.Random) -> bytes:
    digits = draw.choice((b"9" * 30, b"9" * 5000, b"1e400", b"-0", b"0x10", b"1E4", b"10000.0", b"NaN"))
    return body.replace(draw.choice((b"10000", b"50", b'"' + TASK.encode() + b'"')), digits)


_OF_DOCUMENTS: tuple[Callable[[Any, random.Random], Any], ...] = (
    swap_types, swap_types, swap_keys, rename, move, add, add, wrap, merge, nest,
)  # fmt: skip
_OF_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_bits, flip_bits, truncate, duplicate, duplicate, encode, litter, large_number,
)  # fmt: skip
_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"Retry-After": "3"},
    {"Retry-After": "-1e999"},
    {"Retry-After": "nan", "Date": "Thu, 99 Foo 2026 99:99:99 GMT"},
    {"Date": "Wed, 25 Nov 2026 21:32:25 GMT", "Retry-After": "Wed, 25 Nov 2026 21:33:25 GMT"},
    {"X-Tt-Logid": "\x00" * 300, "date": "\ud800"},
)


def mutants(count: int, seed: int = 20261125) -> Iterator[Mutant]:
    """Yield the same answers for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        document: Any = genuine(draw)
        done = []
        for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
            change = draw.choice(_OF_DOCUMENTS)
            document = change(document, draw)
            done.append(change.__name__)
        body = _encodable(document).encode()
        for _ in range(draw.choice((0, 0, 1, 1, 2)) if done else 1):
            damage = draw.choice(_OF_BYTES)
            body = damage(body or b" ", draw)
            done.append(damage.__name__)
        yield Mutant(draw.choice(_HTTP), draw.choice(_HEADERS), body, "+".join(done))
