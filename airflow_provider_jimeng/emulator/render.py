# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Real results: the image, moved by the template's motion, with the template beside it.

Runs in a worker process (:mod:`~airflow_provider_jimeng.emulator.worker`), so that neither a hostile file nor
the encoder's hunger for CPU reaches the event loop. Needs Pillow and PyAV.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from airflow_provider_jimeng.emulator.motion import Motion, motions
from airflow_provider_jimeng.emulator.pictures import render_picture
from airflow_provider_jimeng.emulator.results import tagged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FPS = 25
#: Vendor facts, section 4 (2.0).
_IMAGES_OF_2, _VIDEOS_OF_2 = ("JPEG", "PNG"), ("mov", "matroska")
#: Vendor facts, section 4 (2.0): at most 30 s of video.
MAX_SECONDS = 30.0

warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of looking at the inputs: a vendor's code, and the length of the template video."""

    code: int
    message: str | None = None
    seconds: float | None = None


def inspect(image: Path | None, video: Path | None, *, limits: bool) -> Verdict:
    """
    Decode both inputs as far as a verdict needs.

    :param limits: apply the sizes that are documented for 2.0 only.
    """
    if image is not None:
        problem = _inspect_image(image, limits)
        if problem is not None:
            return problem
    if video is None:
        return Verdict(10000)
    return _inspect_video(video, limits)


def _inspect_image(path: Path, limits: bool) -> Verdict | None:
    if path.stat().st_size == 0:
        return Verdict(50206)
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as image:
            image.load()
            width, height = image.size
            form = image.format
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return Verdict(50205)
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes of them.
        return Verdict(50207, f"Image decode error: {type(error).__name__}")
    if limits and form not in _IMAGES_OF_2:
        return Verdict(50207, f"Image decode error: {form} is not supported.")
    if limits and min(width, height) < 480:
        return Verdict(
            50215, f"Input invalid for this service: the image is {width}x{height}, below 480x480."
        )
    return None


def _inspect_video(path: Path, limits: bool) -> Verdict:
    if path.stat().st_size == 0:
        return Verdict(50209)
    try:
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            frame = next(film.decode(stream))
            width, height = frame.width, frame.height
            length = _length(film, stream)
            container = film.format.name
    except (av.FFmpegError, IndexError, StopIteration, ValueError, OSError) as error:
        return Verdict(50210, f"Video decode error: {type(error).__name__}")
    if limits and not container.startswith(_VIDEOS_OF_2):
        return Verdict(50210, f"Video decode error: {container} is not supported.")
    if length > MAX_SECONDS + 0.5:
        return Verdict(50214)
    long_side, short_side = max(width, height), min(width, height)
    if limits and (short_side < 200 or long_side > 2048 or short_side > 1440):
        return Verdict(50211, f"Video size is not supported: {width}x{height}.")
    return Verdict(10000, seconds=length)


def _length(film: Any, stream: Any) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if film.duration:
        return float(film.duration / av.time_base)
    rate = float(stream.average_rate or FPS)
    return (1 + sum(1 for _ in film.decode(stream))) / rate


def render(
    image: Path | None,
    video: Path | None,
    output: Path,
    *,
    height: int,
    tag: Mapping[str, Any],
    cut: bool = False,
) -> None:
    """
    Make one result: H.264 in a faststart MP4, 25 fps, in the image's aspect.

    :param height: the shorter side, in pixels.
    :param cut: leave the first second out, as 2.0 does unless told otherwise.
    :param tag: written behind the media, see :func:`~airflow_provider_jimeng.emulator.results.result_tag`.
    """
    scene = _Scene(image, height, str(tag.get("task_id", "")))
    moves = _motion_of(video)
    partial = output.with_name(f"{output.name}.part")
    with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        stream: Any = film.add_stream("libx264", rate=FPS)
        stream.width, stream.height = scene.size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "27", "threads": "1"}
        frames = zip(moves, _at_rate(video, len(moves)), strict=False)
        for move, template in islice(frames, FPS if cut and len(moves) > FPS else 0, None):
            picture: Any = av.VideoFrame
            film.mux(stream.encode(picture.from_image(scene.frame(move, template))))
        film.mux(stream.encode(None))
    partial.write_bytes(tagged(partial.read_bytes(), tag))
    os.replace(partial, output)


def _motion_of(video: Path | None) -> list[Motion]:
    if video is None:
        return [Motion(0.1 * step / FPS, 0.0, 0.0, 1.0) for step in range(FPS)]
    thumbs = [frame.convert("L").resize((48, 48), Image.Resampling.BOX) for frame in _at_rate(video, None)]
    return motions(thumbs)


def _at_rate(video: Path | None, count: int | None) -> Iterator[Image.Image]:
    """Frames of the template at the output's rate, whatever its own is; grey where there is no template."""
    if video is None:
        for _ in range(count or 0):
            yield Image.new("RGB", (64, 64), (128, 128, 128))
        return
    made = 0
    previous: Image.Image | None = None
    with av.open(str(video)) as film:
        stream = film.streams.video[0]
        start: float | None = None
        try:
            for frame in film.decode(stream):
                time = float(frame.time or 0.0)
                start = time if start is None else start
                while previous is not None and made / FPS < time - start - 1e-6 and made < MAX_SECONDS * FPS:
                    yield previous
                    made += 1
                picture: Any = frame
                previous = picture.to_image()
        except av.FFmpegError:
            # A template that breaks in the middle: what was readable is what is performed.
            pass
    if previous is not None:
        yield previous


class _Scene:
    """The picture that is moved, prepared once."""

    def __init__(self, path: Path | None, height: int, label: str) -> None:
        picture = Image.new("RGB", (640, 640), (70, 90, 130))
        if path is not None:
            with Image.open(path) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        ratio = min(3.0, max(1 / 3, picture.width / picture.height))
        self.size = (_even(height * max(1.0, ratio)), _even(height * max(1.0, 1 / ratio)))
        self._picture = ImageOps.fit(picture, self.size)
        self._mask = Image.new("L", self.size, 255)
        self._stage = self._picture.filter(ImageFilter.GaussianBlur(12)).point(
            lambda value: int(value * 0.55)
        )
        self._label = label[-6:]
        self._font = ImageFont.load_default(max(10, height // 28))

    def frame(self, move: Motion, template: Image.Image) -> Image.Image:
        """The picture in the template's pose, the template itself in a corner."""
        width, height = self.size
        canvas = self._stage.copy()
        back = self._inverse(move)
        actor = self._picture.transform(self.size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
        canvas.paste(actor, (0, 0), self._mask.transform(self.size, Image.Transform.AFFINE, back))
        inset = ImageOps.contain(template, (width // 4, height // 4), Image.Resampling.BILINEAR)
        inset = ImageOps.expand(inset, border=2, fill=(255, 255, 255))
        canvas.paste(inset, (width - inset.width - 8, height - inset.height - 8))
        ImageDraw.Draw(canvas).text(
            (8, height - 8), self._label, font=self._font, fill=(255, 255, 255), anchor="ls"
        )
        return canvas

    def _inverse(self, move: Motion) -> tuple[float, float, float, float, float, float]:
        # From a place in the frame back to one in the picture: undo shift, lean and stretch, in this order.
        width, height = self.size
        x, y = width / 2 + move.dx * width * 0.5, height / 2 + move.dy * height * 0.5
        turn = math.radians(move.tilt)
        across, down = 0.82, 0.82 * move.stretch
        a, b = math.cos(turn) / across, math.sin(turn) / across
        d, e = -math.sin(turn) / down, math.cos(turn) / down
        return a, b, width / 2 - a * x - b * y, d, e, height / 2 - d * x - e * y


def _even(value: float) -> int:
    return max(16, round(value / 2) * 2)


def job(order: Mapping[str, Any]) -> dict[str, Any]:
    """One order of the emulator, as JSON values in and out."""
    image = None if order["image"] is None else Path(order["image"])
    video = None if order["video"] is None else Path(order["video"])
    if order["job"] == "inspect":
        verdict = inspect(image, video, limits=order["limits"])
        return {"code": verdict.code, "message": verdict.message, "seconds": verdict.seconds}
    output, tag = Path(order["output"]), json.loads(order["tag"])
    if order.get("picture"):
        partial = output.with_name(f"{output.name}.part")
        width, height = order["picture"]
        partial.write_bytes(render_picture(tag, (width, height)))
        os.replace(partial, output)
    else:
        render(image, video, output, height=order["height"], tag=tag, cut=bool(order.get("cut")))
    return {"code": 10000, "message": None, "seconds": None}
