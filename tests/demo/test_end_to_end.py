# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``make demo`` as a stranger runs it: on real Airflow, twice over, and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("demo") / "home"
    yield folder
    assert left_of(folder) == []


def left_of(home: Path) -> list[str]:
    """Return the living processes of the demo in a folder, by the environment that it gave them."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("AIRFLOW_HOME") == str(home / "airflow")
            if mine or str(home) in " ".join(process.cmdline()):
                found.append(f"{process.pid} {process.cmdline()}")
        except psutil.Error:
            continue
    return [each for each in found if not each.startswith(f"{os.getpid()} ")]


def command(home: Path, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "demo" / "run.py"), "--home", str(home), *options]


def test_the_demo_pays_once_lands_all_and_leaves_nothing_running(home: Path) -> None:
    done = subprocess.run(
        command(home, "--timeout", "600"), capture_output=True, text=True, check=False, cwd=home.parent
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Submits that the vendor accepted: 12 new, 12 in all" in done.stdout
    assert "18 lines: 11 landed, 6 known already, 1 invalid." in done.stdout
    assert "Submits that the vendor accepted: 0 new, 23 in all" in done.stdout
    assert "18 lines: 0 landed, 17 known already, 1 invalid." in done.stdout
    assert len(list((home / "results" / "bulk").glob("*.mp4"))) == 17
    assert len(list((home / "results" / "mapped").glob("*.mp4"))) == 12
    assert (home / "results" / "contact-sheet.jpg").stat().st_size < 300_000
    assert left_of(home) == []


def test_an_interrupted_demo_leaves_nothing_running(home: Path) -> None:
    with subprocess.Popen(
        command(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=home.parent
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Airflow is up" in line:
                break
        assert len(left_of(home)) > 4
        demo.send_signal(signal.SIGTERM)
        rest = demo.stdout.read()

    assert demo.returncode == 130, rest
    assert "nothing is left running" in rest
    assert left_of(home) == []
