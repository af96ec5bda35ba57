# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Small files that claim to be large: what a look at an input, or a download, may cost a worker."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_jimeng.api.media_limits import ImageFacts, MediaLimits, VideoFacts
from airflow_provider_jimeng.exceptions import JimengLandingError
from airflow_provider_jimeng.media import probe
from airflow_provider_jimeng.media.download import MAX_BYTES, Downloaded, download
from airflow_provider_jimeng.media.guard import NetworkGuard
from airflow_provider_jimeng.media.probe import flaws_of, image_facts, video_facts

from tests.client.servers import answering, serving
from tests.media.files import image, video
from tests.media.test_mp4 import WHOLE

GUARD = NetworkGuard(allow_loopback=True)
MOVIE = WHOLE["moov first"]


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_large_image_is_measured_by_its_header_and_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = png_of(13_000, 13_000)
    assert image_facts(content) == ImageFacts("PNG", 13_000, 13_000, len(content))
    # One that is decoded is found to be cut: what is above was not.
    assert "can't be decoded" in str(image_facts(png_of(1000, 1000)))

    def never(*_: object) -> None:
        raise AssertionError("it was decoded")

    made = [image(kind, 640, 480) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]
    monkeypatch.setattr(probe, "_DECODED_PIXELS", 640 * 480 - 1)
    monkeypatch.setattr(Image.Image, "load", never)
    for each in made:
        assert isinstance(image_facts(each), ImageFacts)


@pytest.mark.parametrize("side", [20_000, 100_000, 2**31 - 1])
def test_an_absurd_image_is_refused(side: int) -> None:
    assert isinstance(image_facts(png_of(side, side)), list)
    assert image_facts(png_of(side, side)) != []


def test_a_decoded_image_stays_below_its_bound() -> None:
    assert probe._DECODED_PIXELS * 4 <= 200_000_000


def test_a_large_video_is_measured_by_its_header_and_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_DECODED_PIXELS", 320 * 240 - 1)
    monkeypatch.setattr(probe, "_BOUNDS", {"max_pixels": "100"})
    for kind in ("mp4", "mov"):
        found = video_facts(io.BytesIO(video(kind)))
        assert isinstance(found, VideoFacts)
        assert (found.width, found.height) == (320, 240)


def test_the_decoder_itself_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # As where a stream says another size than its container.
    monkeypatch.setattr(probe, "_BOUNDS", {"max_pixels": "100"})
    for kind in ("mp4", "webm"):
        assert "can't be decoded" in str(video_facts(io.BytesIO(video(kind))))


ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg"><text>&b;&c;</text></svg>"""


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 10_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        ENTITIES,
        zipped(),
        gzip.compress(b"\0" * 10_000_000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
    ],
    ids=["svg", "zip", "gzip", "postscript", "playlist", "concat"],
)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_is_no_picture_and_no_video_is_not_interpreted(content: bytes, kind: str) -> None:
    with serving(answering(content, Content_Type=f"{kind}/x")) as server:
        flaws = flaws_of(kind, f"{server.url}/a", GUARD, MediaLimits())
        assert len(server.requests) == 1
    assert flaws != []
    assert "root:" not in str(flaws)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip, gzip"])
@pytest.mark.parametrize("kind", ["image", "video"])
def test_an_input_that_comes_compressed_is_not_unpacked(
    kind: str, encoding: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was unpacked")

    monkeypatch.setattr("urllib3.response.HTTPResponse._init_decoder", never)
    bomb = gzip.compress(b"\0" * 10_000_000)
    with serving(answering(bomb, Content_Encoding=encoding)) as server, caplog.at_level("INFO"):
        assert flaws_of(kind, f"{server.url}/a", GUARD, MediaLimits()) == []
    assert "compresses the file" in caplog.text


def fetch(into: Path, body: bytes, encoding: str, *, max_bytes: int = MAX_BYTES) -> Downloaded:
    with serving(answering(body, Content_Type="video/mp4", Content_Encoding=encoding)) as server:
        return download(f"{server.url}/a.mp4", into, guard=GUARD, timeout=(2.0, 2.0), max_bytes=max_bytes)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_result_that_comes_compressed_is_landed_as_it_was(encoding: str, tmp_path: Path) -> None:
    packed = gzip.compress(MOVIE) if encoding == "gzip" else zlib.compress(MOVIE)
    assert fetch(tmp_path / "a", packed, encoding).bytes == len(MOVIE)
    assert (tmp_path / "a").read_bytes() == MOVIE


def test_a_result_that_unpacks_without_end_is_cut_off(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with pytest.raises(JimengLandingError, match="more than 2000000 bytes"):
        fetch(tmp_path / "a", bomb, "gzip", max_bytes=2_000_000)
    assert (tmp_path / "a").stat().st_size <= 2_000_000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(MOVIE)[:-20], "gzip"),
        (b"\x1f\x8b no gzip", "gzip"),
        (MOVIE, "gzip"),
        (MOVIE, "br"),
        (gzip.compress(gzip.compress(MOVIE)), "gzip, gzip"),
    ],
    ids=["cut short", "a head alone", "not packed at all", "not Brotli", "packed twice"],
)
def test_a_result_that_can_not_be_unpacked_is_not_landed(body: bytes, encoding: str, tmp_path: Path) -> None:
    with pytest.raises(JimengLandingError, match="never submitted again"):
        fetch(tmp_path / "a", body, encoding)
