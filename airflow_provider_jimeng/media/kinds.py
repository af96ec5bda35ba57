# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What kind of file a result is, and whether it is whole: by its bytes, without a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from airflow_provider_jimeng.media.mp4 import flaw_of as flaw_of_mp4

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULT_TYPE", "KINDS", "flaw_of", "kind_of", "suffix_of"]

#: What a result is taken for where nothing tells: the products of this provider make MP4s.
DEFAULT_TYPE = "video/mp4"
_SUFFIXES = {
    DEFAULT_TYPE: ".mp4",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
}
#: Content types that are known here.
KINDS = tuple(_SUFFIXES)
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_JPEG_SCAN, _JPEG_END = b"\xda", b"\xff\xd9"


def suffix_of(content_type: str | None) -> str:
    """
    Return the suffix of a name that a file is kept under when nobody has named it.

    :param content_type: as a landing has it.
    """
    return _SUFFIXES.get(content_type or DEFAULT_TYPE, ".bin")


def kind_of(path: Path) -> str | None:
    """
    Return the content type that a file's first bytes tell, ``None`` where it is none that is known.

    :param path: a local file.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp":
        return "video/mp4"
    if head.startswith(_PNG):
        return "image/png"
    if head.startswith(_JPEG):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "image/gif" if head[:6] in (b"GIF87a", b"GIF89a") else None


def flaw_of(path: Path, content_type: str) -> str | None:
    """
    Return why a file is not a whole one of its kind, ``None`` if nothing is wrong with it.

    Costs a few seeks, whatever the size. Of kinds that are not known here nothing is said.

    :param path: a local file.
    :param content_type: what its server said that it is.
    """
    if content_type == "video/mp4":
        flaw = flaw_of_mp4(path)
        return None if flaw is None else f"it is not a whole MP4: {flaw}"
    if content_type not in _SUFFIXES:
        return None
    seen = kind_of(path)
    if seen != content_type:
        return f"it is called {content_type} and does not begin as one does"
    size = path.stat().st_size
    with path.open("rb") as file:
        whole = _WHOLE[content_type](file, size)
    return None if whole else f"the {content_type[6:].upper()} picture in it is cut short"


def _whole_png(file: BinaryIO, size: int) -> bool:
    offset = len(_PNG)
    while offset + 12 <= size:
        file.seek(offset)
        header = file.read(8)
        if header[4:] == b"IEND":
            return True
        offset += 12 + int.from_bytes(header[:4], "big")
    return False


def _whole_jpeg(file: BinaryIO, size: int) -> bool:
    offset = 2
    while offset + 4 <= size:
        file.seek(offset)
        marker = file.read(4)
        if marker[:1] != b"\xff":
            return False
        if marker[1:2] == _JPEG_SCAN:
            # Within a picture's data these two bytes never stand side by side; what cameras put before it, a
            # small picture of itself, has its own.
            return _JPEG_END in file.read()
        offset += 2 + int.from_bytes(marker[2:], "big")
    return False


def _whole_webp(file: BinaryIO, size: int) -> bool:
    file.seek(4)
    return int.from_bytes(file.read(4), "little") + 8 <= size


def _whole_gif(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - 64))
    return file.read().rstrip(b"\0").endswith(b"\x3b")


_WHOLE = {
    "image/png": _whole_png,
    "image/jpeg": _whole_jpeg,
    "image/webp": _whole_webp,
    "image/gif": _whole_gif,
}
