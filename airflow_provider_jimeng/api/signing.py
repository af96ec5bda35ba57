# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Volcengine Signature V4 (HMAC-SHA256), step by step and pure.

Each step is callable by itself, because the only useful question after a ``SignatureDoesNotMatch`` is *which*
step differs. The product signs with this instead of the vendor's SDK since the SDK repeats a submit by
itself.

Vendor facts, section 1.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from airflow_provider_jimeng.exceptions import JimengInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ALGORITHM",
    "body_sha256",
    "canonical_headers",
    "canonical_path",
    "canonical_query",
    "canonical_request",
    "credential_scope",
    "header_block",
    "sign_request",
    "signature",
    "signed_host",
    "signing_key",
    "string_to_sign",
    "x_date",
]

ALGORITHM = "HMAC-SHA256"

_UNRESERVED = "-_.~"
_SIGNED_NAMES = frozenset({"content-type", "content-md5", "host"})
#: Written by the signer alone; a caller's own would be sent twice, or signed stale.
_OWN_NAMES = frozenset({"x-date", "x-content-sha256", "x-security-token", "authorization"})
_DEFAULT_PORTS = ("80", "443")
#: Stands for what differs from request to request; no header or URL can hold a NUL.
_BLANK = "\0"
_HASH_BLOCK = 64
_NOTHING_SENT = "Nothing was sent, nothing was paid."


def body_sha256(body: bytes) -> str:
    """
    Digest the exact bytes that will be sent.

    :param body: the request body; serialise once, sign these bytes, send these bytes.
    """
    return hashlib.sha256(body).hexdigest()


def x_date(date: dt.datetime) -> str:
    """
    Write a moment as ``X-Date`` wants it, in UTC and to the second.

    :param date: an aware datetime; take a fresh one for every send, since the vendor refuses old ones.
    :raises JimengInputError: when it has no time zone: guessing one gives a signature that is hours off.
    """
    return _stamp(_second_of(date))


def _second_of(date: dt.datetime) -> int:
    if date.utcoffset() is None:
        raise JimengInputError(f"date: a time zone is needed to sign. {_NOTHING_SENT}")
    return math.floor(date.timestamp())


@lru_cache(maxsize=8)
def _stamp(second: int) -> str:
    return f"{dt.datetime.fromtimestamp(second, dt.UTC):%Y%m%dT%H%M%SZ}"


def canonical_path(path: str) -> str:
    """
    Percent-encode a URL's path as the vendor does; an empty one is ``/``.

    :param path: the path as it stands in the URL, so already encoded or not.
    """
    return quote(unquote(path, errors="surrogateescape"), safe="/-_.~", errors="surrogateescape") or "/"


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """
    Encode and sort query parameters.

    :param pairs: decoded names and values; equal names keep their order, as in the vendor's SDK.
    """
    encoded = [
        (name, f"{_encode(name)}={_encode(value)}") for name, value in sorted(pairs, key=lambda pair: pair[0])
    ]
    return "&".join(text for _, text in encoded)


def _encode(text: str) -> str:
    return quote(text, safe=_UNRESERVED, errors="surrogateescape")


def signed_host(host: str) -> str:
    """
    Drop ``:80`` and ``:443`` as the vendor does before it checks a signature; other ports stay.

    :param host: a ``Host`` header, IPv6 literals in brackets.
    """
    name, colon, port = host.rpartition(":")
    return name if colon and port in _DEFAULT_PORTS and not name.endswith(":") else host


def header_block(named: Mapping[str, str]) -> tuple[str, str]:
    """
    Write headers as they stand in the canonical request.

    For checking somebody else's signature too, where the ``SignedHeaders`` list says which ones count.

    :param named: lower-case names and their values.
    :return: the block (a line ``name:value`` per header, sorted) and the names joined by ``;``.
    """
    names = sorted(named)
    return "".join([f"{name}:{named[name]}\n" for name in names]), ";".join(names)


def canonical_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """
    Choose the headers that the vendor signs and write them canonically.

    Signed are ``Content-Type``, ``Content-MD5``, ``Host`` and all whose name starts with ``X-``, with a
    capital X: the official SDKs leave ``x-lower`` alone, and so a proxy that adds such a header breaks
    nothing.

    :param headers: all headers of the request.
    :return: the block and the ``SignedHeaders`` list.
    """
    chosen: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower == "host":
            chosen[lower] = signed_host(value)
        elif lower in _SIGNED_NAMES or name.startswith("X-"):
            chosen[lower] = value
    return header_block(chosen)


def canonical_request(
    *, method: str, path: str, query: str, headers_block: str, signed_headers: str, body_hash: str
) -> str:
    """
    Join the canonical parts.

    :param path: from :func:`canonical_path`.
    :param query: from :func:`canonical_query`.
    :param headers_block: first part of :func:`canonical_headers`.
    :param signed_headers: second part of :func:`canonical_headers`.
    :param body_hash: from :func:`body_sha256`.
    """
    return f"{method}\n{path}\n{query}\n{headers_block}\n{signed_headers}\n{body_hash}"


def credential_scope(day: str, region: str, service: str) -> str:
    """
    Name what a signature is good for.

    :param day: ``YYYYMMDD``, the first eight characters of ``X-Date``.
    """
    return f"{day}/{region}/{service}/request"


def string_to_sign(date: str, scope: str, canonical: str) -> str:
    """
    Bind the canonical request to a moment and a scope.

    :param date: from :func:`x_date`.
    :param scope: from :func:`credential_scope`.
    :param canonical: from :func:`canonical_request`.
    """
    return f"{ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


@lru_cache(maxsize=64)
def signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """
    Derive the key of a day; cached, since it changes once a day and costs four of a signature's five HMACs.

    :param secret_key: as printed by the vendor: no prefix, no base64 decoding.
    :param day: ``YYYYMMDD`` in UTC.
    """
    key = secret_key.encode()
    for part in (day, region, service, "request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, text: str) -> str:
    """
    Sign.

    :param key: from :func:`signing_key`.
    :param text: from :func:`string_to_sign`.
    """
    inner, outer = _hmac_states(key)
    inner.update(text.encode())
    outer.update(inner.digest())
    return outer.hexdigest()


def _hmac_states(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """
    Prepare HMAC's two hashes (RFC 2104), to be copied for each message.

    ``hmac.digest`` sets up OpenSSL's HMAC at every call, which takes longer than the rest of a signature.
    """
    if len(key) > _HASH_BLOCK:
        key = hashlib.sha256(key).digest()
    padded = key.ljust(_HASH_BLOCK, b"\0")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in padded)),
    )


@dataclass(frozen=True, slots=True)
class _Day:
    """What stays the same for a day: the scope, the credential and HMAC's two hashes, keyed."""

    scope: str
    credential: str
    inner: hashlib._Hash = field(repr=False)
    outer: hashlib._Hash = field(repr=False)


@lru_cache(maxsize=64)
def _day(access_key: str, secret_key: str, day: str, region: str, service: str) -> _Day:
    for name, value in (("access_key", access_key), ("secret_key", secret_key)):
        if not value or not _fit_for_header(value):
            raise JimengInputError(f"{name}: printable ASCII without line breaks is needed. {_NOTHING_SENT}")
    scope = credential_scope(day, region, service)
    inner, outer = _hmac_states(signing_key(secret_key, day, region, service))
    return _Day(scope, f"{ALGORITHM} Credential={access_key}/{scope}", inner, outer)


@dataclass(frozen=True, slots=True)
class _Moment:
    """
    What stays the same for a second: the date, and HMAC's two hashes, the inner one fed up to the digest.

    A triggerer that waits for thousands of tasks signs hundreds of queries in the same second.
    """

    date: str
    credential: str
    inner: hashlib._Hash = field(repr=False)
    outer: hashlib._Hash = field(repr=False)


@lru_cache(maxsize=64)
def _moment(access_key: str, secret_key: str, second: int, region: str, service: str) -> _Moment:
    date = _stamp(second)
    day = _day(access_key, secret_key, date[:8], region, service)
    inner = day.inner.copy()
    inner.update(f"{ALGORITHM}\n{date}\n{day.scope}\n".encode())
    return _Moment(date, day.credential, inner, day.outer)


def _fit_for_header(value: str) -> bool:
    # HTTP libraries refuse anything else too, but with the value in their message.
    return value.isascii() and value.isprintable()


def _target(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if not host or not _fit_for_header(host):
        raise JimengInputError(f"url: it names no host, or one that is not ASCII. {_NOTHING_SENT}")
    pairs = parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape")
    return signed_host(host), canonical_path(parts.path), canonical_query(pairs)


def _checked_headers(headers: Iterable[tuple[str, str]], host: str) -> dict[str, str]:
    sent: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in headers:
        lower = name.lower()
        if lower in _OWN_NAMES:
            continue
        if lower in seen:
            raise JimengInputError(f"headers: {lower} is given twice. {_NOTHING_SENT}")
        if not _fit_for_header(value):
            raise JimengInputError(f"headers: {lower} needs printable ASCII in one line. {_NOTHING_SENT}")
        seen.add(lower)
        sent[name] = value.strip()
    if "host" not in seen:
        sent["Host"] = host
    return sent


@dataclass(frozen=True, slots=True)
class _Plan:
    """
    What stays the same from one request to the next: all but the moment and the body's digest.

    The canonical request is ``head``, digest, ``middle``, date, ``tail``, digest.

    :param head: hashed already.
    """

    headers: Mapping[str, str] = field(repr=False)
    signed_names: str
    head: hashlib._Hash = field(repr=False)
    middle: str = field(repr=False)
    tail: str = field(repr=False)


@lru_cache(maxsize=256)
def _plan(method: str, url: str, headers: tuple[tuple[str, str], ...], session_token: str) -> _Plan:
    if not method.isascii() or not method.isalpha():
        raise JimengInputError(f"method: one word is needed. {_NOTHING_SENT}")
    host, path, query = _target(url)
    sent = _checked_headers(headers, host)
    if session_token:
        if not _fit_for_header(session_token):
            raise JimengInputError(f"session_token: printable ASCII in one line is needed. {_NOTHING_SENT}")
        sent["X-Security-Token"] = session_token
    blanks = {"X-Content-Sha256": _BLANK, "X-Date": _BLANK}
    block, names = canonical_headers(sent | blanks)
    canonical = canonical_request(
        method=method.upper(),
        path=path,
        query=query,
        headers_block=block,
        signed_headers=names,
        body_hash=_BLANK,
    )
    # Sorted as they are, the blanks stand for the digest, the moment and the digest again.
    head, middle, tail, _ = canonical.split(_BLANK)
    return _Plan(sent, names, hashlib.sha256(head.encode()), middle, tail)


def sign_request(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    access_key: str,
    secret_key: str,
    session_token: str | None = None,
    region: str,
    service: str,
    date: dt.datetime,
) -> dict[str, str]:
    """
    Sign one request.

    A signature covers the exact body bytes and one moment: sign again for each send, also for a repeated one.

    :param method: ``POST`` or ``GET``.
    :param url: absolute, with ``Action`` and ``Version`` in its query.
    :param headers: the caller's own; ``Host`` comes from the URL unless it is among them.
    :param body: the bytes to send.
    :param access_key: Access Key ID.
    :param secret_key: Secret Access Key, as printed.
    :param session_token: of temporary (STS) credentials, else ``None``.
    :param region: ``cn-north-1`` for the product.
    :param service: ``cv`` for the product.
    :param date: aware; the vendor refuses one that is too far off (``InvalidTimestamp``).
    :return: all headers to send, ``Authorization`` included. Never log them.
    :raises JimengInputError: when the date has no time zone, the URL no host, or a header, a key or the token
        what no header can carry. The message names it and holds nothing of it.
    """
    plan = _plan(method, url, tuple(headers.items()), session_token or "")
    moment = _moment(access_key, secret_key, _second_of(date), region, service)
    digest = body_sha256(body)
    canonical, inner, outer = plan.head.copy(), moment.inner.copy(), moment.outer.copy()
    canonical.update(f"{digest}{plan.middle}{moment.date}{plan.tail}{digest}".encode())
    inner.update(canonical.hexdigest().encode())
    outer.update(inner.digest())
    return {
        **plan.headers,
        "X-Date": moment.date,
        "X-Content-Sha256": digest,
        "Authorization": f"{moment.credential}, SignedHeaders={plan.signed_names}, "
        f"Signature={outer.hexdigest()}",
    }
