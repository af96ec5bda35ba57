# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A private copy of a manifest file.

A run lasts hours, and reads its manifest more than once: what was checked must be what is run, whatever
happens to the original meanwhile. The copy has no name, so it goes away with the process, however that ends.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import weakref
from typing import IO, Any

from airflow_provider_jimeng.bulk.items import Problem
from airflow_provider_jimeng.exceptions import JimengInputError

_CHUNK = 1024 * 1024
#: Tens of millions of lines; what it stops is a URL that never ends.
MAX_BYTES = 16 * 1024**3

#: First bytes of what people hand over by mistake, and what to tell them.
_MISTAKES = (
    (b"\x1f\x8b", "it is compressed with gzip: decompress it, manifests are read as they are"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: decompress it, manifests are read as they are"),
    (b"\xfd7zXZ\x00", "it is compressed with xz: decompress it, manifests are read as they are"),
    (b"BZh", "it is compressed with bzip2: decompress it, manifests are read as they are"),
    (b"PK\x03\x04", "it is a ZIP archive or an Excel workbook: save it as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "it is an old Excel workbook: save it as CSV (UTF-8)"),
    (b"%PDF", "it is a PDF"),
    (b"\xff\xfe", "it is in UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "it is in UTF-16: save it as UTF-8"),
    (b"PAR1", "it is Parquet under another name: let its name end in .parquet"),
    (b"Obj\x01", "it is Avro: export it as JSON Lines, CSV or Parquet"),
    (b"ORC", "it is ORC: export it as JSON Lines, CSV or Parquet"),
    (b"SQLite format 3", "it is a SQLite database: export it as JSON Lines, CSV or Parquet"),
)
BOM = b"\xef\xbb\xbf"


class Snapshot:
    """
    The bytes of a manifest, readable from the start any number of times at once.

    :ivar digest: SHA-256 of the bytes, in hexadecimal.
    :ivar size: bytes.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self.descriptor, name = tempfile.mkstemp(prefix="jimeng-manifest-")
        os.unlink(name)
        #: Gives the disk space back; readers fail from then on.
        self.close = weakref.finalize(self, os.close, self.descriptor)
        digest, self.size = hashlib.sha256(), 0
        with open(self.descriptor, "wb", closefd=False) as file:
            while chunk := source.read(_CHUNK):
                self.size += len(chunk)
                if self.size > MAX_BYTES:
                    raise JimengInputError(f"manifest: it has more than {MAX_BYTES} bytes. Nothing was paid.")
                digest.update(chunk)
                file.write(chunk)
        self.digest = digest.hexdigest()

    def open(self) -> io.BufferedReader:
        """Return an independent reader from the start."""
        return io.BufferedReader(_Window(self), _CHUNK)

    def head(self, size: int = 4096) -> bytes:
        """Return the first bytes."""
        return os.pread(self.descriptor, size, 0)


class _Window(io.RawIOBase):
    """Reads a snapshot at a position of its own, and keeps it alive."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._snapshot.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        chunk = os.pread(self._snapshot.descriptor, len(buffer), self._position)
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)


def flaw_of_text(head: bytes) -> Problem | None:
    """
    Tell from its first bytes that a file is no text with a line per item.

    :param head: the first few thousand bytes of what should be JSON Lines or CSV.
    """
    for magic, told in _MISTAKES:
        if head.startswith(magic):
            return _fatal(told)
    start = head.removeprefix(BOM).lstrip()[:200].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<!--", b"<error")):
        return _fatal("it is an HTML or XML page (a login page, an error of the store?), not a manifest")
    if head[:4].count(b"\x00") >= 2:
        return _fatal("it is in UTF-16 or UTF-32, or no text at all: save it as UTF-8")
    return None


def _fatal(message: str) -> Problem:
    return Problem(None, None, message, fatal=True)
