# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The demo fails loudly: what isn't as it must be ends it with words and a non-zero exit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo import __main__ as command
from demo.home import Home
from demo.processes import Children
from demo.story import MAPPED, SINGLE, Round, Story, errors_in
from demo.terminal import Clock, DemoError, Teller
from demo.vendor import IMAGES


class FakeAirflow:
    """Airflow as the story sees it: every run succeeds, and its results are files."""

    def __init__(self, results: Path, media: Path) -> None:
        self.state = "success"
        self.cleared: list[str] = []
        self.instances: list[dict[str, Any]] = []
        self._films = []
        film = (media / "template-01-wave.mp4").read_bytes()
        for number in range(IMAGES):
            path = results / f"character-{number + 1:02d}.mp4"
            # Appended to an MP4, a free box changes nothing but its digest.
            path.write_bytes(film + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))
            self._films.append(path)

    def has_dag(self, dag_id: str) -> bool:
        return True

    def trigger(self, dag_id: str) -> str:
        return f"run of {dag_id}"

    def clear(self, dag_id: str, run_id: str) -> int:
        self.cleared.append(run_id)
        return IMAGES + 1

    def run_state(self, dag_id: str, run_id: str) -> str:
        return self.state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return self.instances

    def returned(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        path = self._films[max(0, map_index)]
        data = path.read_bytes()
        return {
            "uri": str(path),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "task_id": str(max(0, map_index)),
        }


class FakeVendor:
    """The vendor's book, page by page: each look turns one, the last one stays open."""

    def __init__(self, pages: list[int]) -> None:
        self._pages = pages

    def ledger(self) -> dict[str, Any]:
        accepted = self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        return {
            "tasks": {str(number): {} for number in range(accepted)},
            "totals": {"accepted": accepted, "refused": 0},
            "paid_more_than_once": [],
            "slots": {"key": {"in_use": 1}},
        }


@pytest.fixture
def story(tmp_path: Path, media: Path) -> Callable[..., Story]:
    def make(*pages: int) -> Story:
        home = Home(tmp_path)
        home.results.mkdir()
        clock = Clock(30)
        airflow: Any = FakeAirflow(home.results, media)
        vendor: Any = FakeVendor(list(pages))
        return Story(home, airflow, vendor, Children(), clock, Teller(clock))

    return make


def test_each_item_is_told_as_submitted_by_the_dag_that_paid_for_it(story: Callable[..., Story]) -> None:
    told, runs = story(0, 1, IMAGES).first()

    assert runs == {SINGLE: f"run of {SINGLE}", MAPPED: f"run of {MAPPED}"}
    assert [each.new for each in told.landings] == [True, False, *([True] * (IMAGES - 1))]
    assert (told.new, told.accepted) == (IMAGES, IMAGES)


def test_the_second_round_clears_one_run_and_starts_another_and_pays_nothing(
    story: Callable[..., Story], capsys: pytest.CaptureFixture[str]
) -> None:
    teller = story(IMAGES)
    first, runs = teller.first()

    second = teller.again(runs)
    command._compare(first, second)

    assert second.new == 0
    assert teller.airflow.cleared == [f"run of {MAPPED}"]  # type: ignore[attr-defined]
    assert "0 new, 12 in all" in capsys.readouterr().out


def test_tries_beyond_the_first_are_told(
    story: Callable[..., Story], capsys: pytest.CaptureFixture[str]
) -> None:
    retried: Any = story(0, 1, IMAGES)
    task = {"task_id": "imitate", "state": "success"}
    retried.airflow.instances = [
        {**task, "map_index": 0, "try_number": 3},
        {**task, "map_index": 1, "try_number": 1},
    ]

    told, _ = retried.first()
    command._report(Teller(Clock(30)), told)

    assert told.retries == 4
    assert "retried tasks on its own, 4 times" in capsys.readouterr().out


def test_a_submit_in_the_second_round_fails_the_demo(story: Callable[..., Story]) -> None:
    first, _ = story(IMAGES).first()
    paid_again = Round(first.landings, IMAGES, 0, new=1)

    with pytest.raises(DemoError, match="must be none"):
        command._compare(first, paid_again)


def test_another_file_in_the_second_round_fails_the_demo(story: Callable[..., Story]) -> None:
    first, _ = story(IMAGES).first()
    swapped = Round(first.landings[::-1], IMAGES, 0, new=0)

    with pytest.raises(DemoError, match="other bytes"):
        command._compare(first, swapped)


def test_a_submit_too_many_fails_the_demo(story: Callable[..., Story]) -> None:
    with pytest.raises(DemoError, match="accepted 13 submits for 12"):
        story(0, 1, IMAGES + 1).first()


def test_a_failed_task_is_told_with_its_own_words(story: Callable[..., Story]) -> None:
    failing: Any = story(0)
    failing.airflow.state = "failed"
    failing.airflow.instances = [
        {"task_id": "submit", "map_index": -1, "state": "failed", "try_number": 2},
        {"task_id": "wait", "map_index": -1, "state": "upstream_failed", "try_number": 0},
    ]
    logs = failing.home.airflow / "logs" / f"dag_id={SINGLE}" / f"run_id=run of {SINGLE}" / "task_id=submit"
    logs.mkdir(parents=True)
    detail = [{"exc_type": "JimengInputError", "exc_value": "image_url is empty"}]
    lines = [
        {"level": "info", "event": "Pre Execute"},
        {"level": "error", "event": "Task failed", "error_detail": detail},
    ]
    (logs / "attempt=2.log").write_text("\n".join(map(json.dumps, lines)) + "\nnot json\n")

    with pytest.raises(DemoError, match=r"(?s)failed \(submit\).*JimengInputError: image_url is empty"):
        failing.first()


def test_a_log_without_an_error_is_named(tmp_path: Path) -> None:
    log = tmp_path / "attempt=1.log"
    log.write_text("")

    assert str(log) in errors_in(log)


def test_waiting_ends_with_the_time(story: Callable[..., Story]) -> None:
    impatient = story(0)
    impatient._clock = Clock(0)

    with pytest.raises(DemoError, match=r"not done after 0 s .* waiting for the moon"):
        impatient.wait("the moon", lambda: False)


def test_progress_is_told_once_per_change_and_not_too_often(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(Clock(30))
    teller.step("start")
    teller.progress("1 landed", final=False)
    teller.progress("2 landed", final=True)
    teller.progress("2 landed", final=True)

    assert [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()] == [
        "start",
        "2 landed",
    ]


def test_the_exit_code_tells_that_something_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise DemoError("the vendor accepted 13 submits")

    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("signal.signal", lambda *args: None)
    monkeypatch.setattr(command, "_show", fail)
    assert command.main(["--home", str(tmp_path / "demo")]) == 1
    monkeypatch.setattr(command, "_show", interrupt)
    assert command.main(["--home", str(tmp_path / "demo")]) == 130
    monkeypatch.setattr(command, "_show", lambda *args, **kwargs: None)
    assert command.main(["--home", str(tmp_path / "demo")]) == 0

    told = capsys.readouterr()
    assert "FAILED: the vendor accepted 13 submits" in told.err
    assert "OK, in" in told.out
