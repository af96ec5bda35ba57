# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A ledger that is not what it was: restored from a backup, empty, or another machine's.

Each time the submits stop with the reason, and go on once a person has decided; the vendor counts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.cli.main import main
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengLandingError,
    JimengRunIncompleteError,
)
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle import marker
from airflow_provider_jimeng.media.target import Target
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun, Instance

RESTORED = r"older than what was paid through it"
OTHER = r"another ledger"


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    # As if more than that lay between any two submits.
    monkeypatch.setattr(marker, "RENEW_SECONDS", 0.0)
    return bench


def backup(bench: Bench) -> Path:
    copy = bench.folder / "backup.db"
    with sqlite3.connect(bench.ledger_file) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    return copy


def replace_ledger(bench: Bench, copy: Path | None) -> None:
    """Put an older copy of the ledger in its place, or nothing, as on a fresh disk."""
    bench.ledger.close()
    engine._registry.databases.pop(bench.ledger_url, None)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{bench.ledger_file}{suffix}").unlink(missing_ok=True)
    if copy is not None:
        copy.replace(bench.ledger_file)


def take_over(bench: Bench, ledger: str) -> None:
    reason = ["--reason", "looked at the bill", "--yes", "--ledger-url", bench.ledger_url]
    assert main(["ledger", "take-over", ledger, *reason]) == 0


def named_in(error: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the ledger that the message tells a person to decide about."""
    return str(error.value).partition("`ledger take-over ")[2].partition(" ")[0]


def batch(bench: Bench, names: Any, run: str, out: str = "out", **arguments: Any) -> Instance:
    lines = [
        {"id": str(each), "image": f"{bench.emu.url}/media/n-{each}.png", "video": bench.video}
        for each in names
    ]
    given = {"manifest": lines, "output": str(bench.folder / out), "on_input_changed": "reuse", **arguments}
    return DagRun(run).instance(JimengBatchOperator, "batch", **given)


def one(bench: Bench, name: str, run: str, **arguments: Any) -> Instance:
    given = {
        "image_url": f"{bench.emu.url}/media/n-{name}.png",
        "output": str(bench.folder / "one" / f"{name}.mp4"),
        "on_input_changed": "reuse",
    }
    return bench.imitation(DagRun(run), **{**given, **arguments})


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_bulk_run_on_yesterdays_backup_stops_until_a_person_decides(bench: Bench, deferrable: bool) -> None:
    batch(bench, range(2), "monday", deferrable=deferrable).finish()
    yesterday = backup(bench)
    batch(bench, range(4), "tuesday", deferrable=deferrable).finish()
    assert bench.accepted == 4
    replace_ledger(bench, yesterday)

    for run in ("wednesday", "thursday"):
        with pytest.raises(AirflowFailException, match=RESTORED) as stopped:
            batch(bench, range(6), run, deferrable=deferrable).finish()
    assert bench.accepted == 4

    take_over(bench, named_in(stopped))
    # What Tuesday paid for lies there, and is nobody's: it is told, and neither overwritten nor paid again.
    summary = batch(bench, range(6), "friday", deferrable=deferrable, tolerance=2).finish()
    assert (summary["reused"], summary["landed"], summary["invalid"]) == (2, 2, 2)
    assert bench.accepted == 6


def test_a_bulk_run_elsewhere_on_yesterdays_backup_is_stopped_by_what_this_machine_remembers(
    bench: Bench,
) -> None:
    batch(bench, range(1), "monday").finish()
    yesterday = backup(bench)
    batch(bench, range(2), "tuesday").finish()
    replace_ledger(bench, yesterday)

    with pytest.raises(AirflowFailException, match=RESTORED) as stopped:
        batch(bench, range(2), "wednesday", out="elsewhere").finish()
    assert bench.accepted == 2

    take_over(bench, named_in(stopped))
    # Tuesday's content is paid a second time, as was said.
    assert batch(bench, range(2), "thursday", out="elsewhere").finish()["landed"] == 1
    assert bench.accepted == 3


def test_an_empty_ledger_in_the_old_ones_place_stops_until_a_person_decides(bench: Bench) -> None:
    batch(bench, range(2), "monday").finish()
    was = bench.ledger.uuid
    replace_ledger(bench, None)

    with pytest.raises(AirflowFailException, match=OTHER) as stopped:
        batch(bench, range(3), "tuesday").finish()
    with pytest.raises(AirflowFailException, match=OTHER):
        one(bench, "a", "tuesday").finish()
    with pytest.raises(AirflowFailException, match=OTHER):
        bench.submit(DagRun("tuesday"))
    assert bench.accepted == 2
    assert named_in(stopped) == was

    take_over(bench, was)
    assert batch(bench, range(3), "wednesday", tolerance=2).finish()["landed"] == 1
    one(bench, "a", "wednesday").finish()
    assert bench.accepted == 4


def test_a_single_task_on_yesterdays_backup_stops_until_a_person_decides(bench: Bench) -> None:
    one(bench, "a", "monday").finish()
    yesterday = backup(bench)
    one(bench, "b", "tuesday").finish()
    replace_ledger(bench, yesterday)

    # What is known costs nothing, and so goes on.
    assert one(bench, "a", "wednesday").finish()["reused"] is True
    with pytest.raises(AirflowFailException, match=RESTORED) as stopped:
        one(bench, "c", "wednesday").finish()
    assert bench.accepted == 2

    take_over(bench, named_in(stopped))
    one(bench, "c", "thursday").finish()
    assert bench.accepted == 3


@pytest.mark.parametrize("home_too", [True, False])
def test_a_ledger_that_is_lost_while_a_task_is_deferred_pays_for_no_second_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, home_too: bool
) -> None:
    bench.submit(DagRun("earlier"))
    before = backup(bench)
    bench.emu.configure(duration=0.3)
    instance = one(bench, "a", "monday")
    deferred = instance.leg()
    event = instance.watch(deferred)
    replace_ledger(bench, before)
    if home_too:
        # The whole machine was lost: only what lies beside the output is left.
        monkeypatch.setenv("AIRFLOW_HOME", str(bench.folder / "new-home"))

    with pytest.raises(AirflowFailException, match=RESTORED) as stopped:
        instance.leg(deferred, event)
    assert bench.accepted == 2

    # The task is the vendor's still, and its id is in the log: it is brought home without paying again.
    told = {"task_id": event["tasks"][0]["task_id"], "req_key": event["tasks"][0]["req_key"]}
    assert bench.land(told, DagRun("by-hand"))["bytes"] > 0
    take_over(bench, named_in(stopped))
    assert bench.accepted == 2


def test_a_ledger_that_is_replaced_while_a_bulk_run_goes_on_stops_its_submits(bench: Bench) -> None:
    bench.emu.configure(duration=0.4)
    batch(bench, range(1), "monday").finish()
    note = bench.folder / "out" / ".jimeng" / "ledger.json"
    running = batch(bench, range(8), "tuesday")
    original = Ledger.claim

    def claim(self: Ledger, request: Any) -> Any:
        # Another machine takes the folder over in the midst of it.
        # At once, as a real one would: another thread of the run may be reading it.
        other = note.with_name(f"{threading.get_ident()}")
        other.write_text(json.dumps({"ledger": "another", "mark": 1}))
        other.replace(note)
        return original(self, request)

    bench.patch.setattr(Ledger, "claim", claim)
    with pytest.raises(JimengRunIncompleteError, match=OTHER):
        running.finish()
    assert 1 < bench.accepted < 9
    assert json.loads(note.read_text())["ledger"] == "another"


def test_two_machines_with_a_ledger_each_that_write_to_one_folder_stop_each_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(bench, range(2), "here").finish()
    here = bench.ledger.uuid

    there_url = f"sqlite:///{bench.folder}/there.db"
    with monkeypatch.context() as there:
        there.setenv("AIRFLOW_HOME", str(bench.folder / "there"))
        there.setenv("AIRFLOW__JIMENG__LEDGER_URL", there_url)
        for task in (
            batch(bench, range(3), "there"),
            one(bench, "x", "there", output=str(bench.folder / "out/x.mp4")),
        ):
            with pytest.raises(AirflowFailException, match=f"{OTHER}.*{here}"):
                task.finish()
        assert bench.accepted == 2

        reason = ["--reason", "this machine takes over", "--yes", "--ledger-url", there_url]
        assert main(["ledger", "take-over", here, *reason]) == 0
        assert batch(bench, range(3), "there-2", tolerance=2).finish()["landed"] == 1
    assert bench.accepted == 3
    engine._registry.databases.pop(there_url).dispose()

    with pytest.raises(AirflowFailException, match=OTHER):
        batch(bench, range(4), "here-2").finish()
    assert bench.accepted == 3


def test_two_machines_that_share_nothing_but_the_account_are_told_apart_by_its_connection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connect(ledger=bench.ledger.uuid)
    bench.submit(DagRun("here"))

    there_url = f"sqlite:///{bench.folder}/there.db"
    with monkeypatch.context() as there:
        there.setenv("AIRFLOW_HOME", str(bench.folder / "there"))
        there.setenv("AIRFLOW__JIMENG__LEDGER_URL", there_url)
        with pytest.raises(AirflowFailException, match="the connection 'volcengine_default' names it"):
            bench.submit(DagRun("there"))
        with pytest.raises(AirflowFailException, match="the connection 'volcengine_default' names it"):
            batch(bench, range(2), "there", out="there").finish()
        assert bench.accepted == 1

        reason = ["--reason", "moved", "--yes", "--ledger-url", there_url]
        assert main(["ledger", "take-over", bench.ledger.uuid, *reason]) == 0
        bench.submit(DagRun("there-2"))
        assert bench.accepted == 2
    engine._registry.databases.pop(there_url).dispose()


def test_a_folder_alone_is_taken_over_by_an_argument(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(bench, range(1), "monday").finish()
    yesterday = backup(bench)
    batch(bench, range(2), "tuesday").finish()
    replace_ledger(bench, yesterday)
    monkeypatch.setenv("AIRFLOW_HOME", str(bench.folder / "new-home"))

    with pytest.raises(AirflowFailException, match=RESTORED):
        batch(bench, range(3), "wednesday").finish()
    summary = batch(bench, range(3), "thursday", adopt_output=True, tolerance=1).finish()
    assert (summary["landed"], summary["invalid"]) == (1, 1)
    assert bench.accepted == 3
    assert batch(bench, range(4), "friday", tolerance=1).finish()["landed"] == 1


def test_a_home_that_cannot_be_written_is_no_reason_to_stop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(bench.folder / "read-only"))
    publish = Target.publish

    def guarded(self: Target, source: Path, **options: Any) -> Any:
        if "read-only" in self.path:
            raise JimengLandingError("a disk that is read-only")
        return publish(self, source, **options)

    monkeypatch.setattr(Target, "publish", guarded)
    assert one(bench, "a", "monday").finish()["bytes"] > 0
    assert bench.accepted == 1
    assert (bench.folder / "one" / ".jimeng" / "ledger.json").exists()


def test_a_note_that_cannot_be_read_is_not_one_that_is_not_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = bench.folder / "home"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setenv("AIRFLOW_HOME", str(blocked))
    with pytest.raises(JimengLandingError, match=r"can't be read.*Nothing was sent"):
        one(bench, "a", "monday", retries=0).finish()
    assert bench.accepted == 0


def test_a_note_that_names_no_ledger_stops_what_is_beside_it(bench: Bench) -> None:
    one(bench, "a", "monday").finish()
    note = bench.folder / "one" / ".jimeng" / "ledger.json"
    for words in (
        "",
        "{}",
        "[]",
        '{"ledger": 3}',
        '{"ledger": "x", "mark": "2"}',
        '{"ledger": "x", "at": 3}',
    ):
        note.write_text(words)
        with pytest.raises(Exception, match="does not name a ledger"):
            one(bench, "b", "tuesday", retries=0).finish()
    assert bench.accepted == 1


def test_a_note_of_the_first_release_is_read_and_completed(bench: Bench) -> None:
    batch(bench, range(1), "monday").finish()
    note = bench.folder / "out" / ".jimeng" / "ledger.json"
    note.write_text(json.dumps({"ledger": bench.ledger.uuid}) + "\n")
    batch(bench, range(2), "tuesday").finish()
    assert json.loads(note.read_text()).keys() == {"ledger", "mark", "at"}
    assert bench.accepted == 2


def test_the_error_is_one_that_no_retry_helps(bench: Bench) -> None:
    assert JimengConfigurationError.retry_helps is False
    one(bench, "a", "monday").finish()
    replace_ledger(bench, None)
    instance = one(bench, "b", "tuesday", retries=5)
    with pytest.raises(AirflowFailException):
        instance.finish()
    assert instance.ti.try_number == 1
