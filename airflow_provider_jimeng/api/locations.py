# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Checks of places: URLs that the vendor fetches, paths that results go to.

Reached through :mod:`airflow_provider_jimeng.api.validation`. No message quotes a value: it may carry
credentials or a presigned query string, and where its form is broken nobody can tell which part of it is the
secret.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from pathlib import PurePath
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_jimeng.exceptions import JimengInputError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["MEDIA_SCHEMES", "check_media_url", "check_output", "is_loopback_host", "refuse"]

#: What media may be named by; anything but the web is presigned when its task is submitted.
MEDIA_SCHEMES = ("https", "http", "s3", "gs", "tos", "abfs")

_URL_BYTES = 8192
_PATH_BYTES = 4096
_WEB = frozenset({"http", "https"})
#: Schemes that may be named in a message; anything else before a colon may be a key pasted into the wrong
#: field.
_NAMEABLE = frozenset(
    {"http", "https", "file", "ftp", "data", "s3", "s3a", "gs", "gcs", "tos", "oss", "abfs", "hdfs"}
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_CONNECTION_ID = re.compile(r"[A-Za-z0-9_.-]+")
#: Controls, surrogates, unassigned, invisible formatting (zero width, bidi) and separators.
_UNFIT_IN_URL = frozenset({"Cc", "Cf", "Cs", "Cn", "Zs", "Zl", "Zp"})
_UNFIT_IN_PATH = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: As in a URL of the web, but for the space: an object's name is taken as it is, and may hold one.
_UNFIT_IN_KEY = _UNFIT_IN_URL - {"Zs"}
_LOCAL = frozenset({"file", "local"})
_NOT_WRITABLE = frozenset({"http", "https", "data", "ftp", "mailto", "javascript", "github", "zip", "tar"})


def refuse(field: str, why: str) -> NoReturn:
    """
    Raise for a field.

    :param field: the argument's name.
    :param why: what is wrong and what to write instead; holds nothing of the value.
    """
    # Without the context: the errors of the standard library quote what they could not read.
    raise JimengInputError(f"{field}: {why}. Nothing was sent, nothing was paid.") from None


def _text(value: object, field: str, what: str) -> str:
    if value is None:
        refuse(field, f"{what} is needed, but there is none (a template that renders to None?)")
    if not isinstance(value, str):
        refuse(field, f"{what} is needed as text, not {type(value).__name__}")
    if not value:
        refuse(field, f"{what} is needed, but the text is empty")
    if value in ("None", "null"):
        refuse(field, f"{what} is needed, but the text is 'None': a template rendered to nothing")
    return value


def _unfit(text: str, categories: Collection[str]) -> bool:
    if text.isascii() and text.isprintable() and " " not in text:
        # None of the categories is among these; a manifest has millions of such characters.
        return False
    return any(unicodedata.category(char) in categories for char in text)


def _too_long(text: str, limit: int) -> bool:
    return len(text) > limit or len(text.encode("utf-8", errors="replace")) > limit


def check_media_url(
    value: object,
    field: str,
    *,
    schemes: Collection[str] = MEDIA_SCHEMES,
    loopback_http_only: bool = True,
) -> str:
    """
    Check the form of a URL from which media will be fetched.

    Whether it can be reached is another question, which costs a request; this one is free, so all errors of a
    manifest are told at once.

    :param value: the argument as given.
    :param field: its name, for the message.
    :param schemes: what the caller can turn into a URL that the vendor can fetch.
    :param loopback_http_only: allow ``http://`` to this machine only, since a video on its way in the clear
        can be replaced by anyone.
    :return: the URL, an internationalised host in its ASCII form, otherwise as given.
    :raises JimengInputError: naming the field.
    """
    url = _text(value, field, "a URL")
    if _too_long(url, _URL_BYTES):
        refuse(field, f"the URL is longer than {_URL_BYTES} bytes")
    scheme = _scheme(url)
    store = scheme in schemes and scheme not in _WEB
    if _unfit(url, _UNFIT_IN_KEY if store else _UNFIT_IN_URL) or url != url.strip():
        refuse(field, "the URL holds white space or an invisible character; percent-encode it")
    if "\\" in url:
        refuse(field, "the URL holds a backslash")
    if scheme is None:
        refuse(field, f"the URL is relative; write it in full, with {_listed(schemes)}")
    if scheme not in schemes:
        shown = f"the scheme {scheme!r}" if scheme in _NAMEABLE else "this scheme"
        refuse(field, f"{shown} is not supported; use {_listed(schemes)}")
    if not url[len(scheme) :].startswith("://"):
        refuse(field, "the URL lacks the two slashes after its scheme")
    parts = _split(url, field)
    return (
        _checked_web(url, parts, field, loopback_http_only)
        if scheme in _WEB
        else _checked_store(url, parts, field)
    )


def _scheme(text: str) -> str | None:
    match = _SCHEME.match(text)
    return match[1].lower() if match else None


def _listed(schemes: Collection[str]) -> str:
    return " or ".join(f"{scheme}://" for scheme in schemes)


def _split(url: str, field: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or port == 0:
        refuse(field, "the host or the port of the URL is malformed")
    return parts


def _checked_web(url: str, parts: SplitResult, field: str, loopback_http_only: bool) -> str:
    if "@" in parts.netloc:
        refuse(field, "the URL carries credentials; the vendor would get them. Use a presigned URL")
    host = parts.hostname
    if not host:
        refuse(field, "the URL names no host")
    if parts.netloc.endswith(":"):
        refuse(field, "the URL has a colon without a port")
    ascii_host = _ascii_host(host, field)
    if loopback_http_only and parts.scheme.lower() == "http" and not is_loopback_host(ascii_host):
        refuse(field, "plain http:// is allowed to this machine only; use https://")
    if host.isascii():
        return url
    port = f":{parts.port}" if parts.port is not None else ""
    return parts._replace(netloc=f"{ascii_host}{port}").geturl()


def _ascii_host(host: str, field: str) -> str:
    if ":" in host:
        return host
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    labels = name.removesuffix(".").split(".")
    if not _HOST.fullmatch(name) or len(name) > 253 or not all(0 < len(label) <= 63 for label in labels):
        refuse(field, "the host of the URL is not a valid name")
    if labels[-1].isdigit() or labels[-1].lower().startswith("0x"):
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            refuse(field, "the host of the URL looks like an address but is none; write all four parts")
    return name


def is_loopback_host(host: str) -> bool:
    """
    Tell whether a host means this machine, without asking any name server.

    :param host: a name or address, without port, IPv6 with or without brackets.
    """
    name = host.strip("[]").removesuffix(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _checked_store(url: str, parts: SplitResult, field: str) -> str:
    if ":" in parts.netloc.rpartition("@")[0]:
        refuse(
            field,
            "the URL carries credentials; name an Airflow connection in their place (scheme://conn_id@bucket/...)",
        )
    conn, at, bucket = parts.netloc.rpartition("@")
    if at and not _CONNECTION_ID.fullmatch(conn):
        refuse(field, "what stands before the @ is not the name of an Airflow connection")
    if not _HOST.fullmatch(bucket):
        refuse(field, "the URL names no bucket")
    if "?" in url or "#" in url:
        refuse(
            field,
            "a query or fragment has no place in the URL of an object; presign one whose name has a ? or #",
        )
    if not parts.path.strip("/") or parts.path.endswith("/"):
        refuse(field, "the URL names no object in the bucket")
    return url


def check_output(value: object, field: str, *, folder: bool | None = None) -> str:
    """
    Check the form of a place where results go: an absolute path, or an fsspec URL.

    Whether it can be written is found out by whoever writes; this keeps a template from climbing out of its
    folder and keys out of logs.

    :param value: the argument as given: text or a path object.
    :param field: its name, for the message.
    :param folder: ``False`` asks for a file's name at the end, ``True`` or ``None`` takes either.
    :return: the same place as text.
    :raises JimengInputError: naming the field.
    """
    place = _text(str(value) if isinstance(value, PurePath) else value, field, "a path or URL")
    if _too_long(place, _PATH_BYTES):
        refuse(field, f"it is longer than {_PATH_BYTES} bytes")
    if _unfit(place, _UNFIT_IN_PATH):
        refuse(field, "it holds a control character")
    if place != place.strip():
        refuse(field, "it begins or ends with white space")
    path = _output_path(place, field)
    if any(unquote(segment).strip() == ".." for segment in re.split(r"[/\\]|%2[fF]|%5[cC]", path)):
        refuse(field, "it holds a '..' segment and could climb out of its folder; write it without")
    if folder is False and (not path.strip("/") or path.endswith("/")):
        refuse(field, "it names a folder; a file's name is needed at its end")
    return place


def _output_path(place: str, field: str) -> str:
    """Check the form and give the part that is a path within its store."""
    if place.startswith("/"):
        return place
    scheme = _scheme(place)
    if scheme is None or "://" not in place:
        refuse(field, "it is neither an absolute path (/...) nor a URL (scheme://...)")
    if not place[len(scheme) :].startswith("://") or "::" in place or len(scheme) < 2:
        refuse(field, "it is not a URL of a known form (scheme://bucket/key)")
    if scheme in _NOT_WRITABLE:
        refuse(
            field,
            "results cannot be written to this kind of URL; use a path, or s3://, gs://, tos:// and the like",
        )
    if "?" in place or "#" in place:
        refuse(field, "a query or fragment has no place in an output")
    netloc, _, path = place[len(scheme) + 3 :].partition("/")
    return _store_path(scheme, netloc, path, field)


def _store_path(scheme: str, netloc: str, path: str, field: str) -> str:
    owner, at, bucket = netloc.rpartition("@")
    if at and not _CONNECTION_ID.fullmatch(owner):
        refuse(
            field,
            "it carries credentials; name an Airflow connection in their place (scheme://conn_id@bucket/...)",
        )
    if scheme in _LOCAL:
        if netloc:
            refuse(field, "a file:// URL takes an absolute path and no host (file:///...)")
        if not path:
            refuse(field, "it names no path")
        return f"/{path}"
    if scheme == "memory":
        return f"/{netloc}/{path}"
    if not re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?", bucket):
        refuse(field, "it names no bucket (scheme://bucket/key)")
    if bucket in (".", ".."):
        refuse(field, "it holds a '..' segment and could climb out of its folder; write it without")
    return f"/{path}"
