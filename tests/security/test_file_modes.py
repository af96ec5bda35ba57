# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Who can read what is written: the ledger never everybody, results and reports as the umask has it.

A ledger tells what was asked for and can be changed into a second payment. Results are read by other programs
of other users; who wants them private sets a umask, as for everything else.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_provider_jimeng.bulk.spill import Spill
from airflow_provider_jimeng.cli.main import main
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.ledger.engine import Database
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "expected"), [(0, 0o660), (0o002, 0o660), (0o022, 0o640), (0o077, 0o600)])
def test_a_new_ledger_is_closed_to_others_whatever_the_umask(
    mask: int, expected: int, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.db"
    with umask(mask):
        ledger = Ledger(f"sqlite:///{file}")
        ledger.now()
        # While a connection is open its neighbours are there too, with rows in them.
        beside = sorted(tmp_path.glob("ledger.db*"))
        assert [path.name for path in beside] == ["ledger.db", "ledger.db-shm", "ledger.db-wal"]
        assert {mode(path) for path in beside} == {expected}
        ledger.close()


def test_a_ledger_that_somebody_opened_to_all_is_left_so_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ledger.db"
    for wanted, told in ((0o644, True), (0o666, True), (0o640, False), (0o600, False)):
        file.touch()
        file.chmod(wanted)
        caplog.clear()
        database = Database(f"sqlite:///{file}")
        assert database.uuid()
        database.dispose()
        assert mode(file) == wanted
        assert ("Every user of this machine can open the ledger" in caplog.text) is told
        file.unlink()


def test_looking_for_a_ledger_makes_no_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/ledger.db")
    assert not database.holds_ledger()
    assert list(tmp_path.iterdir()) == []
    database.dispose()


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_results_and_reports_follow_the_umask(bench: Bench, mask: int, expected: int) -> None:
    out = bench.folder / "out"
    lines = [{"id": "a", "image": bench.image, "video": bench.video}]
    with umask(mask):
        bench.imitate()
        DagRun().task(JimengBatchOperator, "batch", manifest=lines, output=str(out), poke_interval=0.1)
    written = {path.name: mode(path) for path in out.rglob("*") if path.is_file()}
    assert set(written) >= {"result.mp4", "a.mp4", "report.jsonl", "report.html", "summary.json"}
    assert set(written.values()) == {expected}


@pytest.mark.parametrize(("mask", "expected"), [(0, 0o660), (0o022, 0o640)])
def test_an_export_is_as_private_as_the_ledger(bench: Bench, mask: int, expected: int) -> None:
    bench.submit()
    file = bench.folder / "rows.jsonl"
    with umask(mask):
        assert main(["ledger", "export", "--output", str(file), "--ledger-url", bench.ledger_url]) == 0
    assert mode(file) == expected
    assert [path.name for path in bench.folder.glob("rows*")] == ["rows.jsonl"]


def test_an_export_follows_no_link_and_leaves_no_part(bench: Bench) -> None:
    bench.submit()
    target, link = bench.folder / "elsewhere", bench.folder / "rows.jsonl"
    link.symlink_to(target)
    assert main(["ledger", "export", "--output", str(link), "--ledger-url", bench.ledger_url]) == 2
    assert not target.exists()
    assert sorted(bench.folder.glob("rows*")) == [link]


def test_what_is_put_aside_while_a_task_runs_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with umask(0):
        spill = Spill()
        assert stat.S_IMODE(os.fstat(spill._descriptor).st_mode) == 0o600
        assert list(tmp_path.iterdir()) == []
        spill.close()
        with tempfile.TemporaryDirectory(prefix="jimeng-") as folder:
            assert mode(Path(folder)) == 0o700


def test_the_emulators_state_is_its_owners_alone(tmp_path: Path) -> None:
    with umask(0), Emulator(EmulatorConfig(state=tmp_path / "state")):
        assert mode(tmp_path / "state") == 0o600
