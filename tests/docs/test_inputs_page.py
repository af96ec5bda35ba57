# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the page on inputs says is what the code does."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_jimeng.api.locations import MEDIA_SCHEMES
from airflow_provider_jimeng.api.media_limits import LIMITS, limits_of
from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2
from airflow_provider_jimeng.hooks import probing
from airflow_provider_jimeng.media import presign, probe

from tests.docs.pages import names, rows, section

TEXT = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text()


def test_the_schemes_are_those_of_the_code() -> None:
    told = [names(row[0])[0].removesuffix("://") for row in rows(section(TEXT, "## What a URL may be"))]
    assert tuple(told) == MEDIA_SCHEMES


def test_lifetimes_and_bounds_are_those_of_the_code() -> None:
    assert f"lives for {presign.DEFAULT_SECONDS // 3600} hours" in TEXT
    assert f"{presign.LEAST_SECONDS:,} to\n{presign.MOST_SECONDS:,}" in TEXT
    assert f"up to {probe.IMAGE_BYTES // 1024 // 1024} MB" in TEXT
    assert f"up to {probe.VIDEO_BYTES // 1024 // 1024} MB; {probe.SECONDS:.0f} s each" in TEXT
    assert f"for {probing._FRESH_SECONDS / 60:.0f} minutes" in TEXT


def test_the_limits_are_those_of_the_table() -> None:
    told = {row[0]: row[1:] for row in rows(section(TEXT, "### The limits"))}
    limits = limits_of(MOTION_IMITATION_2)
    assert set(LIMITS) == {MOTION_IMITATION, MOTION_IMITATION_2}
    assert limits.image.formats is not None
    assert limits.image.most_bytes is not None
    assert limits.video.containers is not None
    assert limits.video.most_sides is not None
    assert told == {
        "image: format": ["any that decodes", ", ".join(limits.image.formats)],
        "image: sides, at least": ["", f"{limits.image.least_side} px"],
        "image: size, less than": ["", f"{limits.image.most_bytes / 1024 / 1024:.1f} MB"],
        "video: container": [", ".join(limits.video.containers)] * 2,
        "video: sides, at least": ["", f"{limits.video.least_side} px"],
        "video: sides, at most": [
            "",
            f"{limits.video.most_sides[0]} x {limits.video.most_sides[1]} px",
        ],
        "video: length, at most": ["", f"{limits.video.most_seconds:g} s"],
    }
