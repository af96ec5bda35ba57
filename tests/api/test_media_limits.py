# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a product takes, as a table, and the judgement by it."""

from __future__ import annotations

import pytest

from airflow_provider_jimeng.api.media_limits import (
    ImageFacts,
    ImageLimits,
    VideoFacts,
    VideoLimits,
    flaws_of_image,
    flaws_of_video,
    limits_of,
)
from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2

MB = 1024 * 1024
SECOND = limits_of(MOTION_IMITATION_2)


@pytest.mark.parametrize("req_key", [MOTION_IMITATION, "jimeng_t2i_v40"])
def test_a_product_without_documented_limits_refuses_nothing_that_decodes(req_key):
    limits = limits_of(req_key)
    assert flaws_of_image(ImageFacts("GIF", 1, 1, 10**9), limits.image) == []
    assert flaws_of_video(VideoFacts("webm", 1, 1, None), limits.video) == []
    assert flaws_of_video(VideoFacts("mov", 9999, 9999, 3600.0), limits.video) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (ImageFacts("PNG", 480, 480, MB), []),
        (ImageFacts("JPEG", 8000, 6000, 4 * MB), []),
        (ImageFacts("PNG", 479, 900, MB), ["479 x 900 px, at least 480 x 480"]),
        (ImageFacts("PNG", 900, 240, MB), ["900 x 240 px, at least 480 x 480"]),
        (ImageFacts("WEBP", 900, 900, MB), ["a WEBP image, JPEG or PNG is needed"]),
        (ImageFacts("PNG", 900, 900, 5 * MB), ["5.00 MB, less than 4.7"]),
        (ImageFacts("GIF", 1, 1, 9 * MB), ["GIF", "1 x 1", "9.00 MB"]),
    ],
)
def test_images_of_the_second_product(facts, words):
    flaws = flaws_of_image(facts, SECOND.image)
    assert len(flaws) == len(words)
    for flaw, word in zip(flaws, words, strict=True):
        assert word in flaw


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (VideoFacts("mp4", 200, 200, 30.0), []),
        (VideoFacts("mov", 2048, 1440, 30.08), []),
        (VideoFacts("webm", 1440, 2048, None), []),
        (VideoFacts("mkv", 640, 480, 5.0), ["a mkv video, mp4 or mov or webm"]),
        (VideoFacts("mp4", 640, 199, 5.0), ["640 x 199 px, at least 200 x 200"]),
        (VideoFacts("mp4", 2049, 1080, 5.0), ["2049 x 1080 px, at most 2048 x 1440"]),
        (VideoFacts("mp4", 1500, 1500, 5.0), ["1500 x 1500 px, at most 2048 x 1440"]),
        (VideoFacts("mp4", 640, 480, 30.2), ["lasts 30.2 s, at most 30 s"]),
        (VideoFacts("avi", 100, 5000, 60.0), ["avi", "at least", "at most 2048", "60.0 s"]),
    ],
)
def test_videos_of_the_second_product(facts, words):
    flaws = flaws_of_video(facts, SECOND.video)
    assert len(flaws) == len(words)
    for flaw, word in zip(flaws, words, strict=True):
        assert word in flaw


def test_a_limit_that_is_not_named_is_none():
    assert flaws_of_image(ImageFacts("BMP", 1, 1, 1), ImageLimits(least_side=1)) == []
    assert flaws_of_video(VideoFacts("mp4", 1, 1, 1.0), VideoLimits(most_seconds=1.0)) == []
