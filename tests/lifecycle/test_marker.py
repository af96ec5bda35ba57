# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The note of a ledger beside outputs: when it is written, and what it tells of an older ledger."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengLandingError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle import marker
from airflow_provider_jimeng.lifecycle.marker import Marker
from airflow_provider_jimeng.media.target import Target


class Desk:
    """A ledger, and a place for its note."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.file, self.backup = folder / "ledger.db", folder / "backup.db"
        self.url = f"sqlite:///{self.file}"
        self.ledger = Ledger.open(self.url)
        self.note = folder / "out" / ".jimeng" / "ledger.json"
        self.now = 1000.0
        patch.setattr("airflow_provider_jimeng.lifecycle.marker.time.monotonic", lambda: self.now)

    def place(self) -> Target:
        return Target(LocalFileSystem(auto_mkdir=True), str(self.note), str(self.note))

    def marker(self, **options: Any) -> Marker:
        return Marker(self.place(), self.ledger, **options)

    @property
    def mark(self) -> int:
        return int(json.loads(self.note.read_text())["mark"])

    def back_up(self) -> None:
        self.ledger.close()
        shutil.copy(self.file, self.backup)

    def restore(self) -> None:
        self.close()
        shutil.copy(self.backup, self.file)

    def close(self) -> None:
        self.ledger.close()
        engine._registry.databases.pop(self.url, None)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(tmp_path, monkeypatch)
    yield made
    made.close()


def test_the_first_submit_is_noted_before_it_is_made(desk: Desk) -> None:
    desk.marker().admit()
    assert json.loads(desk.note.read_text())["ledger"] == desk.ledger.uuid
    assert desk.mark == desk.ledger.identity().mark == 1


def test_many_submits_in_a_row_are_noted_once_and_the_last_at_the_end(desk: Desk) -> None:
    note = desk.marker()
    for _ in range(5):
        note.admit()
    assert desk.mark == 1
    note.leave()
    assert desk.mark == 2
    # Nothing was submitted since.
    note.leave()
    assert desk.mark == 2


def test_a_run_that_submits_for_long_is_noted_now_and_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marker, "RENEW_SECONDS", 30.0)
    note, times = desk.marker(), []
    for name in ("identity", "advance"):
        told = getattr(Ledger, name)
        monkeypatch.setattr(Ledger, name, lambda self, told=told: replace(told(self), now=desk.now))
    for desk.now in (1000.0, 1029.0, 1030.0, 1059.9, 1060.0):
        note.admit()
        times.append(desk.mark)
    assert times == [1, 1, 2, 2, 3]


def test_another_process_does_not_note_again_what_was_noted_a_moment_ago(desk: Desk) -> None:
    desk.marker().admit()
    desk.marker().admit()
    assert desk.mark == 1


@pytest.mark.parametrize("at", ["1999-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_a_note_of_long_ago_or_of_a_clock_that_was_ahead_is_renewed(desk: Desk, at: str) -> None:
    desk.marker().admit()
    desk.note.write_text(json.dumps({"ledger": desk.ledger.uuid, "mark": 1, "at": at}))
    desk.marker().check()
    assert desk.mark == 2


def test_what_was_submitted_after_the_backup_is_noticed_whenever_that_was_made(desk: Desk) -> None:
    for _ in range(3):
        desk.back_up()
        note = desk.marker()
        note.admit()
        note.leave()
        desk.restore()
        for ask in (desk.marker().admit, desk.marker().check):
            with pytest.raises(JimengConfigurationError, match="older than what was paid through it"):
                ask()
        mine = desk.ledger.uuid
        assert desk.ledger.take_over(mine, by="me", reason="test").uuid != mine
        desk.marker().admit()


def test_a_backup_that_was_made_after_the_last_submit_goes_on(desk: Desk) -> None:
    note = desk.marker()
    note.admit()
    note.leave()
    desk.back_up()
    desk.restore()
    desk.marker().admit()
    assert desk.mark == 2


def test_a_place_is_taken_over_with_a_new_note(desk: Desk) -> None:
    desk.note.parent.mkdir(parents=True)
    desk.note.write_text(json.dumps({"ledger": "another", "mark": 70}))
    with pytest.raises(JimengConfigurationError, match="`ledger take-over another"):
        desk.marker().check()
    desk.marker().check(adopt=True)
    assert json.loads(desk.note.read_text())["ledger"] == desk.ledger.uuid
    desk.marker().check()


def test_a_place_is_taken_over_by_a_restored_ledger_for_good(desk: Desk) -> None:
    desk.back_up()
    note = desk.marker()
    note.admit()
    note.leave()
    desk.restore()
    desk.marker().check(adopt=True)
    assert desk.mark == desk.ledger.identity().mark == 1
    desk.marker().check()


def test_notes_are_of_one_length_so_that_one_is_never_taken_for_half_of_another(desk: Desk) -> None:
    sizes = set()
    for _ in range(12):
        note = desk.marker()
        note.admit()
        note.leave()
        sizes.add(desk.note.stat().st_size)
    assert desk.mark > 9
    assert len(sizes) == 1


def test_a_run_whose_place_was_taken_meanwhile_leaves_the_new_note_alone(desk: Desk) -> None:
    note = desk.marker()
    note.admit()
    taken = json.dumps({"ledger": "another", "mark": 70})
    desk.note.write_text(taken)
    note.leave()
    assert desk.note.read_text() == taken


def test_a_note_that_cannot_be_written_stops_a_submit_only_where_it_is_vital(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Target, source: Path, **options: Any) -> Any:
        raise JimengLandingError("the disk is full")

    note = desk.marker()
    note.admit()
    desk.now += 60
    monkeypatch.setattr(marker, "RENEW_SECONDS", 0.0)
    monkeypatch.setattr(Target, "publish", full)
    with pytest.raises(JimengLandingError, match="full"):
        note.admit()
    note.leave()
    assert "could not be brought up to date" in caplog.text
    with caplog.at_level("INFO"):
        desk.marker(vital=False).admit()
    assert "No note of the ledger is kept" in caplog.text


def test_processes_that_note_at_once_find_what_they_wrote(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marker, "RENEW_SECONDS", 0.0)
    troubles: list[BaseException] = []

    def submit() -> None:
        try:
            for _ in range(8):
                desk.marker().admit()
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert troubles == []
    assert 1 <= desk.mark <= desk.ledger.identity().mark == 32
