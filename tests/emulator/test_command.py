# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from airflow_provider_jimeng.emulator import Emulator
from airflow_provider_jimeng.emulator.command import main

from tests.emulator.caller import Caller

ROOT = Path(__file__).parents[2]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "airflow_provider_jimeng.emulator", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    with running("--results", "cheap", "--concurrency", "3", "--speed", "10") as (process, url):
        config = requests.get(f"{url}/_emulator/config", timeout=10).json()
        assert (config["concurrency"], config["speed"], config["results"]) == (3, 10.0, "cheap")
        os.kill(process.pid, number)
        assert process.wait(timeout=20) == 0


def test_the_command_ends_on_a_shutdown_call() -> None:
    with running("--fault", "submit:50500") as (process, url):
        assert requests.get(f"{url}/_emulator/faults", timeout=10).json()[0]["code"] == 50500
        assert requests.post(f"{url}/_emulator/shutdown", timeout=10).status_code == 200
        assert process.wait(timeout=20) == 0


def test_faults_of_a_running_emulator_are_switched_from_the_command_line(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--control", emulator.url, "--fault", "submit:50500", "--fault", "query:html"]) == 0
    assert [fault["kind"] for fault in json.loads(capsys.readouterr().out)] == ["code", "html"]
    assert Caller(emulator).submit().status_code == 500
    assert main(["--control", f"{emulator.url}/", "--clear-faults"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert emulator.faults() == []


def test_an_emulator_that_is_not_there_is_an_error(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    url = emulator.url
    emulator.stop()
    assert main(["--control", url]) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--fault", "nonsense"], "on:kind"),
        (["--speed", "0"], "speed"),
        (["--concurrency", "-1"], "concurrency"),
        (["--results", "none"], "--results"),
        (["--control", "ftp://x", "--clear-faults"], "--control"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert word in capsys.readouterr().err


def test_a_port_or_state_in_use_is_an_error_in_one_line(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--port", str(emulator.port)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    (tmp_path / "state").write_text("{nonsense\n")
    assert main(["--port", "0", "--state", str(tmp_path / "state")]) == 1
    assert "line 1 is damaged" in capsys.readouterr().err


def test_sample_media_are_made_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--make-media", str(tmp_path / "media"), "--images", "2", "--videos", "1"]) == 0
    paths = capsys.readouterr().out.split()
    assert [Path(path).suffix for path in paths] == [".png", ".png", ".mp4"]
    assert all(Path(path).is_file() for path in paths)


def test_the_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIMENG_EMULATOR_SECRET_KEY", "other")
    with running() as (_, url):
        remote = Emulator()
        caller = Caller(remote, secret_key="other")
        caller.emulator = type("Remote", (), {"url": url, "config": remote.config})()
        assert caller.call("CVSync2AsyncSubmitTask", {"req_key": "jimeng_x"}).status_code == 200
