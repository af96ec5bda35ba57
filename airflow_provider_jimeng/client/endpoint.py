# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Where a connection's host, port and schema point to, as one origin."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from airflow_provider_jimeng.api.locations import is_loopback_host
from airflow_provider_jimeng.client.coerce import refuse, shown

DEFAULT_HOST = "visual.volcengineapi.com"
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """Read a host as an address, IPv4 mapped into IPv6 as what it is; ``None`` for a name."""
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def parse_origin(
    conn_id: str, *, host: str | None, schema: str | None, port: int | str | None, allow_http: bool
) -> str:
    """
    Join a connection's ``host`` (name or URL), ``schema`` and ``port`` to an origin.

    What is said twice must agree: a port in the host and another in ``port`` is an error and not a choice.

    :param allow_http: whether plain http may leave this machine, keys' signatures and media URLs readable by
        all.
    :raises JimengConfigurationError: naming the field.
    """
    url = (host or "").strip() or DEFAULT_HOST
    said_scheme, authority = _split_host(conn_id, url)
    name, said_port = _split_authority(conn_id, authority)
    scheme = _one_scheme(conn_id, said_scheme, schema)
    number = _one_port(conn_id, said_port, port)
    if scheme == "http" and not (allow_http or is_loopback_host(name)):
        refuse(
            conn_id,
            "host",
            f"is plain http:// to {name}, where anyone on the way can read and change requests: use "
            "https://, or set extra `allow_http` to true",
        )
    shown_name = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown_name}" + ("" if number in (None, _PORTS[scheme]) else f":{number}")


def _split_host(conn_id: str, url: str) -> tuple[str | None, str]:
    if any(ord(char) <= 32 or ord(char) == 127 or char in "\\%" for char in url):
        refuse(conn_id, "host", "has a space, a control character, a backslash or a percent sign in it")
    if "@" in url:
        refuse(conn_id, "host", "has credentials in it: they belong into login and password")
    scheme: str | None = None
    rest = url
    if "://" in url:
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
    authority, mark, tail = _cut(rest)
    if mark and (mark + tail).strip("/"):
        refuse(conn_id, "host", "must be an origin, without a path, a query or a fragment")
    return scheme, authority


def _cut(rest: str) -> tuple[str, str, str]:
    for index, char in enumerate(rest):
        if char in "/?#":
            return rest[:index], char, rest[index + 1 :]
    return rest, "", ""


def _split_authority(conn_id: str, authority: str) -> tuple[str, int | None]:
    if "[" not in authority and authority.count(":") > 1 and literal_address(authority):
        return authority.lower(), None
    try:
        parts = urlsplit(f"//{authority}")
        name, port = parts.hostname or "", parts.port
        if not literal_address(name):
            name = name.encode("idna").decode("ascii").lower() if not name.isascii() else name.lower()
    except ValueError:
        refuse(conn_id, "host", f"is not a host or a URL: {shown(authority)}")
    if not name or len(name) > 253 or not (literal_address(name) or _HOST.fullmatch(name)):
        refuse(conn_id, "host", f"is not a host or a URL: {shown(authority)}")
    return name, port


def _one_scheme(conn_id: str, said: str | None, schema: str | None) -> str:
    word = (schema or "").strip().lower().removesuffix("://") or None
    for field, value in (("host", said), ("schema", word)):
        if value not in (None, "http", "https"):
            refuse(conn_id, field, f"must be http or https, not {shown(value)}")
    if said and word and said != word:
        refuse(conn_id, "schema", f"says {word}, but host says {said}")
    return said or word or "https"


def _one_port(conn_id: str, said: int | None, port: int | str | None) -> int | None:
    number: int | None = None
    if port is not None and str(port).strip():
        text = str(port).strip()
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    for field, value in (("host", said), ("port", number)):
        if value is not None and not 1 <= value <= 65535:
            refuse(conn_id, field, "has a port that is not a number from 1 to 65535")
    if said and number and said != number:
        refuse(conn_id, "port", f"says {number}, but host says {said}")
    return said or number
