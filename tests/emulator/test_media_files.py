# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
import requests
from PIL import Image

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.emulator.sample_media import make_media


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Emulator]:
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"0123456789")
    (folder / "sub" / "b c.mp4").write_bytes(b"xyz")
    (tmp_path / "secret.txt").write_text("secret")
    os.symlink(tmp_path / "secret.txt", folder / "link.txt")
    with Emulator(EmulatorConfig(media_dir=folder)) as running:
        yield running


def test_media_have_validators_and_ranges(served: Emulator) -> None:
    url = served.media_url("a.png")
    answer = requests.get(url, timeout=10)
    assert answer.content == b"0123456789"
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["ETag"]
    assert answer.headers["Last-Modified"]
    part = requests.get(url, headers={"Range": "bytes=0-0"}, timeout=10)
    assert part.status_code == 206
    assert part.headers["Content-Range"] == "bytes 0-0/10"
    assert part.headers["ETag"] == answer.headers["ETag"]
    known = requests.get(url, headers={"If-None-Match": answer.headers["ETag"]}, timeout=10)
    assert known.status_code == 304


def test_a_changed_file_has_another_etag(served: Emulator, tmp_path: Path) -> None:
    url = served.media_url("a.png")
    before = requests.get(url, timeout=10).headers["ETag"]
    (tmp_path / "media" / "a.png").write_bytes(b"other bytes")
    assert requests.get(url, timeout=10).headers["ETag"] != before


def test_requests_are_counted(served: Emulator) -> None:
    requests.get(served.media_url("a.png"), timeout=10)
    requests.get(served.media_url("a.png") + "?presigned=1", timeout=10)
    assert requests.get(served.media_url("sub/b c.mp4"), timeout=10).content == b"xyz"
    assert served.ledger()["media"] == {"a.png": 2, "sub/b c.mp4": 1}
    assert served.ledger()["totals"]["media_requests"] == 3


@pytest.mark.parametrize(
    "path", ["missing.png", "sub", "link.txt", "%00", "..%2Fsecret.txt", "sub/..%2f..%2fsecret.txt"]
)
def test_nothing_else_is_served(served: Emulator, path: str) -> None:
    answer = requests.get(f"{served.url}/media/{path}", timeout=10)
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.txt", "")


def test_no_raw_path_climbs_out(served: Emulator) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(b"GET /media/../../secret.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 404")


def test_without_a_folder_there_are_no_media(emulator: Emulator) -> None:
    assert requests.get(emulator.media_url("a.png"), timeout=10).status_code == 404


def test_sample_media_are_recognisable_and_the_same_every_time(tmp_path: Path) -> None:
    first = make_media(tmp_path / "one", images=11, videos=2)
    again = make_media(tmp_path / "two", images=11, videos=2)
    assert [path.name for path in first] == [path.name for path in again]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert len({path.read_bytes() for path in first}) == 13
    for path in first[:11]:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) >= 480
        assert path.stat().st_size < 1_000_000
    for path in first[11:]:
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            assert stream.average_rate == 25
            assert 1.0 <= float((stream.duration or 0) * (stream.time_base or 0)) <= 2.0
            assert min(stream.codec_context.width, stream.codec_context.height) >= 200
