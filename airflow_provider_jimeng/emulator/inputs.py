# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Fetching the inputs, as the vendor does: over the network, with limits, some time after the submit."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from airflow_provider_jimeng.emulator.params import media_urls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Vendor facts, section 4 (2.0): images under 4.7 MB.
MAX_IMAGE_BYTES = int(4.7 * 1024 * 1024)
MAX_VIDEO_BYTES = 200 * 1024 * 1024
MAX_REDIRECTS = 5
FETCH_SECONDS = 30.0
USER_AGENT = "jimeng-emulator-fetch"

_IMAGE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
_WEBM_MAGIC = b"\x1a\x45\xdf\xa3"


class InputError(Exception):
    """An input that can't be used; carries the vendor's code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Inputs:
    """Fetched inputs; ``None`` where the body names none."""

    image: Path | None
    video: Path | None


async def fetch_inputs(
    session: aiohttp.ClientSession, body: Mapping[str, Any], folder: Path, name: str
) -> Inputs:
    """
    Fetch what a body names into ``folder``.

    :raises InputError: 50205 to 50207 for the image, 50209 to 50211 for the video.
    """
    image_url, video_url = media_urls(body)
    image = video = None
    binaries = body.get("binary_data_base64")
    if isinstance(binaries, list) and binaries and isinstance(binaries[0], str):
        image = folder / f"{name}.image"
        image.write_bytes(_decoded(binaries[0]))
    elif image_url is not None:
        image = await _fetch(session, image_url, folder / f"{name}.image", _IMAGE)
    if video_url is not None:
        video = await _fetch(session, video_url, folder / f"{name}.video", _VIDEO)
    return Inputs(image, video)


def sniff(inputs: Inputs) -> None:
    """
    Judge inputs by their first bytes: what is possible without a decoder.

    :raises InputError: as a decoder would.
    """
    if inputs.image is not None:
        head = _head(inputs.image)
        if not head:
            raise InputError(50206, "Image is empty.")
        if not head.startswith(_IMAGE_MAGIC):
            raise InputError(50207, "Image decode error.")
    if inputs.video is not None:
        head = _head(inputs.video)
        if not head:
            raise InputError(50209, "Video is empty.")
        if head[4:8] not in (b"ftyp", b"moov") and not head.startswith(_WEBM_MAGIC):
            raise InputError(50210, "Video decode error.")


@dataclass(frozen=True, slots=True)
class _Kind:
    word: str
    limit: int
    too_large: int
    unreadable: int


_IMAGE = _Kind("Image", MAX_IMAGE_BYTES, 50205, 50207)
_VIDEO = _Kind("Video", MAX_VIDEO_BYTES, 50211, 50210)


async def _fetch(session: aiohttp.ClientSession, url: str, target: Path, kind: _Kind) -> Path:
    try:
        async with session.get(
            url,
            max_redirects=MAX_REDIRECTS,
            headers={"User-Agent": USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS),
        ) as answer:
            if answer.status != 200:
                raise InputError(kind.unreadable, f"{kind.word} download failed: HTTP {answer.status}.")
            size = 0
            with target.open("wb") as file:
                async for chunk in answer.content.iter_chunked(256 * 1024):
                    size += len(chunk)
                    if size > kind.limit:
                        raise InputError(kind.too_large, f"{kind.word} is larger than {kind.limit} bytes.")
                    file.write(chunk)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        # The class only: an error's text may hold a presigned URL.
        raise InputError(kind.unreadable, f"{kind.word} download failed: {type(error).__name__}.") from None
    return target


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(50207, "Image decode error: not base64.") from None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)
