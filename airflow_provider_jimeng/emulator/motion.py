# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Where the figure of a template is in each frame: its place, its lean, its height."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

#: Grey levels by which a pixel must differ from the background to belong to the figure.
_THRESHOLD = 24


@dataclass(frozen=True, slots=True)
class Motion:
    """
    A pose relative to the template's average one.

    :param dx: shift to the right, as a share of the width.
    :param dy: shift down, as a share of the height.
    :param tilt: lean to the right, in degrees.
    :param stretch: height of the figure, 1.0 is average.
    """

    dx: float
    dy: float
    tilt: float
    stretch: float


@dataclass(frozen=True, slots=True)
class _Blob:
    x: float
    y: float
    tilt: float
    height: float


def motions(thumbs: Sequence[Image.Image]) -> list[Motion]:
    """
    Follow the figure through grey thumbnails of equal size.

    The background is the border's colour where the border has one, else the average of all frames.
    """
    if not thumbs:
        return []
    width, height = thumbs[0].size
    frames = [thumb.tobytes() for thumb in thumbs]
    ground = _background(frames, width, height)
    blobs = [_blob(frame, ground, width, height) for frame in frames]
    seen = [blob for blob in blobs if blob is not None]
    if not seen:
        return [_by_light(frame, frames[0]) for frame in frames]
    mean_x = sum(blob.x for blob in seen) / len(seen)
    mean_y = sum(blob.y for blob in seen) / len(seen)
    mean_height = sum(blob.height for blob in seen) / len(seen)
    last = seen[0]
    found = []
    for blob in blobs:
        last = blob or last
        found.append(
            Motion(
                dx=last.x - mean_x,
                dy=last.y - mean_y,
                tilt=max(-25.0, min(25.0, last.tilt)),
                stretch=max(0.7, min(1.3, last.height / mean_height if mean_height else 1.0)),
            )
        )
    return found


def _background(frames: Sequence[bytes], width: int, height: int) -> Sequence[int]:
    first = frames[0]
    border = sorted((*first[:width], *first[-width:], *first[::width], *first[width - 1 :: width]))
    if border[-1 - len(border) // 8] - border[len(border) // 8] < _THRESHOLD:
        return [border[len(border) // 2]] * (width * height)
    step = max(1, len(frames) // 16)
    chosen = frames[::step]
    return [sum(values) // len(chosen) for values in zip(*chosen, strict=True)]


def _blob(frame: bytes, ground: Sequence[int], width: int, height: int) -> _Blob | None:
    points = [
        divmod(index, width)
        for index, (value, base) in enumerate(zip(frame, ground, strict=True))
        if abs(value - base) > _THRESHOLD
    ]
    if len(points) < 4:
        return None
    count = len(points)
    mean_y = sum(y for y, _ in points) / count
    mean_x = sum(x for _, x in points) / count
    spread_y = sum((y - mean_y) ** 2 for y, _ in points) / count
    spread_x = sum((x - mean_x) ** 2 for _, x in points) / count
    shared = sum((y - mean_y) * (x - mean_x) for y, x in points) / count
    # The main axis of the figure, as an angle to the vertical.
    tilt = math.degrees(0.5 * math.atan2(-2 * shared, spread_y - spread_x)) if shared else 0.0
    return _Blob(mean_x / width, mean_y / height, tilt, 4 * math.sqrt(spread_y) / height)


def _by_light(frame: bytes, first: bytes) -> Motion:
    """No figure stands out: let the change of light move the picture."""
    change = (sum(frame) - sum(first)) / (255 * len(frame))
    return Motion(dx=change, dy=-abs(change), tilt=20 * change, stretch=1.0)
