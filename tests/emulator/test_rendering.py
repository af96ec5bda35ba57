# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Inputs are fetched and judged as the vendor does it, and results are made of them."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest
import requests
from PIL import Image, ImageChops, ImageStat

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2, SUBMIT_ACTION
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig, result_tag
from airflow_provider_jimeng.emulator.motion import motions
from airflow_provider_jimeng.emulator.pool import WorkerError, WorkerPool
from airflow_provider_jimeng.emulator.render import inspect
from airflow_provider_jimeng.emulator.results import tiny_mp4
from airflow_provider_jimeng.emulator.studio import Studio

from tests.emulator.caller import Caller

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator.inputs import Inputs
    from airflow_provider_jimeng.emulator.tasks import Task

PICTURES = "jimeng_t2i_v40"
IMAGE, VIDEO = "character-01-amber.png", "template-01-wave.mp4"


@pytest.fixture(scope="module")
def inputs(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for path in media.iterdir():
        shutil.copy(path, folder)
    (folder / "empty").write_bytes(b"")
    (folder / "text.png").write_text("<html>no image</html>")
    (folder / "broken.png").write_bytes((media / IMAGE).read_bytes()[:2000])
    (folder / "broken.mp4").write_bytes((media / VIDEO).read_bytes()[:600])
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 5_000_000)
    Image.new("RGB", (300, 300)).save(folder / "small.png")
    (folder / "bomb.png").write_bytes(bomb((folder / "small.png").read_bytes()))
    (folder / "tiny.mp4").write_bytes(tiny_mp4())
    film(folder / "long.mp4", frames=33, rate=1, size=(320, 320))
    Image.open(media / IMAGE).save(folder / "odd.webp")
    film(folder / "odd.avi", frames=12, rate=12, size=(320, 240), codec="mpeg4")
    film(folder / "two.mp4", frames=50, rate=25, size=(320, 320))
    film(folder / "odd.webm", frames=12, rate=12, size=(322, 242), codec="libvpx")
    film(folder / "grey.mp4", frames=10, rate=10, size=(320, 320))
    return folder


def bomb(png: bytes) -> bytes:
    """A small file that says it is 20,000 x 20,000 pixels."""
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def film(path: Path, *, frames: int, rate: int, size: tuple[int, int], codec: str = "libx264") -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            picture: Any = av.VideoFrame
            frame = picture.from_image(Image.new("RGB", size, (number * 7 % 256,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def studio(inputs: Path) -> Iterator[Caller]:
    config = EmulatorConfig(
        results="render", duration=0.0, concurrency=None, render_height=96, media_dir=inputs
    )
    with Emulator(config) as emulator:
        yield Caller(emulator)


def submit(caller: Caller, image: str = IMAGE, video: str = VIDEO, **body: Any) -> str:
    urls = {"image_url": caller.emulator.media_url(image), "video_url": caller.emulator.media_url(video)}
    return caller.created(**{**urls, **body})


def rendered(caller: Caller, task_id: str, req_key: str = MOTION_IMITATION) -> bytes:
    answer = caller.finished(task_id, req_key).json()
    assert answer["code"] == 10000, answer
    return requests.get(answer["data"]["video_url"], timeout=60).content


def frames(video: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(video), "r") as container:
        pictures: list[Any] = list(container.decode(video=0))
        return [picture.to_image() for picture in pictures]


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(sum(ImageStat.Stat(ImageChops.difference(one, other)).mean))


def test_results_are_real_videos_made_of_their_inputs(studio: Caller) -> None:
    pairs = [
        (image, video)
        for image in (IMAGE, "character-02-blue.png")
        for video in (VIDEO, "template-02-jump.mp4")
    ]
    ids = [submit(studio, image, video) for image, video in pairs]
    videos = [rendered(studio, task_id) for task_id in ids]
    for video, task_id in zip(videos, ids, strict=True):
        assert (result_tag(video) or {})["task_id"] == task_id
        assert video.index(b"moov") < video.index(b"mdat"), "faststart"
        with av.open(io.BytesIO(video)) as container:
            context: Any = container.streams.video[0].codec_context
            assert (context.name, context.pix_fmt, context.width, context.height) == (
                "h264",
                "yuv420p",
                96,
                96,
            )
            assert container.streams.video[0].average_rate == 25
    pictures = [frames(video) for video in videos]
    assert [len(picture) for picture in pictures] == [25, 35, 25, 35], "as long as the template"
    amber_wave, amber_jump, blue_wave, _ = pictures
    assert difference(amber_wave[12], blue_wave[12]) > 10, "another image, another result"
    assert max(difference(amber_wave[n], amber_jump[n]) for n in range(25)) > 3, (
        "another template, another result"
    )
    assert max(difference(amber_jump[0], frame) for frame in amber_jump) > 3, "it moves"


def test_the_same_pair_twice_gives_two_different_files(studio: Caller) -> None:
    one, other = (rendered(studio, submit(studio)) for _ in range(2))
    assert one != other


def test_the_second_form_takes_a_picture_in_the_body(studio: Caller, inputs: Path) -> None:
    body = {
        "req_key": MOTION_IMITATION_2,
        "binary_data_base64": [base64.b64encode((inputs / IMAGE).read_bytes()).decode()],
        "video_url": studio.emulator.media_url(VIDEO),
    }
    task_id = studio.call(SUBMIT_ACTION, body).json()["data"]["task_id"]
    assert len(frames(rendered(studio, task_id, MOTION_IMITATION_2))) == 25


@pytest.mark.parametrize("video", ["odd.webm", "tiny.mp4", "grey.mp4"])
def test_other_containers_rates_and_still_templates_are_performed_too(studio: Caller, video: str) -> None:
    assert len(frames(rendered(studio, submit(studio, video=video)))) >= 20


def test_a_body_without_media_gets_a_cheap_picture_show(studio: Caller) -> None:
    answer = studio.call(SUBMIT_ACTION, {"req_key": "jimeng_other_video", "prompt": "a cat"})
    task_id = answer.json()["data"]["task_id"]
    assert len(frames(rendered(studio, task_id, "jimeng_other_video"))) == 25


def test_a_prompt_gets_a_real_picture_of_the_size_it_asks_for(studio: Caller) -> None:
    made = []
    for body in ({"prompt": "a cat", "width": 1600, "height": 1200}, {"prompt": "a dog", "size": 1048576}):
        task_id = studio.call(SUBMIT_ACTION, {"req_key": PICTURES, **body}).json()["data"]["task_id"]
        studio.finished(task_id, PICTURES)
        answer = studio.query(task_id, PICTURES, req_json='{"return_url": true}').json()
        data = requests.get(answer["data"]["image_urls"][0], timeout=60).content
        assert (result_tag(data) or {})["task_id"] == task_id
        made.append(Image.open(io.BytesIO(data)))
    assert [(picture.format, picture.size) for picture in made] == [
        ("JPEG", (1600, 1200)),
        ("JPEG", (1024, 1024)),
    ]
    cat, dog = (picture.convert("RGB").resize((32, 32)) for picture in made)
    assert difference(cat, dog) > 10


def second(studio: Caller, image: str = IMAGE, video: str = VIDEO, cut: bool | None = None) -> str:
    media = studio.emulator.media_url
    urls = {"image_urls": [media(image)], "video_url": media(video)}
    said = {} if cut is None else {"cut_result_first_second_switch": cut}
    answer = studio.call(SUBMIT_ACTION, {"req_key": MOTION_IMITATION_2, **urls, **said})
    return str(answer.json()["data"]["task_id"])


def test_the_second_product_cuts_the_first_second_unless_it_is_told_not_to(studio: Caller) -> None:
    usual, said, whole = (
        rendered(studio, second(studio, video="two.mp4", cut=cut), MOTION_IMITATION_2)
        for cut in (None, True, False)
    )
    assert [len(frames(video)) for video in (usual, said, whole)] == [25, 25, 50]
    assert len(frames(rendered(studio, submit(studio, video="two.mp4")))) == 50


def test_the_second_product_gives_720p_at_25_frames(inputs: Path) -> None:
    with Emulator(EmulatorConfig(results="render", duration=0.0, media_dir=inputs)) as emulator:
        caller = Caller(emulator)
        video = rendered(caller, second(caller), MOTION_IMITATION_2)
    with av.open(io.BytesIO(video), "r") as container:
        (stream,) = container.streams.video
        assert container.format.name.startswith("mov,mp4")
        assert min(stream.width, stream.height) == 720
        assert stream.average_rate == 25


@pytest.mark.parametrize(
    ("image", "video", "code"),
    [("odd.webp", VIDEO, 50207), (IMAGE, "odd.avi", 50210), (IMAGE, "odd.webm", 10000)],
)
def test_the_second_product_takes_the_kinds_of_files_that_its_page_names(
    studio: Caller, image: str, video: str, code: int
) -> None:
    task_id = second(studio, image, video)
    assert studio.finished(task_id, MOTION_IMITATION_2).json()["code"] == code
    assert studio.finished(submit(studio, image, video)).json()["code"] == 10000


UNUSABLE = [
    ({"image": "empty"}, 50206),
    ({"image": "text.png"}, 50207),
    ({"image": "broken.png"}, 50207),
    ({"image": "huge.png"}, 50205),
    ({"image": "bomb.png"}, 50205),
    ({"image": "missing.png"}, 50207),
    ({"image": VIDEO}, 50207),
    ({"video": "empty"}, 50209),
    ({"video": "broken.mp4"}, 50210),
    ({"video": "text.png"}, 50210),
    ({"video": "missing.mp4"}, 50210),
    ({"video": "long.mp4"}, 50214),
]


@pytest.mark.parametrize(("names", "code"), UNUSABLE)
def test_what_cannot_be_used_is_the_tasks_verdict_at_done(
    studio: Caller, names: dict[str, str], code: int
) -> None:
    task_id = submit(studio, **names)
    answer = studio.finished(task_id)
    assert answer.status_code == 400
    assert answer.json()["code"] == code
    assert answer.json()["data"] == {"status": "done"}


@pytest.mark.parametrize(
    ("image", "video", "code"), [("small.png", VIDEO, 50215), (IMAGE, "tiny.mp4", 50211)]
)
def test_the_second_product_has_limits_of_its_own(studio: Caller, image: str, video: str, code: int) -> None:
    media = studio.emulator.media_url
    body = {"req_key": MOTION_IMITATION_2, "image_urls": [media(image)], "video_url": media(video)}
    task_id = studio.call(SUBMIT_ACTION, body).json()["data"]["task_id"]
    assert studio.finished(task_id, MOTION_IMITATION_2).json()["code"] == code
    assert studio.finished(submit(studio, image, video)).json()["code"] == 10000


def test_a_closed_port_and_a_redirect_loop_are_unreadable_inputs(studio: Caller) -> None:
    closed = submit(studio, image_url="http://127.0.0.1:9/a.png")
    assert studio.finished(closed).json()["code"] == 50207
    done = rendered_url(studio)
    studio.emulator.add_fault("download:redirect,times=0")
    loop = submit(studio, video_url=done)
    assert studio.finished(loop).json()["code"] == 50210
    studio.emulator.clear_faults()
    message = studio.finished(loop).json()["message"]
    assert "x-signature" not in message


def rendered_url(caller: Caller) -> str:
    return str(caller.finished(submit(caller)).json()["data"]["video_url"])


def test_the_scripted_verdict_beats_the_inputs(studio: Caller) -> None:
    studio.emulator.add_fault("done:50411,match=text.png")
    assert studio.finished(submit(studio, image="text.png")).json()["code"] == 50411


def test_rendering_never_delays_the_clock(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = threading.Event()
    genuine = Studio._render

    async def held(self: Studio, task: Task, given: Inputs) -> None:
        await asyncio.to_thread(allowed.wait, 60)
        await genuine(self, task, given)

    monkeypatch.setattr(Studio, "_render", held)
    config = EmulatorConfig(results="render", duration=0.2, render_height=96, media_dir=inputs)
    with Emulator(config) as emulator, ThreadPoolExecutor(1) as threads:
        caller = Caller(emulator)
        task_id = submit(caller)
        url = caller.finished(task_id).json()["data"]["video_url"]
        assert emulator.ledger()["slots"][MOTION_IMITATION]["in_use"] == 0
        download = threads.submit(requests.get, url, timeout=60)
        assert not wait([download], timeout=0.3).done, "the download is what waits"
        allowed.set()
        assert len(frames(download.result().content)) == 25


def test_a_result_that_cannot_be_rendered_is_an_error_of_the_download(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: WorkerPool, order: dict[str, Any]) -> dict[str, Any]:
        if order["job"] == "render":
            raise WorkerError("out of ink")
        return {"code": 10000, "message": None, "seconds": 1.0}

    monkeypatch.setattr(WorkerPool, "run", broken)
    with Emulator(EmulatorConfig(results="render", duration=0.0, media_dir=inputs)) as emulator:
        caller = Caller(emulator)
        answer = requests.get(caller.result_url(submit(caller)), timeout=10)
        assert (answer.status_code, answer.text) == (500, "rendering failed: out of ink")
        assert emulator.ledger()["downloads_refused"] == {"unavailable": 1}


def test_trouble_of_the_emulator_itself_still_ends_the_task(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: WorkerPool, order: dict[str, Any]) -> dict[str, Any]:
        raise MemoryError

    monkeypatch.setattr(WorkerPool, "run", broken)
    config = EmulatorConfig(results="cheap", inputs="decode", duration=0.0, media_dir=inputs)
    with Emulator(config) as emulator:
        emulator.configure(results="render")
        caller = Caller(emulator)
        assert caller.finished(submit(caller)).json()["code"] == 50501
    assert "could not be looked at" in caplog.text


def test_stopping_passes_no_verdict_on_inputs_it_could_not_look_at(inputs: Path, tmp_path: Path) -> None:
    config = EmulatorConfig(
        results="render", duration=0.0, media_dir=inputs, state=tmp_path / "state.jsonl", render_height=96
    )
    with Emulator(config) as emulator:
        port = emulator.port
        task_id = submit(Caller(emulator))
    events = [json.loads(line) for line in (tmp_path / "state.jsonl").read_text().splitlines()]
    assert [event["verdict"] for event in events if event["e"] == "settled"] in ([], [10000])
    with Emulator(dataclasses.replace(config, port=port)) as emulator:
        caller = Caller(emulator)
        assert (result_tag(rendered(caller, task_id)) or {})["task_id"] == task_id


def test_the_default_duration_is_measured_from_the_template(inputs: Path) -> None:
    with Emulator(EmulatorConfig(results="render", speed=100.0, media_dir=inputs)) as emulator:
        caller = Caller(emulator)
        task_id = submit(caller, video="template-03-walk.mp4")
        caller.finished(task_id)
        task = emulator.ledger()["tasks"][task_id]
        # Never earlier than 2 s x 18 / 100, and later only where looking at the inputs took longer.
        assert task["done_at"] - task["submitted_at"] >= 0.36 - 1e-6


def test_inputs_may_be_looked_at_without_a_decoder(inputs: Path) -> None:
    config = EmulatorConfig(results="cheap", inputs="fetch", duration=0.0, concurrency=None, media_dir=inputs)
    with Emulator(config) as emulator:
        caller = Caller(emulator)
        names = [{"image": "empty"}, {"image": "text.png"}, {"video": "empty"}, {"video": "text.png"}, {}]
        codes = [caller.finished(submit(caller, **name)).json()["code"] for name in names]
        assert codes == [50206, 50207, 50209, 50210, 10000]
        ledger = emulator.ledger()
        assert ledger["media_fetched_by_vendor"][VIDEO] == 3
        assert ledger["media"] == {}


def test_unfinished_work_is_done_again_after_a_restart(inputs: Path, tmp_path: Path) -> None:
    config = EmulatorConfig(
        results="render",
        duration=0.0,
        render_height=96,
        media_dir=inputs,
        state=tmp_path / "state.jsonl",
        concurrency=None,
    )
    with Emulator(config) as emulator:
        caller = Caller(emulator)
        finished = submit(caller)
        first = rendered(caller, finished)
        port = emulator.port
        waiting = submit(caller)
    with Emulator(dataclasses.replace(config, port=port)) as emulator:
        caller = Caller(emulator)
        assert rendered(caller, finished) == first
        assert (result_tag(rendered(caller, waiting)) or {})["task_id"] == waiting
        assert emulator.accepted == 2


async def test_a_worker_that_dies_is_replaced(inputs: Path) -> None:
    pool = WorkerPool(1)
    order = {"job": "inspect", "image": str(inputs / IMAGE), "video": None, "limits": False}
    try:
        assert (await pool.run(order))["code"] == 10000
        (process,) = pool._processes
        process.kill()
        process.wait()
        assert (await pool.run(order))["code"] == 10000
        with pytest.raises(WorkerError, match="KeyError"):
            await pool.run({"job": "inspect"})
    finally:
        pool.close()
    with pytest.raises((WorkerError, RuntimeError)):
        await pool.run(order)


def test_an_image_of_unusual_mode_is_read(tmp_path: Path) -> None:
    for mode, name in (("P", "a.png"), ("CMYK", "b.jpg"), ("LA", "c.png"), ("I;16", "d.png")):
        Image.new(mode, (480, 500)).save(tmp_path / name)
        assert inspect(tmp_path / name, None, limits=True).code == 10000, mode


def test_motion_follows_a_figure() -> None:
    thumbs = []
    for left in (5, 15, 25):
        thumb = Image.new("L", (48, 48), 230)
        thumb.paste(20, (left, 10, left + 8, 40))
        thumbs.append(thumb)
    moves = motions(thumbs)
    assert moves[0].dx < moves[1].dx < moves[2].dx
    assert moves[1].dx == pytest.approx(0.0, abs=0.01)
    assert all(move.stretch == pytest.approx(1.0) for move in moves)
    assert motions([]) == []
