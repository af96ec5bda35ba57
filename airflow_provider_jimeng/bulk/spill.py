# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What became of a hundred thousand items, on the disk instead of in memory."""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import weakref
from array import array
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("<II")


class Spill:
    """
    Two texts per line of a manifest, written in any order and read in the manifest's.

    Eight bytes of memory per line. The file has no name, so it goes away with the process. Reading does not
    hold up writing.
    """

    def __init__(self) -> None:
        self._descriptor, name = tempfile.mkstemp(prefix="jimeng-report-")
        os.unlink(name)
        self._size = 0
        self._at = array("Q")
        self._lock = threading.Lock()
        #: Gives the disk space back.
        self.close = weakref.finalize(self, os.close, self._descriptor)

    def put(self, line: int, first: bytes, second: bytes) -> None:
        """
        Keep the texts of a line.

        :raises JimengProtocolError: the line has its texts already.
        """
        record = _HEADER.pack(len(first), len(second)) + first + second
        with self._lock:
            if line >= len(self._at):
                self._at.frombytes(bytes(8 * (max(line + 1, len(self._at) * 5 // 4) - len(self._at))))
            if self._at[line]:
                raise JimengProtocolError(
                    f"The report was told twice what became of line {line}. Nothing was paid for that; "
                    "it is an error of this release: report it"
                )
            self._write(record)
            # One more than the offset: zero is a line that has nothing yet.
            self._at[line] = self._size + 1
            self._size += len(record)

    def _write(self, record: bytes) -> None:
        view, at = memoryview(record), self._size
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written

    def firsts(self) -> Iterator[bytes]:
        """Yield the first text of each line that has one, in order."""
        return (os.pread(self._descriptor, first, at) for at, first, _ in self._records())

    def seconds(self) -> Iterator[bytes]:
        """Yield the second text of each line that has one, in order."""
        return (os.pread(self._descriptor, second, at + first) for at, first, second in self._records())

    def _records(self) -> Iterator[tuple[int, int, int]]:
        for line in range(len(self._at)):
            if self._at[line]:
                at = self._at[line] - 1
                yield at + _HEADER.size, *_HEADER.unpack(os.pread(self._descriptor, _HEADER.size, at))
