# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What cannot be used is told before anything is sent, by every way to submit."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengInputError,
    JimengUnreadableInputError,
)
from airflow_provider_jimeng.hooks import probing
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.hooks.probing import Prober, probing_asked_for
from airflow_provider_jimeng.lifecycle.wanted import Request, Wanted
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun
from tests.media.files import FileServer, image, serving, video

SECOND = "jimeng_dreamactor_m20_gen_video"


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as server:
        server.add("image.png", image())
        server.add("small.png", image(width=100, height=100))
        server.add("page.png", b"<html>sign in</html>")
        server.add("wave.mp4", video())
        yield server


def url(files: FileServer, name: str) -> str:
    return f"http://127.0.0.1:{files.server_port}/{name}"


@pytest.fixture
def probing_bench(bench: Bench, files: FileServer, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("AIRFLOW__JIMENG__PROBE")
    monkeypatch.setattr(probing, "_PAUSE_SECONDS", 0.01)
    bench.image, bench.video = url(files, "image.png"), url(files, "wave.mp4")
    return bench


def submits(bench: Bench) -> int:
    return int(bench.emu.ledger()["totals"]["submits"])


def test_it_is_on_where_the_extra_is_installed_and_can_be_said_in_two_places(monkeypatch: pytest.MonkeyPatch):
    assert probing_asked_for(None)
    assert not probing_asked_for(False)
    monkeypatch.setenv("AIRFLOW__JIMENG__PROBE", "False")
    assert not probing_asked_for(None)
    assert probing_asked_for(True)
    monkeypatch.setenv("AIRFLOW__JIMENG__PROBE", "perhaps")
    with pytest.raises(JimengConfigurationError, match=r"\[jimeng\] probe"):
        probing_asked_for(None)


def test_without_the_extra_it_is_off_and_asking_for_it_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probing, "can_probe", lambda: False)
    assert not probing_asked_for(None)
    with pytest.raises(JimengConfigurationError, match=r"airflow-provider-jimeng\[media\]"):
        probing_asked_for(True)


@pytest.mark.parametrize("probe", ["yes", 1, 0, "None"])
def test_the_argument_is_checked(probing_bench: Bench, probe: Any):
    with pytest.raises(JimengInputError, match="probe must be True, False or None"):
        probing_bench.submit(probe=probe)
    assert submits(probing_bench) == 0


def test_good_inputs_pass_and_a_rerun_looks_at_nothing(probing_bench: Bench, files: FileServer):
    probing_bench.imitate()
    seen = files.files["image.png"].requests
    probing_bench.imitate(DagRun("run-2"))
    # One byte, to notice that other bytes are there; nothing is decoded again.
    assert files.files["image.png"].requests == seen + 1
    assert probing_bench.accepted == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_url": "page.png"}, "image_url: it can't be decoded as an image.*page of HTML"),
        ({"image_url": "missing.png"}, "image_url: the server answers with HTTP 404"),
        ({"video_url": "image.png"}, "video_url: it is no mp4, mov or webm video"),
        ({"image_url": "small.png", "req_key": SECOND}, "image_url: it is 100 x 100 px, at least 480 x 480"),
    ],
)
@pytest.mark.parametrize("how", ["submit", "imitate", "hook"])
def test_what_cannot_be_used_costs_not_even_a_request(
    probing_bench: Bench, files: FileServer, arguments: dict[str, str], words: str, how: str
):
    given = {name: value if name == "req_key" else url(files, value) for name, value in arguments.items()}
    whole: dict[str, Any] = {"image_url": probing_bench.image, "video_url": probing_bench.video, **given}
    submit = JimengHook().submit_motion_imitation if how == "hook" else getattr(probing_bench, how)
    with pytest.raises(JimengInputError, match=words):
        submit(**whole)
    assert submits(probing_bench) == 0
    assert probing_bench.rows() == []


def test_left_to_the_vendor_its_own_code_comes_through(probing_bench: Bench, files: FileServer):
    probing_bench.emu.configure(inputs="fetch")
    with pytest.raises(Exception, match="50207"):
        probing_bench.imitate(image_url=url(files, "page.png"), probe=False)
    assert probing_bench.accepted == 1


def test_trouble_that_may_pass_is_looked_at_again_and_then_retried(probing_bench: Bench, files: FileServer):
    # The first request reads one byte, to note what is there; the next ones look.
    files.add("busy.png", image(), statuses=[200, 503, 503, 200])
    probing_bench.imitate(image_url=url(files, "busy.png"))
    assert probing_bench.accepted == 1
    files.add("down.png", image(), statuses=[503])
    instance = probing_bench.imitation(DagRun("run-2"), image_url=url(files, "down.png"))
    with pytest.raises(JimengUnreadableInputError, match="503.*probe=False"):
        instance.finish()
    assert len(instance.errors) > 1
    assert probing_bench.accepted == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_bulk_run_tells_bad_inputs_as_invalid_and_lands_the_others(
    probing_bench: Bench, files: FileServer, deferrable: bool
):
    files.add("down.png", image(), statuses=[503])
    names = ["image.png", "page.png", "missing.png", "down.png", "small.png"]
    lines = [{"id": name, "image": url(files, name), "video": probing_bench.video} for name in names]
    arguments: dict[str, Any] = {
        "manifest": lines,
        "output": str(probing_bench.folder / "out"),
        "tolerance": 3,
        "deferrable": deferrable,
    }
    summary = DagRun().task(JimengBatchOperator, "batch", **arguments)
    assert (summary["landed"], summary["invalid"], summary["submits"]) == (2, 3, 2)
    assert submits(probing_bench) == 2
    report = [
        json.loads(line) for line in (probing_bench.folder / "out" / "report.jsonl").read_text().splitlines()
    ]
    fates = {line["id"]: (line["outcome"], line["error"] or "") for line in report}
    assert fates["page.png"][0] == fates["missing.png"][0] == fates["down.png"][0] == "invalid"
    assert "HTML" in fates["page.png"][1]
    assert "404" in fates["missing.png"][1]
    assert "503" in fates["down.png"][1]


def wanted(bench: Bench, **changes: Any) -> Wanted:
    given = {"image_url": bench.image, "video_url": bench.video, **changes}
    return JimengHook().want(Request(**given))


def test_a_template_that_many_lines_share_is_looked_at_once(probing_bench: Bench, files: FileServer):
    prober = Prober(JimengHook().guard)
    for number in range(20):
        prober.check(wanted(probing_bench, variant=number))
    assert files.files["wave.mp4"].requests == files.files["image.png"].requests == 1


def test_many_threads_look_at_one_file_once(probing_bench: Bench, files: FileServer):
    files.files["wave.mp4"].pause = 0.2
    prober = Prober(JimengHook().guard)
    threads = [
        threading.Thread(target=prober.check, args=(wanted(probing_bench, variant=number),))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.files["wave.mp4"].requests == 1
    assert prober._busy == {}


def test_what_was_found_out_is_forgotten_after_a_while_and_memory_is_bounded(
    probing_bench: Bench, files: FileServer, monkeypatch: pytest.MonkeyPatch
):
    prober = Prober(JimengHook().guard)
    prober.check(wanted(probing_bench))
    monkeypatch.setattr(probing, "_FRESH_SECONDS", 0.0)
    prober.check(wanted(probing_bench))
    assert files.files["wave.mp4"].requests == 2
    monkeypatch.setattr(probing, "_REMEMBERED", 3)
    for number in range(5):
        files.add(f"{number}.png", image())
        prober.check(wanted(probing_bench, image_url=url(files, f"{number}.png")))
    assert len(prober._known) == 3


def test_trouble_is_not_remembered(probing_bench: Bench, files: FileServer):
    prober = Prober(JimengHook().guard, sleep=lambda seconds: None)
    files.add("flaky.png", image(), statuses=[503, 503, 503, 200])
    with pytest.raises(JimengUnreadableInputError):
        prober.check(wanted(probing_bench, image_url=url(files, "flaky.png")))
    prober.check(wanted(probing_bench, image_url=url(files, "flaky.png")))


def test_a_body_that_says_what_the_second_products_arguments_say_is_looked_at_too(
    probing_bench: Bench, files: FileServer
):
    body = {
        "image_urls": [url(files, "small.png")],
        "video_url": probing_bench.video,
        "cut_result_first_second_switch": False,
    }
    with pytest.raises(JimengInputError, match="image_url: it is 100 x 100 px, at least 480 x 480"):
        probing_bench.submit(req_key=SECOND, body=body)
    assert submits(probing_bench) == 0
