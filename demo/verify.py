# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Whether a landed file is what it should be: bytes that were announced, and a video that plays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.terminal import DemoError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Film:
    """What a video file turned out to be."""

    width: int
    height: int
    frames: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.width}x{self.height}, {self.seconds:.1f} s"


def check_film(path: Path, announced: Mapping[str, Any]) -> Film:
    """
    Decode every frame of a landed file, after comparing its bytes with what the task said of them.

    :param announced: what the landing task returned: ``bytes`` and ``sha256``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DemoError(f"{path} can't be read: {error.strerror}") from error
    if len(data) != announced["bytes"]:
        raise DemoError(f"{path} has {len(data)} bytes, but its task said {announced['bytes']}")
    if hashlib.sha256(data).hexdigest() != announced["sha256"]:
        raise DemoError(f"{path} is not what its task landed: another sha256")
    return decode(path)


def decode(path: Path) -> Film:
    """Decode a video to its last frame."""
    import av

    frames = 0
    try:
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            width, height, rate = stream.width, stream.height, float(stream.average_rate or 25)
            for _ in film.decode(stream):
                frames += 1
    except (av.FFmpegError, IndexError) as error:
        raise DemoError(f"{path} is no video that can be played: {error}") from error
    if not frames:
        raise DemoError(f"{path} is a video without a picture")
    return Film(width, height, frames, frames / rate)
