# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a product takes as an image and as a template video, as a table.

Only what the vendor's documents say: vendor facts, section 4, for 2.0. The interface document of 1.0 names no
limits, so for that product, and for all others, an input only has to be an image or a video at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2

__all__ = [
    "LIMITS",
    "ImageFacts",
    "ImageLimits",
    "MediaLimits",
    "VideoFacts",
    "VideoLimits",
    "flaws_of_image",
    "flaws_of_video",
    "limits_of",
]

#: Containers tell durations in their own clock's ticks; a clip of "30 s" may be a frame longer.
_SECONDS_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image is: format as in ``JPEG``, sides in pixels, size in bytes."""

    format: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is: container (``mp4``, ``mov``, ``webm``), sides in pixels, seconds if it tells them."""

    container: str
    width: int
    height: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """
    What an image may be; ``None`` where the vendor names no limit.

    :param formats: as in :class:`ImageFacts`.
    :param least_side: pixels of the shorter side.
    :param most_bytes: size of the file.
    """

    formats: tuple[str, ...] | None = None
    least_side: int | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """
    What a template video may be; ``None`` where the vendor names no limit.

    :param containers: as in :class:`VideoFacts`.
    :param least_side: pixels of the shorter side.
    :param most_sides: pixels of the longer and the shorter side.
    :param most_seconds: its length.
    """

    containers: tuple[str, ...] | None = None
    least_side: int | None = None
    most_sides: tuple[int, int] | None = None
    most_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The limits of a product."""

    image: ImageLimits = ImageLimits()
    video: VideoLimits = VideoLimits()


LIMITS = {
    MOTION_IMITATION: MediaLimits(),
    MOTION_IMITATION_2: MediaLimits(
        # Larger than 1920x1080 is scaled down by the vendor, so it is no flaw.
        ImageLimits(formats=("JPEG", "PNG"), least_side=480, most_bytes=int(4.7 * 1024 * 1024)),
        VideoLimits(
            containers=("mp4", "mov", "webm"), least_side=200, most_sides=(2048, 1440), most_seconds=30.0
        ),
    ),
}


def limits_of(req_key: str) -> MediaLimits:
    """Return the limits of a product; none where the vendor's documents name none."""
    return LIMITS.get(req_key, MediaLimits())


def flaws_of_image(facts: ImageFacts, limits: ImageLimits) -> list[str]:
    """Return all that is wrong with an image, in words; empty where it may be submitted."""
    flaws = []
    if limits.formats is not None and facts.format not in limits.formats:
        flaws.append(f"it is a {facts.format} image, {' or '.join(limits.formats)} is needed")
    shorter = min(facts.width, facts.height)
    if limits.least_side is not None and shorter < limits.least_side:
        flaws.append(
            f"it is {facts.width} x {facts.height} px, at least {limits.least_side} x {limits.least_side} "
            "are needed"
        )
    if limits.most_bytes is not None and facts.bytes >= limits.most_bytes:
        most = limits.most_bytes / 1024 / 1024
        flaws.append(f"it has {facts.bytes / 1024 / 1024:.2f} MB, less than {most:.1f} are needed")
    return flaws


def flaws_of_video(facts: VideoFacts, limits: VideoLimits) -> list[str]:
    """Return all that is wrong with a template video, in words; empty where it may be submitted."""
    flaws = []
    if limits.containers is not None and facts.container not in limits.containers:
        flaws.append(f"it is a {facts.container} video, {' or '.join(limits.containers)} is needed")
    longer, shorter = max(facts.width, facts.height), min(facts.width, facts.height)
    size = f"it is {facts.width} x {facts.height} px"
    if limits.least_side is not None and shorter < limits.least_side:
        flaws.append(f"{size}, at least {limits.least_side} x {limits.least_side} are needed")
    if limits.most_sides is not None and (longer > limits.most_sides[0] or shorter > limits.most_sides[1]):
        flaws.append(f"{size}, at most {limits.most_sides[0]} x {limits.most_sides[1]} are allowed")
    if (
        limits.most_seconds is not None
        and facts.seconds is not None
        and facts.seconds > limits.most_seconds + _SECONDS_TOLERANCE
    ):
        flaws.append(f"it lasts {facts.seconds:.1f} s, at most {limits.most_seconds:g} s are allowed")
    return flaws
