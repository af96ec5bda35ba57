# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A file behind a URL, read in few and bounded pieces."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
import urllib3

from airflow_provider_jimeng.client.wire import steady_seconds
from airflow_provider_jimeng.media.guard import FetchError

if TYPE_CHECKING:
    from airflow_provider_jimeng.media.guard import NetworkGuard

__all__ = ["Gone", "RemoteFile", "TooMuch", "Unreadable", "open_remote"]

_RANGE = re.compile(r"bytes\s+([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")
_BLOCK = 512 * 1024
_CHUNK = 64 * 1024
#: Statuses with which a server says for good that this is not to be had.
_FINAL = frozenset({400, 401, 403, 404, 405, 406, 410, 414, 451})


class Gone(Exception):
    """The server says, and means, that there is nothing to be had. The message is fit for people."""


class Unreadable(Exception):
    """No answer, or one that may be another in a moment. The message is fit for people."""


class TooMuch(OSError):
    """More bytes, seconds or effort than the reader may use; nothing is known of the file's quality."""


@dataclass(slots=True)
class _Allowance:
    """What a reader may still use: bytes, and the steady clock's reading at which it stops."""

    bytes: int
    until: float

    def take(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise TooMuch("the file is larger than is looked at")

    def seconds(self) -> float:
        left = self.until - steady_seconds()
        if left <= 0:
            raise TooMuch("the file takes longer than is waited for")
        return left


class RemoteFile(io.RawIOBase):
    """
    A file that fetches the blocks that are asked for, with ``Range`` requests; seekable, read-only.

    :param first: the bytes from its beginning that are there already.
    :param size: of the whole file.
    :ivar tired: whether a read was refused because the allowance was used up.
    """

    def __init__(self, url: str, guard: NetworkGuard, allowance: _Allowance, first: bytes, size: int) -> None:
        super().__init__()
        self._url, self._guard, self._allowance = url, guard, allowance
        self._first = first
        self._blocks: dict[int, bytes] = {}
        self._at = 0
        self.size = size
        self.tired = False

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; see :meth:`io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return where it stands."""
        return self._at

    def read(self, count: int = -1) -> bytes:
        """
        Return up to ``count`` bytes; fewer at the end of a block or of the file.

        :raises TooMuch: the allowance is used up.
        :raises Unreadable: the server did not give them.
        """
        if self._at >= self.size or count == 0:
            return b""
        wanted = self.size - self._at if count < 0 else min(count, self.size - self._at)
        found = self._first[self._at : self._at + wanted] or self._of_block(wanted)
        self._at += len(found)
        return found

    def _of_block(self, wanted: int) -> bytes:
        number, skip = divmod(self._at, _BLOCK)
        if number not in self._blocks:
            try:
                self._blocks[number] = self._fetch(number * _BLOCK)
            except TooMuch:
                self.tired = True
                raise
        return self._blocks[number][skip : skip + wanted]

    def _fetch(self, start: int) -> bytes:
        count = min(_BLOCK, self.size - start)
        self._allowance.take(count)
        _, _, content = _get(self._url, self._guard, start, count, self._allowance)
        if len(content) != count:
            raise Unreadable("the server sent another piece of the file than was asked for")
        return content


def open_remote(url: str, guard: NetworkGuard, *, most_bytes: int, seconds: float) -> RemoteFile:
    """
    Open a file behind a URL; one request.

    A server that knows no ranges sends the whole file, which is then read as far as the allowance goes.

    :param most_bytes: the most that is read of the file.
    :param seconds: the most that all of its reads may take.
    :raises Gone: the server has nothing there.
    :raises Unreadable: the answer broke off, or was one that may pass.
    :raises FetchError: there was no answer.
    :raises TooMuch: the allowance is used up already.
    :raises RefusedAddressError: it is on an address that the connection does not allow.
    """
    allowance = _Allowance(most_bytes, steady_seconds() + seconds)
    size, ranged, first = _get(url, guard, 0, _BLOCK, allowance, whole=True)
    if ranged:
        allowance.take(len(first))
        return RemoteFile(url, guard, allowance, first, size)
    return RemoteFile(url, guard, allowance, first, len(first))


def _get(
    url: str, guard: NetworkGuard, start: int, count: int, allowance: _Allowance, *, whole: bool = False
) -> tuple[int, bool, bytes]:
    """Return the file's size, whether the server knows ranges, and the bytes."""
    seconds = allowance.seconds()
    headers = {"Range": f"bytes={start}-{start + count - 1}"}
    connect = min(10.0, seconds)
    try:
        with guard.open(url, headers=headers, timeout=(connect, min(20.0, seconds)), total=seconds) as answer:
            status = answer.status_code
            if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
                # Half a megabyte of it may be half a gigabyte of file; a range of it is no range of the file.
                raise TooMuch("the server compresses the file, although it was asked not to")
            if status in _FINAL:
                raise Gone(f"the server answers with HTTP {status}")
            if status == 416:
                return 0, True, b""
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
            if status == 206 and found is not None and int(found[1]) == start:
                return int(found[2]), True, _body(answer, count, None)
            if status != 200 or not whole:
                raise Unreadable(f"the server answers with HTTP {status}")
            return 0, False, _body(answer, None, allowance)
    except (Gone, Unreadable, TooMuch):
        raise
    except FetchError:
        # Cut off because its time is up, or truly unreadable: that decides.
        allowance.seconds()
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        allowance.seconds()
        # The error's own text may hold a presigned URL.
        raise Unreadable(f"the connection broke ({type(error).__name__})") from None


def _body(answer: requests.Response, most: int | None, allowance: _Allowance | None) -> bytes:
    """Read a body: the first ``most`` bytes of a piece, or a whole file within the allowance."""
    content = bytearray()
    for chunk in answer.iter_content(_CHUNK):
        if allowance is not None:
            allowance.take(len(chunk))
        content += chunk
        if most is not None and len(content) >= most:
            break
    announced = answer.headers.get("Content-Length", "")
    if announced.isdigit() and len(content) < min(int(announced), most or int(announced)):
        raise Unreadable(f"{len(content)} of {announced} bytes arrived")
    return bytes(content[:most] if most is not None else content)
