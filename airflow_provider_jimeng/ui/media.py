# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Landed results, streamed from where they are to the browser.

The api-server may read what the person at the page may not. So only a place that the ledger names is opened,
only if the file there still has the size that was landed, and only if it begins as a video or a picture does:
a row that somebody forged, or a link put in a result's place, opens no configuration file.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.exceptions import JimengError, JimengLandingError
from airflow_provider_jimeng.hooks.storage import resolve_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_jimeng.ledger.records import LandingRecord
    from airflow_provider_jimeng.media.target import Target

__all__ = ["Media", "NoResult", "Part", "open_result", "part_of"]

_CHUNK = 256 * 1024
_HEAD = 12
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class NoResult(Exception):
    """There is nothing here that may be shown; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """
    Some bytes of a file, the last one included.

    :param whole: nobody asked for less.
    """

    first: int
    last: int
    whole: bool

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self.last - self.first + 1


def part_of(text: str | None, size: int) -> Part | None:
    """
    Read a ``Range`` header.

    :param size: of the file.
    :returns: the part; all of it where the header is absent or of a kind that may be ignored (several parts,
        another unit); ``None`` where the file has no such part.
    """
    match = None if text is None else _RANGE.fullmatch(text.strip())
    if match is None or match.groups() == ("", "") or not size:
        return Part(0, size - 1, whole=True)
    first, last = match.groups()
    if not first:
        return Part(max(0, size - int(last)), size - 1, whole=False) if int(last) else None
    if int(first) >= size or (last and int(last) < int(first)):
        return None
    return Part(int(first), min(int(last) if last else size - 1, size - 1), whole=False)


@dataclass(frozen=True, slots=True)
class Media:
    """
    A result that is open.

    :param file: read from within one thread at a time; closed by :meth:`read` or :meth:`close`.
    :param kind: its content type, as its first bytes have it.
    """

    file: Any
    size: int
    kind: str

    def read(self, part: Part) -> Iterator[bytes]:
        """Yield the bytes of a part, and close the file at the end; a reader who stops earlier closes it."""
        try:
            self.file.seek(part.first)
            left = part.length
            while left > 0:
                chunk = self.file.read(min(_CHUNK, left))
                if not chunk:
                    # Shorter than it was a moment ago: a length was promised, so the answer must break.
                    raise OSError("the file has become shorter")
                left -= len(chunk)
                yield chunk
        finally:
            self.file.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.file.close()


def open_result(landing: LandingRecord, *, resolve: Callable[[str], Target] = resolve_target) -> Media:
    """
    Open what was landed.

    :raises NoResult: it is not there, not what was landed, or nothing that a page may show.
    """
    try:
        file, size = _opened(resolve(landing.uri))
    except (JimengError, OSError) as error:
        raise NoResult(f"The api-server can't read the result ({type(error).__name__}).") from error
    except Exception as error:
        # A store's own error, whose words may hold anything.
        raise NoResult(f"The result's store can't be read ({type(error).__name__}).") from error
    kind = _kind(file) if size == landing.size else None
    if kind is None:
        file.close()
        raise NoResult(
            "What lies there now is not what was landed."
            if size != landing.size
            else "What lies there is neither a video nor a picture."
        )
    return Media(file, size, kind)


def _opened(target: Target) -> tuple[Any, int]:
    if target.is_local:
        # A link in a result's place would lead anywhere, and a pipe would hold this thread for ever.
        descriptor = os.open(target.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            os.close(descriptor)
            raise JimengLandingError("no regular file")
        return os.fdopen(descriptor, "rb"), about.st_size
    found = target.stat()
    if found is None:
        raise FileNotFoundError(target.uri)
    return target.fs.open(target.path, "rb"), found.size


def _kind(file: Any) -> str | None:
    head = bytes(file.read(_HEAD))
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "video/webm" if head.startswith(b"\x1aE\xdf\xa3") else None
