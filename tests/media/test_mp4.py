# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The structure of an MP4: whole ones pass, cut and garbled ones don't."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_jimeng.media.mp4 import flaw_of


def box(kind: bytes, payload: bytes = b"", *, length: int | None = None) -> bytes:
    size = 8 + len(payload) if length is None else length
    return size.to_bytes(4, "big") + kind + payload


def large(kind: bytes, payload: bytes) -> bytes:
    return (1).to_bytes(4, "big") + kind + (16 + len(payload)).to_bytes(8, "big") + payload


FTYP, MOOV, MDAT = box(b"ftyp", b"isom"), box(b"moov", b"x" * 40), box(b"mdat", b"y" * 100)
WHOLE = {
    "moov first": FTYP + MOOV + MDAT,
    "moov last": FTYP + MDAT + MOOV,
    "large mdat": FTYP + MOOV + large(b"mdat", b"y" * 100),
    "mdat to the end": FTYP + MOOV + box(b"mdat", b"y" * 10, length=0),
    "free boxes": FTYP + box(b"free") + MOOV + box(b"uuid", b"z" * 20) + MDAT,
}
BROKEN = {
    "empty": b"",
    "html": b"<html>502 Bad Gateway</html>",
    "begins elsewhere": MOOV + FTYP + MDAT,
    "no moov": FTYP + MDAT,
    "no mdat": FTYP + MOOV,
    "cut in mdat": (FTYP + MOOV + MDAT)[:-1],
    "cut between boxes": FTYP + MOOV,
    "cut in a header": FTYP + MOOV + MDAT + b"\0\0",
    "cut in a large header": FTYP + MOOV + (1).to_bytes(4, "big") + b"mdat\0\0",
    "length too small": FTYP + box(b"moov", length=4) + MDAT,
    "length too large": FTYP + box(b"moov", length=2**31) + MDAT,
    "large length too small": FTYP + (1).to_bytes(4, "big") + b"moov" + (7).to_bytes(8, "big") + MDAT,
    "zeros": b"\0" * 200,
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_whole_file_has_no_flaw(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    assert flaw_of(tmp_path / "a.mp4") is None


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_has_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    assert flaw_of(tmp_path / "a.mp4")


def test_every_cut_of_a_whole_file_is_noticed(tmp_path: Path) -> None:
    data = WHOLE["moov first"]
    for length in range(len(data)):
        (tmp_path / "a.mp4").write_bytes(data[:length])
        assert flaw_of(tmp_path / "a.mp4"), length
