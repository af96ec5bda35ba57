# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the demo says about a landed file is read from the file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.sheet import Triple, contact_sheet
from demo.terminal import DemoError
from demo.vendor import make_sample_media
from demo.verify import check_film


def announced(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_a_whole_video_is_decoded_to_its_last_frame(media: Path) -> None:
    film = media / "template-03-walk.mp4"

    found = check_film(film, announced(film))

    assert (found.frames, str(found)) == (50, "480x640, 2.0 s")


def test_other_bytes_than_the_task_announced_are_noticed(media: Path, tmp_path: Path) -> None:
    film = media / "template-01-wave.mp4"
    said = announced(film)
    data = film.read_bytes()
    short, other, gone = tmp_path / "short.mp4", tmp_path / "other.mp4", tmp_path / "gone.mp4"
    short.write_bytes(data[:-1])
    other.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(DemoError, match="its task said"):
        check_film(short, said)
    with pytest.raises(DemoError, match="another sha256"):
        check_film(other, said)
    with pytest.raises(DemoError, match="can't be read"):
        check_film(gone, said)


def test_a_file_that_no_player_can_play_is_noticed(media: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.mp4"
    page.write_text("<html>504 Gateway Time-out</html>")
    picture = media / "character-01-amber.png"
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((media / "template-01-wave.mp4").read_bytes()[:2000])

    with pytest.raises(DemoError, match="no video"):
        check_film(page, announced(page))
    with pytest.raises(DemoError):
        check_film(cut, announced(cut))
    assert check_film(picture, announced(picture)).frames == 1


def test_media_are_drawn_once_so_that_what_was_paid_for_stays_the_same(media: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in media.iterdir()}

    again = make_sample_media(media)

    assert {path.name: path.stat().st_mtime_ns for path in again} == before
    assert len(before) == 15


def test_the_contact_sheet_is_small_enough_for_a_readme(media: Path, tmp_path: Path) -> None:
    row = Triple(
        media / "character-01-amber.png", media / "template-01-wave.mp4", media / "template-03-walk.mp4"
    )

    sheet = contact_sheet([row] * 4, tmp_path / "deeper" / "sheet.jpg")

    assert sheet.stat().st_size < 300_000
    with Image.open(sheet) as picture:
        assert (picture.format, picture.size) == ("JPEG", (1098, 648))
