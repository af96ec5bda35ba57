# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Identity is the content: what makes two wishes one paid task, and what of a URL may be kept.

A presigned URL is a name plus a permit. The permit changes with every run and is a secret; the name is the
identity. So the permit's parameters, and nothing else, are dropped, and only where the permit's own signature
is present: an ``Expires`` of some other site stays part of the name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_jimeng.exceptions import JimengInputError

__all__ = ["canonical_inputs", "canonical_url", "content_key", "inputs_json", "redact_text", "redact_url"]


@dataclass(frozen=True, slots=True)
class _Permit:
    """
    One way of presigning: the parameters that give it away, and all that it adds; in lower case.

    :param like: what the values of parameters look like whose names alone give nothing away.
    """

    signs: frozenset[str]
    adds: frozenset[str]
    like: Mapping[str, re.Pattern[str]] = field(default_factory=dict)

    def is_in(self, query: Mapping[str, str]) -> bool:
        """Return whether a query has this permit."""
        return self.signs <= query.keys() and all(
            pattern.fullmatch(query[name]) for name, pattern in self.like.items()
        )


def _permit(signs: str, adds: str, **like: str) -> _Permit:
    names = frozenset(signs.split())
    patterns = {name: re.compile(pattern) for name, pattern in like.items()}
    return _Permit(names, names | frozenset(adds.split()), patterns)


def _prefixed(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}{name}" for name in names.split())


_V4 = "algorithm credential date expires signedheaders signature security-token"

_PERMITS = (
    # S3: signature version 4 (with what the JavaScript SDK adds when it presigns), and version 2.
    _permit("x-amz-signature", _prefixed("x-amz-", _V4 + " content-sha256 checksum-mode") + " x-id"),
    _permit("awsaccesskeyid signature expires", "x-amz-security-token"),
    # Google Cloud Storage: V4 and V2.
    _permit("x-goog-signature", _prefixed("x-goog-", _V4)),
    _permit("googleaccessid signature expires", ""),
    # Volcengine TOS.
    _permit("x-tos-signature", _prefixed("x-tos-", _V4 + " signedqueries policy content-sha256")),
    # Volcengine's result URLs, which become inputs when two models are chained.
    _permit("x-signature x-expires", ""),
    # Azure shared access signatures: account, service and user delegation.
    _permit(
        "sig sv",
        "ss srt sp st se spr sip sr si skoid sktid skt ske sks skv sdd ses saoid suoid scid",
    ),
    # Alibaba Cloud OSS: V1, V2 and V4.
    _permit("ossaccesskeyid signature expires", "security-token"),
    _permit(
        "x-oss-signature",
        _prefixed(
            "x-oss-",
            "signature-version credential date expires additional-headers security-token access-key-id",
        ),
    ),
    # CloudFront, Tencent COS, Huawei OBS: their permits are secrets as well.
    _permit("signature key-pair-id", "expires policy hash-algorithm"),
    _permit(
        "q-signature",
        "q-sign-algorithm q-ak q-sign-time q-key-time q-header-list q-url-param-list x-cos-security-token",
    ),
    _permit("accesskeyid signature expires", "x-obs-security-token"),
    # Kingsoft Cloud KS3, UCloud US3, Baidu Cloud BOS, Qiniu Kodo.
    _permit("kssaccesskeyid signature expires", ""),
    _permit("ucloudpublickey signature expires", ""),
    _permit("authorization", "x-bce-security-token", authorization=r"bce-auth-v\d+/.+"),
    _permit("e token", "", e=r"\d{10}", token=r"[\w-]+:[\w-]+={0,2}:?"),  # noqa: S106 - a pattern
    # The token of a CDN's type A: time, random, user, MD5.
    _permit("auth_key", "", auth_key=r"\d{10}-\w+-\w+-[0-9a-f]{32}"),
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+\Z")
#: An object in a store. Its name is taken as it is: an escape, a space, a # are characters of it like others.
_OBJECT = re.compile(r"(s3|gs|tos|abfs)://([^/?#]*/[^?#]+)", re.IGNORECASE)
_URL_IN_TEXT = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")


def _same_escapes(text: str) -> str:
    """Write percent-escapes in their one normal form (RFC 3986, 6.2.2)."""

    def normal(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if char in _UNRESERVED else match[0].upper()

    return _ESCAPE.sub(normal, text)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        raise JimengInputError(
            f"{redact_url(url)!r} is not a readable URL (host or port); nothing was paid. Correct the input."
        ) from None
    return parts


def _authority(parts: SplitResult) -> str:
    scheme = parts.scheme.lower()
    place = parts.netloc.rpartition("@")[2]
    if scheme not in _DEFAULT_PORTS:
        return place  # a bucket's name: its case is part of it
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{parts.port}"


def _name(pair: str) -> str:
    return unquote(pair.partition("=")[0])


def _permit_names(pairs: Collection[str]) -> set[str]:
    query = {_name(pair).lower(): unquote(pair.partition("=")[2]) for pair in pairs}
    return {name for permit in _PERMITS if permit.is_in(query) for name in permit.adds}


def canonical_url(url: str, volatile: Collection[str] = ()) -> str:
    """
    Return the name that a URL is known by, without its permit.

    Scheme and host lose their case, the default port, user-info and fragment go, percent-escapes get their
    normal form, and the parameters that are left are sorted by name (those of one name keep their order).

    :param volatile: further parameter names that don't belong to the identity (``[jimeng]
        volatile_query_params``).
    The name of an object in a store is left alone, but for the connection before its bucket: the same object
    read with other credentials is the same content.

    :raises JimengInputError: the URL can't be taken apart.
    """
    if (found := _OBJECT.fullmatch(url)) is not None:
        bucket, _, name = found[2].partition("/")
        return f"{found[1].lower()}://{bucket.rpartition('@')[2]}/{name}"
    parts = _split(url)
    pairs = [pair for pair in parts.query.split("&") if pair]
    dropped = _permit_names(pairs)
    kept = [
        _same_escapes(pair)
        for pair in pairs
        if _name(pair).lower() not in dropped and _name(pair) not in volatile
    ]
    kept.sort(key=_name)
    query = f"?{'&'.join(kept)}" if kept else ""
    return f"{parts.scheme.lower()}://{_authority(parts)}{_same_escapes(parts.path) or '/'}{query}"


def redact_url(url: str) -> str:
    """Return a URL fit for a log: no user-info, no query, no fragment."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return re.split(r"[?#]", url, maxsplit=1)[0].rpartition("@")[2]
    authority, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def redact_text(text: str) -> str:
    """Return a text (the vendor's own words, a person's reason) with each URL in it fit for a log."""
    return _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text)


def _canonical(value: object, volatile: Collection[str]) -> Any:
    if isinstance(value, str):
        return canonical_url(value, volatile) if _URL.match(value) or _OBJECT.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {str(key): _canonical(each, volatile) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(each, volatile) for each in value]
    return value


def canonical_inputs(inputs: Mapping[str, object], volatile: Collection[str] = ()) -> dict[str, Any]:
    """
    Return the inputs with every URL in them (at any depth) in canonical form.

    :param inputs: field name to URL, or a whole body's fields.
    :raises JimengInputError: a URL can't be taken apart.
    """
    return {str(key): _canonical(value, volatile) for key, value in inputs.items()}


def inputs_json(inputs: Mapping[str, object]) -> str:
    """
    Return inputs as the one JSON text that is hashed and kept in the ledger.

    :raises JimengInputError: a value has no JSON form.
    """
    try:
        return json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise JimengInputError(
            "The inputs hold a value that JSON can't express (NaN, an object, endless nesting). "
            "Nothing was paid."
        ) from None


def content_key(
    *,
    account: str,
    endpoint: str,
    req_key: str,
    inputs: Mapping[str, object],
    variant: int,
    force_new: str | None,
) -> str:
    """
    Return the identity of a wish: 64 hexadecimal digits, the same in every release.

    Never part of it: DAG, run, map index, date. Two wishes with one key are one paid task.

    :param inputs: as :func:`canonical_inputs` returns them.
    :param variant: which of several takes of the same content.
    :param force_new: the reason for paying again on purpose; a reason is paid once.
    :raises JimengInputError: a value has no JSON form.
    """
    identity = {
        "account": account,
        "endpoint": endpoint,
        "force_new": force_new,
        "inputs": inputs,
        "req_key": req_key,
        "v": 1,
        "variant": variant,
    }
    return hashlib.sha256(inputs_json(identity).encode("ascii")).hexdigest()
