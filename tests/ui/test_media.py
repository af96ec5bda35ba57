# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the ledger names is streamed, whole and in parts; what merely lies in its place is not."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from airflow_provider_jimeng.ledger.records import LandingRecord
from airflow_provider_jimeng.media.target import Target
from airflow_provider_jimeng.ui.media import Media, NoResult, Part, open_result, part_of

from tests.ui.rows import video


def landing(uri: str, size: int) -> LandingRecord:
    return LandingRecord(
        id=1,
        content_key="k",
        attempt=1,
        uri=uri,
        size=size,
        etag=None,
        sha256="5" * 64,
        content_type="text/html",
        landed_at=0.0,
    )


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, Part(0, 99, whole=True)),
        ("bytes=0-", Part(0, 99, whole=False)),
        ("bytes=10-19", Part(10, 19, whole=False)),
        ("bytes=90-500", Part(90, 99, whole=False)),
        ("bytes=-5", Part(95, 99, whole=False)),
        ("bytes=-500", Part(0, 99, whole=False)),
        ("bytes=100-", None),
        ("bytes=20-10", None),
        ("bytes=-0", None),
        ("bytes=-", Part(0, 99, whole=True)),
        ("bytes=0-1,5-6", Part(0, 99, whole=True)),
        ("items=0-1", Part(0, 99, whole=True)),
    ],
)
def test_a_range_is_read(header: str | None, part: Part | None):
    assert part_of(header, 100) == part


def test_a_result_is_read_in_parts_and_its_type_is_what_its_bytes_are(tmp_path: Path):
    body = video()
    path = tmp_path / "a.mp4"
    path.write_bytes(body)

    found = open_result(landing(str(path), len(body)))

    assert (found.kind, found.size) == ("video/mp4", len(body))
    assert b"".join(found.read(Part(3, 20, whole=False))) == body[3:21]
    assert found.file.closed


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n0000", "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(12), "image/jpeg"),
        (b"RIFF0000WEBP0000", "image/webp"),
        (b"\x1aE\xdf\xa3" + bytes(12), "video/webm"),
        (b"\x00\x00\x00\x14ftypqt  0000", "video/quicktime"),
    ],
)
def test_pictures_and_other_films_are_told_apart(tmp_path: Path, head: bytes, kind: str):
    path = tmp_path / "a"
    path.write_bytes(head)
    found = open_result(landing(str(path), len(head)))
    found.close()
    assert found.kind == kind


def test_a_configuration_file_that_a_forged_row_names_is_not_shown(tmp_path: Path):
    path = tmp_path / "airflow.cfg"
    path.write_bytes(b"[core]\nfernet_key = secret\n")
    with pytest.raises(NoResult, match="neither a video nor a picture"):
        open_result(landing(str(path), path.stat().st_size))


def test_a_file_of_another_size_is_not_what_was_landed(tmp_path: Path):
    path = tmp_path / "a.mp4"
    path.write_bytes(video())
    with pytest.raises(NoResult, match="not what was landed"):
        open_result(landing(str(path), 7))


def test_a_link_in_a_results_place_leads_nowhere(tmp_path: Path):
    (tmp_path / "real.mp4").write_bytes(video())
    (tmp_path / "a.mp4").symlink_to(tmp_path / "real.mp4")
    with pytest.raises(NoResult, match="can't read"):
        open_result(landing(str(tmp_path / "a.mp4"), (tmp_path / "real.mp4").stat().st_size))


def test_a_pipe_in_a_results_place_holds_nobody(tmp_path: Path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(NoResult, match="can't read"):
        open_result(landing(str(tmp_path / "a.mp4"), 0))


def test_a_result_that_is_gone_is_told(tmp_path: Path):
    with pytest.raises(NoResult, match="FileNotFoundError"):
        open_result(landing(str(tmp_path / "a.mp4"), 5))


def test_a_result_in_an_object_store_is_streamed():
    fs = fsspec.filesystem("memory")
    body = video()
    fs.pipe_file("/ui/a.mp4", body)

    def resolve(uri: str) -> Target:
        return Target(fs, "/ui/a.mp4", uri)

    found = open_result(landing("memory://ui/a.mp4", len(body)), resolve=resolve)
    assert b"".join(found.read(Part(0, len(body) - 1, whole=True))) == body
    fs.rm("/ui/a.mp4")
    with pytest.raises(NoResult, match="FileNotFoundError"):
        open_result(landing("memory://ui/a.mp4", len(body)), resolve=resolve)


def test_a_store_that_says_no_is_told_without_its_words():
    def resolve(uri: str) -> Target:
        raise RuntimeError("token=hush")

    with pytest.raises(NoResult) as told:
        open_result(landing("s3://b/a.mp4", 1), resolve=resolve)
    assert "hush" not in str(told.value)


def test_a_file_that_becomes_shorter_breaks_the_answer(tmp_path: Path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"12345")
    with pytest.raises(OSError, match="shorter"):
        b"".join(Media(path.open("rb"), 9, "video/mp4").read(Part(0, 8, whole=True)))
