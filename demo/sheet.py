# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A picture of what happened: per row the image, the template and the result, a few frames of each video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 150
GAP = 6
TEMPLATE_FRAMES, RESULT_FRAMES = 2, 4
_GROUND, _INK = (255, 255, 255), (60, 64, 72)


@dataclass(frozen=True, slots=True)
class Triple:
    """One row: two inputs and their result."""

    image: Path
    template: Path
    result: Path


def contact_sheet(rows: Sequence[Triple], into: Path) -> Path:
    """Draw the rows as one JPEG."""
    from PIL import Image, ImageDraw

    heads = {0: "image", 1: "template", 1 + TEMPLATE_FRAMES: "result"}
    columns = 1 + TEMPLATE_FRAMES + RESULT_FRAMES
    size = (columns * (CELL + GAP) + GAP, 24 + len(rows) * (CELL + GAP))
    sheet = Image.new("RGB", size, _GROUND)
    pen = ImageDraw.Draw(sheet)
    for column, text in heads.items():
        pen.text((GAP + column * (CELL + GAP), 6), text, fill=_INK)
    for number, row in enumerate(rows):
        pictures = [Image.open(row.image).convert("RGB")]
        pictures += frames(row.template, TEMPLATE_FRAMES)
        pictures += frames(row.result, RESULT_FRAMES)
        for column, picture in enumerate(pictures):
            picture.thumbnail((CELL, CELL))
            left = GAP + column * (CELL + GAP) + (CELL - picture.width) // 2
            sheet.paste(picture, (left, 24 + number * (CELL + GAP) + (CELL - picture.height) // 2))
    into.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(into, format="JPEG", quality=82, optimize=True)
    return into


def frames(path: Path, count: int) -> list[Image]:
    """Return some frames of a video, evenly spread over it."""
    import av

    with av.open(str(path)) as film:
        pictures: list[Image] = [frame.to_image() for frame in film.decode(video=0)]  # type: ignore[no-untyped-call]
    return [pictures[(2 * number + 1) * len(pictures) // (2 * count)] for number in range(count)]
