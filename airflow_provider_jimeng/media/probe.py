# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A look at an input before anything is paid: is it an image, is it a video, and what are its measures.

The vendor looks too, but only after it took a slot for the task. The extra ``media`` (Pillow and PyAV) does
the decoding. No decoder ever opens a URL or guesses a format: both get bytes that came through the network
guard, and the one format that the first bytes name, so a playlist that calls itself ``.mp4`` leads nowhere.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.media_limits import (
    ImageFacts,
    MediaLimits,
    VideoFacts,
    flaws_of_image,
    flaws_of_video,
)
from airflow_provider_jimeng.media.ranges import RemoteFile, TooMuch, Unreadable, open_remote

if TYPE_CHECKING:
    from airflow_provider_jimeng.media.guard import NetworkGuard

__all__ = ["can_probe", "flaws_of", "image_facts", "video_facts"]

log = logging.getLogger(__name__)

#: An image is read whole: the vendor's largest is 4.7 MB, so this is no photograph any more.
IMAGE_BYTES = 64 * 1024 * 1024
#: Of a video only its index and its first picture are read.
VIDEO_BYTES = 48 * 1024 * 1024
SECONDS = 60.0
#: No picture of this size is sent to anybody.
_MOST_PIXELS = 200_000_000
#: What a decoder makes room for: 200 MB of a task's memory. A larger picture is measured by its header alone.
_DECODED_PIXELS = 50_000_000
_BOUNDS = {"max_pixels": str(_DECODED_PIXELS)}
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO")
#: Image formats that Pillow only reads with plugins; what can't be read here is not judged here.
_OTHER_IMAGES = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftypavif", b"ftypavis")
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_EBML = b"\x1a\x45\xdf\xa3"


def can_probe() -> bool:
    """Return whether the extra ``media`` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("PIL", "av"))


def flaws_of(kind: str, url: str, guard: NetworkGuard, limits: MediaLimits) -> list[str]:
    """
    Return all that is wrong with an input; empty where it may be submitted, or could not be judged.

    :param kind: ``image`` or ``video``.
    :param url: one that can be fetched; no part of it appears in a message.
    :raises Gone: the server has nothing there.
    :raises Unreadable: it could not be read now; so does :class:`~.media.guard.FetchError`.
    :raises RefusedAddressError: it is on an address that the connection does not allow.
    """
    most = IMAGE_BYTES if kind == "image" else VIDEO_BYTES
    try:
        file = open_remote(url, guard, most_bytes=most, seconds=SECONDS)
        if file.size == 0:
            return ["it is empty"]
        if kind == "image":
            found = image_facts(_whole(file))
            return found if isinstance(found, list) else flaws_of_image(found, limits.image)
        seen = video_facts(file)
        return seen if isinstance(seen, list) else flaws_of_video(seen, limits.video)
    except TooMuch as stop:
        log.info("An input is not judged before its submit: %s.", stop)
        return []


def _whole(file: RemoteFile) -> bytes:
    content = bytearray()
    while piece := file.read(1024 * 1024):
        content += piece
    return bytes(content)


def image_facts(content: bytes) -> ImageFacts | list[str]:
    """
    Decode an image.

    :return: what it is, or what is wrong with it; an empty list where it is of a kind that isn't judged here.
    """
    from PIL import Image

    if content[4:12] in _OTHER_IMAGES:
        return []
    try:
        with warnings.catch_warnings():
            # A warning of a decompression bomb is meant for people at a terminal.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_IMAGE_FORMATS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    return [f"it claims to be {width} x {height} px"]
                facts = ImageFacts(image.format or "?", width, height, len(content))
                if width * height > _DECODED_PIXELS:
                    return facts
                # JPEG can be decoded at an eighth of its size, which finds a cut file as well.
                image.draft("RGB", (64, 64))
                image.load()
                return facts
    except Exception as error:
        return [f"it can't be decoded as an image ({_words(error)}){_looks_like(content)}"]


def video_facts(file: Any) -> VideoFacts | list[str]:
    """
    Read a video's index and decode its first picture.

    :param file: a binary file that can be sought in.
    :return: what it is, or what is wrong with it.
    :raises TooMuch: the file did not give more.
    :raises Unreadable: it could not be read on.
    """
    import av

    head = file.read(64)
    file.seek(0)
    container = _container(head)
    if container is None:
        return [f"it is no mp4, mov or webm video{_looks_like(head)}"]
    try:
        # Opening decodes as well, in search of what the container does not say.
        with av.open(
            file, mode="r", format="matroska" if container == "webm" else "mov", options=_BOUNDS
        ) as opened:
            if not opened.streams.video:
                return ["it holds no video, only sound or nothing"]
            stream = opened.streams.video[0]
            seconds, coded = _seconds(opened, stream), stream.codec_context
            if coded.width * coded.height > _DECODED_PIXELS:
                return VideoFacts(container, coded.width, coded.height, seconds)
            # The stream itself may say another size than its container.
            coded.options = {**coded.options, **_BOUNDS}
            picture = next(opened.decode(stream), None)
            if picture is None:
                return ["it holds no picture"]
            return VideoFacts(container, picture.width, picture.height, seconds)
    except (TooMuch, Unreadable):
        raise
    except Exception as error:
        if getattr(file, "tired", False):
            raise TooMuch("its index is further into the file than is looked at") from None
        return [f"it can't be decoded as a video ({_words(error)})"]


def _container(head: bytes) -> str | None:
    if head.startswith(_EBML):
        return "webm"
    if head[4:8] in _MOV_BOXES:
        return "mov" if head[4:8] != b"ftyp" or head[8:10] == b"qt" else "mp4"
    return None


def _seconds(opened: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if opened.duration is None else float(opened.duration) / 1_000_000


def _words(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or type(error).__name__).split())
    return text[:80]


def _looks_like(content: bytes) -> str:
    start = content[:64].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "; it is a page of HTML: is it behind a login?"
    if start.startswith((b"<?xml", b"<svg")):
        return "; it is XML"
    return ""
