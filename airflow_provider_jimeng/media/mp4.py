# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Whether a file is a whole MP4: its top-level boxes, which a cut or garbled download breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_REQUIRED = frozenset({b"ftyp", b"moov", b"mdat"})


def flaw_of(path: Path) -> str | None:
    """
    Return what is wrong with an MP4's box structure, ``None`` if nothing is.

    Costs a few seeks, whatever the size; a decoder would find more, and is not a run-time dependency.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        return _walk(file, size)


def _walk(file: BinaryIO, size: int) -> str | None:
    seen: set[bytes] = set()
    offset = 0
    while offset < size:
        file.seek(offset)
        header = file.read(16)
        if len(header) < 8:
            return f"{size - offset} stray bytes at the end"
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            if len(header) < 16:
                return f"the box at {offset} is cut short"
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - offset
        if offset == 0 and kind != b"ftyp":
            return "it does not begin as an MP4 does"
        if length < 8 or offset + length > size:
            return f"the box at {offset} does not end within the file"
        seen.add(kind)
        offset += length
    missing = _REQUIRED - seen
    return f"no {b', '.join(sorted(missing)).decode()} box" if missing else None
