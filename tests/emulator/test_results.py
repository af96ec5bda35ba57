# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import av
import pytest
import requests

from airflow_provider_jimeng.emulator.results import cheap_result, result_tag, tagged, tiny_mp4

if TYPE_CHECKING:
    from tests.emulator.caller import Caller


def boxes(video: bytes) -> list[str]:
    found, offset = [], 0
    while offset < len(video):
        size, kind = struct.unpack_from(">I4s", video, offset)
        found.append(kind.decode())
        offset += size
    assert offset == len(video), "the boxes must fill the file"
    return found


def test_a_cheap_result_is_a_playable_faststart_mp4() -> None:
    video = cheap_result({"task_id": "7"})
    assert boxes(video) == ["ftyp", "moov", "free", "mdat", "free"]
    with av.open(io.BytesIO(video), "r") as film:
        frames = list(film.decode(video=0))
        assert len(frames) == 25
        assert film.streams.video[0].codec_context.name == "h264"
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_cheap_results_are_unique_and_of_different_sizes() -> None:
    videos = [cheap_result({"task_id": str(number)}) for number in range(2000)]
    assert len({hashlib.sha256(video).digest() for video in videos}) == 2000
    assert len({len(video) for video in videos}) > 5
    assert max(len(video) for video in videos) < 20_000


def test_a_result_tells_which_task_it_is_of() -> None:
    tag = {"task_id": "7392616336519610409", "content_key": "abc"}
    assert result_tag(cheap_result(tag)) == tag
    assert result_tag(tagged(b"", tag)) == tag


@pytest.mark.parametrize(
    "spoil",
    [
        lambda video: video[:-1],
        lambda video: video[: len(video) // 2],
        lambda video: video[:-40] + b"x" * 40,
        lambda video: tiny_mp4(),
        lambda video: b"",
        lambda video: b"<html>not a video</html>",
    ],
)
def test_a_spoiled_result_tells_nothing(spoil: object) -> None:
    assert callable(spoil)
    assert result_tag(spoil(cheap_result({"task_id": "7"}))) is None


def test_each_download_brings_its_own_tasks_result(caller: Caller) -> None:
    ids = [caller.created("a") for _ in range(5)]
    videos = [requests.get(caller.result_url(task_id), timeout=10).content for task_id in ids]
    assert [(result_tag(video) or {})["task_id"] for video in videos] == ids
    assert len(set(videos)) == 5


def test_cheap_results_need_neither_pyav_nor_pillow() -> None:
    script = (
        "import sys\n"
        "for name in ('av', 'PIL', 'numpy'): sys.modules[name] = None\n"
        "from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig\n"
        "from airflow_provider_jimeng.emulator.results import cheap_result\n"
        "with Emulator(EmulatorConfig()) as emulator: print(emulator.url, len(cheap_result({})) > 2000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip().endswith("True")


def test_the_package_does_not_load_its_emulator() -> None:
    script = (
        "import sys, airflow_provider_jimeng, airflow_provider_jimeng.get_provider_info\n"
        "print([name for name in sys.modules if 'emulator' in name or name in ('aiohttp', 'av')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
