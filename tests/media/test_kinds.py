# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Pictures are told from each other by their bytes, and a cut one from a whole one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_jimeng.media.kinds import flaw_of, kind_of, suffix_of

from tests.media.test_mp4 import WHOLE

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def picture(form: str, side: int = 80) -> bytes:
    made = Image.effect_noise((side, side), 60)
    data = io.BytesIO()
    made.convert("P" if form == "GIF" else "RGB").save(data, form)
    return data.getvalue()


def stored(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "result"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("form", "kind"), KINDS.items())
def test_a_picture_is_known_by_its_first_bytes_and_whole(tmp_path: Path, form: str, kind: str) -> None:
    path = stored(tmp_path, picture(form))
    assert kind_of(path) == kind
    assert flaw_of(path, kind) is None


@pytest.mark.parametrize(("form", "kind"), KINDS.items())
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_picture_that_is_cut_short_is_no_result(tmp_path: Path, form: str, kind: str, share: float) -> None:
    whole = picture(form)
    path = stored(tmp_path, whole[: int(len(whole) * share)])
    assert "cut short" in (flaw_of(path, kind) or "")


def test_bytes_behind_a_pictures_end_are_some_encoders_habit(tmp_path: Path) -> None:
    for form in ("JPEG", "PNG"):
        path = stored(tmp_path, picture(form) + b"\0\0 written by a camera")
        assert flaw_of(path, KINDS[form]) is None


def test_a_small_picture_within_a_cut_one_is_not_its_end(tmp_path: Path) -> None:
    small, whole = picture("JPEG", 16), picture("JPEG", 200)
    marker = b"\xff\xe1" + (2 + len(small)).to_bytes(2, "big") + small
    path = stored(tmp_path, (whole[:2] + marker + whole[2:])[:-500])
    assert flaw_of(path, "image/jpeg") is not None
    path.write_bytes(whole[:2] + marker + whole[2:])
    assert flaw_of(path, "image/jpeg") is None


def test_garbage_that_begins_as_a_jpeg_is_none(tmp_path: Path) -> None:
    path = stored(tmp_path, b"\xff\xd8\xff\xe0\x00\x04ab" + b"nonsense")
    assert flaw_of(path, "image/jpeg") is not None


@pytest.mark.parametrize("kind", [*KINDS.values()])
def test_another_kind_than_was_said_is_told(tmp_path: Path, kind: str) -> None:
    path = stored(tmp_path, WHOLE["moov first"])
    assert kind_of(path) == "video/mp4"
    assert flaw_of(path, kind) == f"it is called {kind} and does not begin as one does"


def test_of_other_kinds_nothing_is_said(tmp_path: Path) -> None:
    path = stored(tmp_path, b"?")
    assert kind_of(path) is None
    assert flaw_of(path, "image/avif") is None


def test_an_mp4_is_looked_at_as_before(tmp_path: Path) -> None:
    assert flaw_of(stored(tmp_path, WHOLE["moov first"]), "video/mp4") is None
    assert "not a whole MP4" in (flaw_of(stored(tmp_path, WHOLE["moov first"][:-1]), "video/mp4") or "")


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [(None, ".mp4"), ("video/mp4", ".mp4"), ("image/jpeg", ".jpg"), ("image/png", ".png"), ("x/y", ".bin")],
)
def test_what_has_no_name_is_named_after_its_kind(kind: str | None, suffix: str) -> None:
    assert suffix_of(kind) == suffix
