# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Inputs looked at before they are paid for: real, odd and hostile files, and servers of every kind."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_jimeng.api.media_limits import LIMITS, ImageFacts, MediaLimits, VideoFacts
from airflow_provider_jimeng.api.models import MOTION_IMITATION_2
from airflow_provider_jimeng.media import probe
from airflow_provider_jimeng.media.guard import FetchError, NetworkGuard, RefusedAddressError
from airflow_provider_jimeng.media.probe import can_probe, flaws_of, image_facts
from airflow_provider_jimeng.media.ranges import Gone, Unreadable

from tests.media.files import FileServer, image, serving, video

GUARD = NetworkGuard(allow_loopback=True)
NONE = MediaLimits()
SECOND = LIMITS[MOTION_IMITATION_2]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


def look(
    server: FileServer, kind: str, content: bytes, limits: MediaLimits = NONE, **how: object
) -> list[str]:
    return flaws_of(kind, server.add("file", content, **how), GUARD, limits)


def test_the_extra_is_installed_where_these_tests_run():
    assert can_probe()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_images_are_measured(server, kind):
    content = image(kind, 640, 480)
    assert image_facts(content) == ImageFacts(kind, 640, 480, len(content))
    assert look(server, "image", content) == []


@pytest.mark.parametrize("container", ["mp4", "mov", "webm"])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("faststart", [True, False])
def test_videos_are_measured_wherever_their_index_is(server, container, ranges, faststart, monkeypatch):
    seen: list[VideoFacts] = []

    def judge(facts: VideoFacts, limits: object) -> list[str]:
        seen.append(facts)
        return []

    monkeypatch.setattr(probe, "flaws_of_video", judge)
    assert look(server, "video", video(container, faststart=faststart), ranges=ranges) == []
    (facts,) = seen
    assert (facts.container, facts.width, facts.height) == (container, 320, 240)
    assert facts.seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("faststart", [True, False])
def test_of_a_large_video_only_its_index_and_its_first_picture_are_read(server, faststart):
    content = video(width=640, height=480, frames=30, noise=True, faststart=faststart)
    assert len(content) > 4_500_000
    assert look(server, "video", content) == []
    served = server.files["file"]
    assert served.requests <= 6
    assert served.sent <= 6 * 512 * 1024


def test_limits_are_applied_to_what_is_really_there(server):
    assert "at least 480" in look(server, "image", image(width=300, height=300), SECOND)[0]
    assert "WEBP" in look(server, "image", image("WEBP"), SECOND)[0]
    assert "at least 200" in look(server, "video", video(width=160, height=120), SECOND)[0]
    assert "lasts 31" in look(server, "video", video(width=200, height=200, frames=785), SECOND)[0]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def png_bomb() -> bytes:
    """Return a PNG of a few bytes that claims to be a billion pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
CONCAT = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
SVG = b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg>&a;</svg>"


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        ("image", b"", "it is empty"),
        ("image", PAGE, "can't be decoded as an image .* page of HTML"),
        ("image", SVG, "can't be decoded as an image .* it is XML"),
        ("image", cut(image(noise=True)), "can't be decoded as an image"),
        ("image", cut(image("JPEG", noise=True)), "can't be decoded as an image"),
        ("image", b"\x89PNG\r\n\x1a\n" + bytes(100), "can't be decoded as an image"),
        ("image", png_bomb(), "(claims to be|can't be decoded)"),
        ("image", video(), "can't be decoded as an image"),
        ("image", b"\x00" * 5000, "can't be decoded as an image"),
        ("video", b"", "it is empty"),
        ("video", PAGE, "no mp4, mov or webm video; it is a page of HTML"),
        ("video", PLAYLIST, "no mp4, mov or webm video"),
        ("video", CONCAT, "no mp4, mov or webm video"),
        ("video", SVG, "no mp4, mov or webm video; it is XML"),
        ("video", image(), "no mp4, mov or webm video"),
        ("video", cut(video(noise=True)), "can't be decoded as a video"),
        ("video", b"\x00\x00\x00\x18ftypmp42" + PLAYLIST, "can't be decoded as a video"),
        ("video", b"\x1a\x45\xdf\xa3" + bytes(500), "can't be decoded as a video"),
        ("video", video(audio_only=True), "only sound"),
    ],
)
def test_what_is_no_image_or_no_video_is_told(server, kind, content, words):
    (flaw,) = look(server, kind, content)
    assert re.search(words, flaw)
    # None of the file's own bytes, which a hostile one would use to write into people's logs.
    assert "passwd" not in flaw
    assert len(flaw) < 200


def test_a_kind_of_image_that_nothing_here_decodes_is_left_to_the_vendor():
    assert image_facts(b"\x00\x00\x00\x18ftypheic" + bytes(100)) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_the_server_refuses_is_gone(server, status):
    with pytest.raises(Gone, match=str(status)):
        look(server, "image", image(), statuses=[status])


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_may_pass_is_not_gone(server, status):
    with pytest.raises(Unreadable, match=str(status)):
        look(server, "image", image(), statuses=[status])


def test_a_server_that_stops_in_the_middle_is_no_flaw_of_the_file(server):
    with pytest.raises(Unreadable):
        look(server, "video", video(), ranges=False, announced=10_000_000)


def test_a_file_without_end_is_left_alone_after_a_while(server, monkeypatch):
    monkeypatch.setattr(probe, "VIDEO_BYTES", 3_000_000)
    assert look(server, "video", video(), ranges=False, endless=True, announced=5 * 1024**3) == []
    assert server.files["file"].sent < 12_000_000


def test_a_server_that_drips_is_left_alone_after_a_while(server, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    try:
        found = look(server, "image", image(), pause=3.0)
    except (Unreadable, FetchError):
        return
    assert found == []


def test_an_index_far_into_the_file_is_no_flaw(server, monkeypatch):
    monkeypatch.setattr(probe, "VIDEO_BYTES", 1_000_000)
    content = video(width=640, height=480, frames=30, noise=True, faststart=False)
    assert look(server, "video", content) == []


def test_addresses_are_guarded_and_redirects_too(server):
    url = server.add("here", image())
    with pytest.raises(RefusedAddressError):
        flaws_of("image", url, NetworkGuard(), NONE)
    onward = server.add("onward", statuses=[302], location="http://169.254.169.254/latest/meta-data/")
    with pytest.raises(RefusedAddressError):
        flaws_of("image", onward, GUARD, NONE)
    to_a_file = server.add("file-url", statuses=[302], location="file:///etc/passwd")
    with pytest.raises(RefusedAddressError):
        flaws_of("image", to_a_file, GUARD, NONE)


def test_a_movie_that_refers_to_another_file_does_not_read_it(server, tmp_path: Path):
    """QuickTime's data references may name files; the demuxer is not told to follow them."""
    secret = tmp_path / "secret.mov"
    secret.write_bytes(video("mov"))
    content = video("mov", faststart=True)
    hostile = content.replace(b"url \x00\x00\x00\x01", b"url \x00\x00\x00\x00", 1)
    assert hostile != content
    found = look(server, "video", hostile)
    assert found == [] or "can't be decoded" in found[0]
