# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Nothing that the demo starts outlives it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from demo.processes import Child, Children, members
from demo.terminal import DemoError

#: Ignores SIGTERM, and starts another that does so in a process group of its own; prints both pids.
STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", code], process_group=0)
print(os.getpid(), child.pid, flush=True)
signal.pause()
"""


def start(code: str, folder: Path, name: str = "child") -> Child:
    child = Child(name, [sys.executable, "-c", code], dict(os.environ), folder)
    child.start()
    return child


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped doesn't."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_output(child: Child) -> list[int]:
    with subprocess.Popen(
        ["tail", "-n", "+1", "-f", str(child.log)], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        line = following.stdout.readline()
        following.terminate()
    return [int(word) for word in line.split()]


def test_a_process_that_ignores_the_request_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.processes._GRACE_SECONDS", 0.2)
    child = start(STUBBORN, tmp_path)
    pids = wait_for_output(child)
    assert {process.pid for process in members(pids[0])} == set(pids)

    child.stop()

    assert [pid for pid in pids if alive(pid)] == []


def test_a_process_that_ends_unasked_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    child = start("print('no such database'); raise SystemExit(3)", tmp_path, "scheduler")
    assert child._process is not None
    child._process.wait(30)

    with pytest.raises(DemoError, match=r"(?s)scheduler ended with 3.*no such database"):
        child.check()


def test_one_process_that_will_not_end_does_not_save_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Children()
    idle = "import signal; signal.pause()"
    first, second = (Child(name, [sys.executable, "-c", idle], dict(os.environ), tmp_path) for name in "ab")
    children.start(first)
    children.start(second)
    pids = [each._process.pid for each in (first, second) if each._process is not None]
    honest = second.stop

    def failing() -> None:
        honest()
        raise DemoError("b: processes that do not end")

    monkeypatch.setattr(second, "stop", failing)
    with pytest.raises(DemoError, match="b: processes"):
        children.stop()

    assert [pid for pid in pids if alive(pid)] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's signal is Linux's")
def test_a_demo_that_is_killed_outright_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from demo.processes import Child\n"
        "idle = [sys.executable, '-c', 'import os, signal; print(os.getpid(), flush=True); signal.pause()']\n"
        f"child = Child('idle', idle, dict(os.environ), Path({str(tmp_path)!r}))\n"
        "child.start()\n"
        "print('started', flush=True)\n"
        "sys.stdin.read()\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline() == b"started\n"
        watched = Child("idle", [], {}, tmp_path)
        left = wait_for_output(watched)[0]

        demo.send_signal(signal.SIGKILL)

        deadline = time.monotonic() + 30
        while alive(left) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(left)
