# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A result's bytes, from the vendor's URL to a local file that is known to be whole."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import requests
import urllib3

from airflow_provider_jimeng.exceptions import JimengInputError, JimengLandingError
from airflow_provider_jimeng.ledger.keys import redact_url
from airflow_provider_jimeng.media.kinds import DEFAULT_TYPE, flaw_of, kind_of, suffix_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from airflow_provider_jimeng.media.guard import NetworkGuard

#: Far above any clip; what it stops is a URL that never ends.
MAX_BYTES = 4 * 1024**3
_CHUNK = 1024 * 1024
_COMPRESSIONS = ("gzip", "x-gzip", "deflate")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file on the local disk. ``sha256`` in hexadecimal."""

    path: Path
    bytes: int
    sha256: str
    content_type: str

    def named(self) -> Downloaded:
        """Give the file its kind's suffix: by the name a store tells what it is, and serves it as that."""
        path = self.path.with_suffix(suffix_of(self.content_type))
        self.path.rename(path)
        return replace(self, path=path)


def download(
    url: str,
    into: Path,
    *,
    guard: NetworkGuard,
    timeout: tuple[float, float],
    max_bytes: int = MAX_BYTES,
    pictures: bool = False,
) -> Downloaded:
    """
    Stream a result to a local file and check that it arrived whole.

    Length and ``Content-MD5`` are checked where the store sends them, an MP4's or a picture's structure
    always: a short or garbled file would otherwise be landed as paid for and be found out when the vendor has
    deleted the original.

    :param url: the vendor's result URL; only its part without the query appears in errors.
    :param timeout: connect and read timeouts, in seconds.
    :param pictures: whether the product may have made a picture; else only a video is taken.
    :raises JimengLandingError: the task is not lost; ask for a fresh URL and download again.
    """
    try:
        with guard.open(url, timeout=timeout) as response:
            return _store(response, url, into, max_bytes, ("video/", "image/") if pictures else ("video/",))
    except JimengInputError as error:
        # The address is refused, but the task behind it is paid: its landing has failed, not its input.
        raise _failed(url, error.message) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, zlib.error, OSError) as error:
        # The error's own text may hold the URL with its signature.
        raise _failed(url, type(error).__name__) from None


def _store(
    response: requests.Response, url: str, into: Path, max_bytes: int, wanted: tuple[str, ...]
) -> Downloaded:
    if response.status_code != 200:
        raise _failed(url, f"HTTP {response.status_code}", http_status=response.status_code)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", *_COMPRESSIONS):
        raise _failed(url, f"it came with the encoding {encoding[:60]!r}, although none was asked for")
    digest, size = hashlib.sha256(), 0
    arriving = _Arriving(response)
    with into.open("wb") as file:
        for chunk in _unpacked(arriving) if encoding in _COMPRESSIONS else arriving:
            size += len(chunk)
            if size > max_bytes:
                raise _failed(url, f"more than {max_bytes} bytes")
            digest.update(chunk)
            file.write(chunk)
    _check_arrived(response, url, arriving)
    content_type = _content_type(response, into)
    if not content_type.startswith(wanted):
        # A page of a proxy or a portal comes with status 200, too.
        needed = " and no picture" if len(wanted) > 1 else ""
        raise _failed(url, f"it is no video{needed} but {content_type[:60]!r}")
    if (flaw := flaw_of(into, content_type)) is not None:
        raise _failed(url, flaw)
    return Downloaded(into, size, digest.hexdigest(), content_type)


class _Arriving:
    """A body as it comes over the wire, counted and digested: that is what its server's headers are about."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.bytes = 0
        self.md5 = hashlib.md5(usedforsecurity=False)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._response.raw.stream(_CHUNK, decode_content=False):
            self.bytes += len(chunk)
            self.md5.update(chunk)
            yield chunk


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Undo one compression that was not asked for, in pieces that never are more than a chunk."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    for chunk in chunks:
        left = chunk
        while left and not unpacker.eof:
            yield unpacker.decompress(left, _CHUNK)
            left = unpacker.unconsumed_tail
    yield unpacker.flush()
    if not unpacker.eof:
        raise zlib.error


def _check_arrived(response: requests.Response, url: str, arrived: _Arriving) -> None:
    size, md5 = arrived.bytes, arrived.md5.digest()
    announced = response.headers.get("Content-Length")
    if announced is not None and announced.isdigit() and int(announced) != size:
        raise _failed(url, f"{size} of {announced} bytes arrived")
    if size == 0:
        raise _failed(url, "it is empty")
    expected = response.headers.get("Content-MD5")
    if expected is not None and expected != base64.b64encode(md5).decode():
        raise _failed(url, "its bytes do not match Content-MD5")


def _content_type(response: requests.Response, path: Path) -> str:
    declared = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    # Object stores serve what was uploaded without a type as a bare stream.
    if declared in ("", "application/octet-stream", "binary/octet-stream"):
        return kind_of(path) or DEFAULT_TYPE
    return "image/jpeg" if declared == "image/jpg" else declared


def _failed(url: str, what: str, http_status: int | None = None) -> JimengLandingError:
    return JimengLandingError(
        f"The result at {redact_url(url)} could not be downloaded whole: {what}. The task is paid, safe and "
        "known; it is asked for a fresh URL, never submitted again",
        http_status=http_status,
    )
