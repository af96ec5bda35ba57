# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A killed emulator remembers what it accepted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.emulator.book import Book
from airflow_provider_jimeng.emulator.journal import Journal, JournalError

from tests.emulator.caller import Caller


def config(path: Path, **changes: Any) -> EmulatorConfig:
    return EmulatorConfig(**{"duration": 100.0, "concurrency": None, "state": path, **changes})


def comparable(ledger: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in ledger.items() if name not in ("now", "slots")}


def test_a_restart_changes_no_number(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    with Emulator(config(path)) as emulator:
        caller = Caller(emulator)
        emulator.add_fault("submit:50500,created=true")
        emulator.add_fault("done:50411,match=c.png")
        emulator.add_fault("submit:50430")
        for name in "abcd":
            caller.submit(name)
        emulator.advance(101)
        tasks = emulator.ledger()["tasks"]
        urls = [caller.query(task_id).json()["data"].get("video_url") for task_id in tasks]
        requests.get(urls[0], timeout=10)
        caller.query("7392616336519610409")
        before = emulator.ledger()
    with Emulator(config(path)) as emulator:
        after = emulator.ledger()
        assert comparable(after) == comparable(before)
        assert after["now"] >= before["now"], "time goes on, also from where it was advanced to"
        assert after["totals"]["accepted"] == 3
        assert after["refused"] == {"50430": 1}
        port_moved = urls[0].replace(urls[0].split("/")[2], emulator.host)
        assert requests.get(port_moved, timeout=10).status_code == 200, "URLs signed before are still good"


def test_slots_stay_taken_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    with Emulator(config(path, concurrency=1)) as emulator:
        task_id = Caller(emulator).created("a")
    with Emulator(config(path, concurrency=1)) as emulator:
        caller = Caller(emulator)
        assert caller.submit("b").json()["code"] == 50430
        emulator.advance(101)
        assert caller.status(task_id) == "done"
        caller.created("b")
        assert emulator.ledger()["slots"][next(iter(emulator.ledger()["slots"]))]["max_in_use"] == 1


def test_kill_loses_no_accepted_task(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    command = [sys.executable, "-m", "airflow_provider_jimeng.emulator", "--port", "0", "--duration", "100"]
    command += ["--results", "cheap", "--concurrency", "0", "--state", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        remote = Emulator(EmulatorConfig())
        caller = Caller(remote)
        caller.emulator = type("Remote", (), {"url": url, "config": remote.config})()
        ids = [caller.created(str(number)) for number in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with Emulator(config(path)) as emulator:
        assert list(emulator.ledger()["tasks"]) == ids


def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    with Emulator(config(path)) as emulator:
        first = Caller(emulator).created("a")
    with path.open("ab") as file:
        file.write(b'{"e":"task","task":{"task_id":"73')
    with Emulator(config(path)) as emulator:
        assert list(emulator.ledger()["tasks"]) == [first]
        second = Caller(emulator).created("b")
    with Emulator(config(path)) as emulator:
        assert list(emulator.ledger()["tasks"]) == [first, second]


def test_a_damaged_line_is_never_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    with Emulator(config(path)) as emulator:
        Caller(emulator).created("a")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{damaged\n" + b"".join(lines[1:]))
    with pytest.raises(JournalError, match="line 2 is damaged"):
        Emulator(config(path)).start()


def test_two_emulators_never_share_a_state_file(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    with Emulator(config(path)), pytest.raises(JournalError, match="another emulator"):
        Emulator(config(path)).start()


@pytest.mark.parametrize(
    "event", [{"e": "meta", "version": 99, "url_secret": "", "offset": 0}, {"e": "novel", "id": "7"}]
)
def test_a_state_file_that_is_not_understood_is_refused(tmp_path: Path, event: dict[str, Any]) -> None:
    path = tmp_path / "state.jsonl"
    path.write_text(json.dumps(event) + "\n")
    journal = Journal(path)
    try:
        with pytest.raises((ValueError, KeyError)):
            Book(journal)
    finally:
        journal.close()


def test_a_reset_is_remembered_too(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    with Emulator(config(path)) as emulator:
        Caller(emulator).created("a")
        emulator.reset()
        kept = Caller(emulator).created("b")
    with Emulator(config(path)) as emulator:
        assert list(emulator.ledger()["tasks"]) == [kept]


def test_the_state_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.jsonl"
    with Emulator(config(path)):
        assert path.stat().st_mode & 0o077 == 0
