# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Sample inputs, drawn: characters in different colours, and stick figures that move in different ways."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image, ImageDraw

Point = tuple[float, float]

IMAGE_SIZE = (640, 640)
VIDEO_SIZE = (480, 640)
FPS = 25

_COLOURS = (
    ("amber", "#f5a300"),
    ("blue", "#1f6fd6"),
    ("coral", "#ff6f5e"),
    ("jade", "#00a36c"),
    ("violet", "#7d3cc9"),
    ("slate", "#5b6b7b"),
    ("rose", "#e0457b"),
    ("teal", "#0f8f96"),
    ("gold", "#c99700"),
    ("olive", "#76802a"),
)
_MOTIONS = ("wave", "jump", "walk", "squat", "spin")


def make_media(folder: Path | str, *, images: int = 4, videos: int = 3) -> list[Path]:
    """
    Draw sample inputs into a folder, the same ones every time; returns their paths.

    :param folder: made where it doesn't exist.
    :param images: characters, ``character-01-amber.png`` and on.
    :param videos: templates, ``template-01-wave.mp4`` and on, 1 to 2 s long.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(images):
        path = target / f"character-{index + 1:02d}-{_COLOURS[index % len(_COLOURS)][0]}.png"
        draw_character(index).save(path, format="PNG")
        paths.append(path)
    for index in range(videos):
        path = target / f"template-{index + 1:02d}-{_MOTIONS[index % len(_MOTIONS)]}.mp4"
        _film(path, index)
        paths.append(path)
    return paths


def draw_character(index: int) -> Image.Image:
    """A figure whose colour, shape and label tell it from every other."""
    from PIL import Image, ImageDraw

    hue = (index * 137) % 360
    name, body = _COLOURS[index % len(_COLOURS)]
    trousers, ground = _colour(hue + 150, 60, 40), _colour(hue + 60, 35, 88)
    image = Image.new("RGB", IMAGE_SIZE, ground)
    pen = ImageDraw.Draw(image)
    wide = 70 + 14 * (index % 4)
    pen.rectangle((0, 540, 640, 640), fill=_colour(hue + 60, 25, 72))
    pen.rounded_rectangle((320 - wide, 240, 320 + wide, 430), 40, fill=body)
    pen.rounded_rectangle((320 - wide, 420, 310, 570), 18, fill=trousers)
    pen.rounded_rectangle((330, 420, 320 + wide, 570), 18, fill=trousers)
    for side in (-1, 1):
        pen.line((320 + side * wide, 270, 320 + side * (wide + 80), 380), fill=body, width=34)
    pen.ellipse((250, 100, 390, 250), fill=(240, 205, 175))
    pen.pieslice((250, 92, 390, 230), 180, 360, fill=trousers)
    for eye in (290, 338):
        pen.ellipse((eye, 165, eye + 14, 181), fill=(30, 30, 40))
    pen.arc((295, 180, 345, 222), 20, 160, fill=(150, 50, 50), width=5)
    _label(pen, f"{name} {index + 1}", (320, 600))
    return image


def _film(path: Path, index: int) -> None:
    import av
    from PIL import Image, ImageDraw

    seconds = (1.0, 1.4, 2.0)[index % 3]
    pose = _POSES[_MOTIONS[index % len(_MOTIONS)]]
    with av.open(
        str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
    ) as film:
        stream = film.add_stream("libx264", rate=FPS)
        stream.width, stream.height = VIDEO_SIZE
        stream.pix_fmt = "yuv420p"
        # One thread and bit exact: the same bytes on every machine with the same encoder.
        stream.options = {"preset": "veryfast", "crf": "26", "threads": "1", "flags": "+bitexact"}
        for number in range(round(seconds * FPS)):
            image = Image.new("RGB", VIDEO_SIZE, (236, 238, 242))
            _stick_figure(ImageDraw.Draw(image), pose(number / FPS), _colour(index * 97 + 10, 60, 35))
            picture: Any = av.VideoFrame
            film.mux(stream.encode(picture.from_image(image)))
        film.mux(stream.encode(None))


class _Pose:
    """Where the joints of the figure are, in pixels."""

    def __init__(
        self,
        *,
        x: float = 240.0,
        y: float = 330.0,
        lean: float = 0.0,
        arms: Point = (0.5, 0.5),
        legs: Point = (0.25, 0.25),
        crouch: float = 0.0,
        narrow: float = 1.0,
    ) -> None:
        self.x, self.y, self.lean = x, y, lean
        self.arms, self.legs, self.crouch, self.narrow = arms, legs, crouch, narrow


def _wave(t: float) -> _Pose:
    return _Pose(arms=(0.4, 2.4 + 0.5 * math.sin(t * 12)), lean=0.05 * math.sin(t * 6))


def _jump(t: float) -> _Pose:
    lift = abs(math.sin(t * 4.5))
    return _Pose(y=330 - 110 * lift, arms=(0.5 + 2.0 * lift, 0.5 + 2.0 * lift), legs=(0.2 + 0.3 * lift,) * 2)


def _walk(t: float) -> _Pose:
    swing = 0.5 * math.sin(t * 9)
    return _Pose(x=120 + 120 * t, arms=(swing, -swing), legs=(-swing, swing), lean=0.08)


def _squat(t: float) -> _Pose:
    depth = 0.5 - 0.5 * math.cos(t * 5)
    return _Pose(
        y=330 + 70 * depth, crouch=depth, arms=(1.5 * depth + 0.2,) * 2, legs=(0.3 + 0.4 * depth,) * 2
    )


def _spin(t: float) -> _Pose:
    return _Pose(narrow=math.cos(t * 6), arms=(1.4, 1.4), lean=0.1 * math.sin(t * 6))


_POSES: dict[str, Callable[[float], _Pose]] = {
    "wave": _wave,
    "jump": _jump,
    "walk": _walk,
    "squat": _squat,
    "spin": _spin,
}


def _stick_figure(pen: ImageDraw.ImageDraw, pose: _Pose, colour: tuple[int, int, int]) -> None:
    hip: Point = (pose.x, pose.y + 60)
    neck: Point = (pose.x + 170 * math.sin(pose.lean) * pose.narrow, pose.y - 90)
    pen.line((*hip, *neck), fill=colour, width=16)
    pen.ellipse((neck[0] - 38, neck[1] - 78, neck[0] + 38, neck[1] - 2), fill=colour)
    length = 170 - 60 * pose.crouch
    for side, angle in zip((-1, 1), pose.arms, strict=True):
        hand = (neck[0] + side * 120 * math.sin(angle) * pose.narrow, neck[1] + 14 + 120 * math.cos(angle))
        pen.line((neck[0], neck[1] + 14, *hand), fill=colour, width=13)
    for side, angle in zip((-1, 1), pose.legs, strict=True):
        foot = (hip[0] + side * length * math.sin(angle) * pose.narrow, hip[1] + length * math.cos(angle))
        pen.line((*hip, *foot), fill=colour, width=15)


def _colour(hue: float, saturation: int, lightness: int) -> tuple[int, int, int]:
    from PIL import ImageColor

    red, green, blue, *_ = ImageColor.getrgb(f"hsl({int(hue) % 360},{saturation}%,{lightness}%)")
    return red, green, blue


def _label(pen: ImageDraw.ImageDraw, text: str, centre: Point) -> None:
    from PIL import ImageFont

    pen.text(centre, text, font=ImageFont.load_default(36), fill=(30, 30, 40), anchor="mm")
