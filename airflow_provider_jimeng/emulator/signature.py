# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Signature V4 as the gateway checks it, written from the specification alone.

It shares no line with ``api.signing``: the judge must not inherit an error of the one it judges. Vendor
facts, section 1.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALGORITHM = "HMAC-SHA256"
ALWAYS_SIGNED = ("host", "x-content-sha256", "x-date")
_UNRESERVED = "-_.~"
_DATE = re.compile(r"\d{8}T\d{6}Z\Z", re.ASCII)
_FIELD = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]*)\Z")


@dataclass(frozen=True, slots=True)
class Received:
    """
    A request as it came over the wire.

    :param target: the raw request target, undecoded.
    :param headers: all header lines in their order, names as sent.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """All values of a header joined by a comma, ``None`` where it is absent."""
        values = [value.strip() for key, value in self.headers if key.lower() == name]
        return ",".join(values) if values else None

    @property
    def path(self) -> str:
        """Path as sent, never empty."""
        return self.target.partition("?")[0] or "/"

    @property
    def query(self) -> list[tuple[str, str]]:
        """Decoded query pairs in their order."""
        raw = self.target.partition("?")[2]
        return parse_qsl(raw, keep_blank_values=True, errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Account:
    """The key that is known, and the scope it is good for."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    region: str
    service: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gateway error: its CodeN and what exactly was wrong."""

    code: int
    message: str


def verify(request: Received, account: Account, *, now: dt.datetime, tolerance: float) -> Refusal | None:
    """
    Check one request; ``None`` means it is authentic.

    :param now: the gateway's clock (aware).
    :param tolerance: seconds a date may be off, either way.
    """
    authorization = request.header("authorization")
    if authorization is None:
        return Refusal(100003, "The request is missing the header Authorization.")
    parsed = _parse_authorization(authorization)
    if isinstance(parsed, Refusal):
        return parsed
    credential, signed, signature = parsed
    refusal = (
        _check_scope(credential, request, account)
        or _check_date(request, now, tolerance)
        or _check_signed(signed, request)
    )
    if refusal is not None:
        return refusal
    if request.header("x-content-sha256") != hashlib.sha256(request.body).hexdigest():
        return Refusal(100010, "X-Content-Sha256 is not the digest of the body.")
    expected = _signature(request, account, credential.split("/", 1)[1], signed)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
        return Refusal(
            100010, "The request signature we calculated does not match the signature you provided."
        )
    return _check_token(request, account)


def _parse_authorization(value: str) -> tuple[str, list[str], str] | Refusal:
    algorithm, _, rest = value.partition(" ")
    if algorithm != ALGORITHM:
        return Refusal(100024, "The algorithm of the header Authorization is not HMAC-SHA256.")
    fields: dict[str, str] = {}
    for part in rest.split(","):
        match = _FIELD.match(part.strip())
        if match is None or match[1] in fields:
            return Refusal(100024, "The header Authorization is malformed.")
        fields[match[1]] = match[2]
    if not fields.get("Signature"):
        return Refusal(100005, "The header Authorization has no Signature.")
    if not fields.get("Credential") or not fields.get("SignedHeaders"):
        return Refusal(100024, "The header Authorization has no Credential or no SignedHeaders.")
    return fields["Credential"], fields["SignedHeaders"].split(";"), fields["Signature"]


def _check_scope(credential: str, request: Received, account: Account) -> Refusal | None:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "request":
        return Refusal(100025, "The Credential is not AccessKeyID/Date/Region/Service/request.")
    access_key, day, region, service, _ = parts
    if not hmac.compare_digest(access_key.encode("utf-8", "surrogateescape"), account.access_key.encode()):
        return Refusal(100009, "The access key id is invalid.")
    if region != account.region or service != account.service:
        return Refusal(100025, "The Credential's scope is not this service's region and name.")
    if day != (request.header("x-date") or day)[:8]:
        return Refusal(100025, "The Credential's date is not the day of X-Date.")
    return None


def _check_date(request: Received, now: dt.datetime, tolerance: float) -> Refusal | None:
    text = request.header("x-date")
    if text is None:
        return Refusal(100004, "The request is missing the header X-Date.")
    try:
        if not _DATE.match(text):
            raise ValueError(text)
        date = dt.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return Refusal(100006, "X-Date is not of the form YYYYMMDDTHHMMSSZ.")
    if abs((now - date).total_seconds()) > tolerance:
        return Refusal(100006, "The signature is expired or not yet valid: check the clock of the caller.")
    return None


def _check_signed(signed: list[str], request: Received) -> Refusal | None:
    if signed != sorted(set(signed)) or any(name != name.lower() for name in signed):
        return Refusal(100024, "SignedHeaders must be lower case, sorted and without repetition.")
    required = list(ALWAYS_SIGNED)
    if request.method != "GET":
        required.append("content-type")
    if request.header("x-security-token") is not None:
        required.append("x-security-token")
    for name in required:
        if request.header(name) is None:
            return Refusal(100004, f"The request is missing the header {name}.")
        if name not in signed:
            return Refusal(100010, f"The header {name} must be signed.")
    return None


def _check_token(request: Received, account: Account) -> Refusal | None:
    token = request.header("x-security-token")
    if (token or "") != (account.session_token or ""):
        return Refusal(100026, "The session token is missing, invalid or expired.")
    return None


def _signature(request: Received, account: Account, scope: str, signed: Iterable[str]) -> str:
    names = list(signed)
    lines = "".join(f"{name}:{_signed_value(request, name)}\n" for name in names)
    canonical = "\n".join(
        (
            request.method,
            quote(request.path, safe="/%" + _UNRESERVED),
            _canonical_query(request.query),
            lines,
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    to_sign = "\n".join((ALGORITHM, request.header("x-date") or "", scope, digest))
    key = account.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _signed_value(request: Received, name: str) -> str:
    value = request.header(name) or ""
    if name == "host":
        for port in (":80", ":443"):
            if value.endswith(port):
                return value[: -len(port)]
    return value


def _canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    encoded = [(_percent(name), _percent(value)) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded, key=lambda pair: pair[0]))


def _percent(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe=_UNRESERVED)
