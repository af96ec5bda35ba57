# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A landing failure is not a task failure: asked again, downloaded again, never submitted again."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import Asset
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengLandingError,
    JimengMissingOutputError,
    JimengOutputExistsError,
)
from airflow_provider_jimeng.lifecycle.land import Lander
from airflow_provider_jimeng.media.target import Target

from tests.legs import Bench, DagRun

SPOILED = {
    "corrupt, told by its digest": "download:corrupt",
    "short": "download:short",
    "expires in the middle": "download:cut",
    "expired": "download:expired",
    "503": "download:status",
    "404": "download:status,http_status=404",
    "html 502": "download:html",
    "html 200": "download:html,http_status=200",
    "empty": "download:empty",
    "reset": "download:reset",
    "hangs": "download:hang,seconds=20",
}


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def totals(bench: Bench) -> dict[str, int]:
    found: dict[str, int] = bench.emu.ledger()["totals"]
    return found


def twelve_hours_pass(bench: Bench) -> None:
    bench.emu.advance(12 * 3600 + 60)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 43260")


def parts(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "all-in-one"])
@pytest.mark.parametrize("fault", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_download_is_fetched_again_with_a_fresh_url(bench: Bench, fault: str, blocks: bool) -> None:
    bench.connect(connect_timeout=0.5, read_timeout=0.5)
    bench.emu.add_fault(fault)
    result = bench.blocks() if blocks else bench.imitate()

    assert totals(bench)["downloads"] == 2
    assert totals(bench)["downloads_completed"] == 1
    assert result["sha256"] == sha256(bench.output)
    assert bench.accepted == 1
    left = [each for each in parts(Path(bench.output).parent) if each != ".jimeng/ledger.json"]
    assert left == ["result.mp4"], "nothing half-written is left"


def test_downloads_that_fail_for_long_are_retried_by_airflow(bench: Bench) -> None:
    bench.emu.add_fault("download:status,times=4")
    instance = bench.imitation()
    instance.finish()

    assert [type(error) for error in instance.errors] == [JimengLandingError]
    assert bench.states() == ["landed"]
    assert bench.accepted == 1


def test_downloads_that_never_work_leave_the_task_paid_and_known(bench: Bench) -> None:
    fault = bench.emu.add_fault("download:short,times=0")
    instance = bench.imitation(retries=1)
    with pytest.raises(JimengLandingError):
        instance.finish()
    assert bench.states() == ["succeeded"]
    assert not Path(bench.output).exists()

    bench.emu.clear_faults(fault)
    bench.imitate(DagRun("days-later"))
    assert bench.accepted == 1


@pytest.mark.parametrize("fault", ["query:gateway,code=100009,http_status=401", "query:html", "query:50429"])
def test_trouble_while_asking_for_a_url_is_asked_again(bench: Bench, fault: str) -> None:
    run = DagRun()
    reference = bench.submit(run)
    bench.wait(reference, run)
    bench.emu.add_fault(f"{fault},times=2")

    bench.land(reference, run)
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_a_landing_straight_after_a_submit_says_that_the_task_runs(bench: Bench) -> None:
    bench.emu.configure(duration=30.0)
    reference = bench.submit()
    with pytest.raises(JimengError, match="still running"):
        bench.land(reference, retries=0)
    assert bench.states() == ["submitted"]


def test_a_landing_straight_after_a_submit_takes_a_task_that_is_over(bench: Bench) -> None:
    bench.emu.configure(duration=0.0)
    bench.land(bench.submit())
    assert bench.states() == ["landed"]
    assert bench.accepted == 1


# -- what was landed is gone -------------------------------------------------------------------------------


def test_a_missing_file_is_fetched_again_while_the_vendor_has_it(bench: Bench) -> None:
    bench.imitate()
    Path(bench.output).unlink()
    bench.imitate(DagRun("run-2"))

    assert Path(bench.output).exists()
    assert bench.accepted == 1
    assert totals(bench)["downloads"] == 2


def test_a_missing_file_is_copied_from_another_landing(bench: Bench) -> None:
    bench.imitate()
    bench.imitate(DagRun("run-2"), output=str(bench.folder / "copy.mp4"))
    Path(bench.output).unlink()
    twelve_hours_pass(bench)
    bench.imitate(DagRun("run-3"))

    assert sha256(bench.output) == sha256(bench.folder / "copy.mp4")
    assert bench.accepted == 1
    assert totals(bench)["downloads"] == 1


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "all-in-one"])
def test_a_file_that_nobody_has_any_more_fails_and_pays_nothing(bench: Bench, blocks: bool) -> None:
    bench.imitate()
    Path(bench.output).unlink()
    twelve_hours_pass(bench)
    task = bench.submit()
    again = partial(bench.land, task) if blocks else bench.imitate
    with pytest.raises(JimengMissingOutputError) as told:
        again(DagRun("run-2"))

    assert isinstance(told.value, AirflowFailException)
    assert "resubmit" in str(told.value)
    assert bench.accepted == 1


def test_a_file_that_nobody_has_any_more_is_paid_again_where_that_was_chosen(bench: Bench) -> None:
    bench.imitate()
    Path(bench.output).unlink()
    twelve_hours_pass(bench)
    instance = bench.imitation(DagRun("run-2"), on_missing_output="resubmit")
    instance.finish()

    assert bench.accepted == 2
    assert bench.states() == ["landed", "landed"]
    instance.clear().finish()
    bench.imitate(DagRun("run-3"))
    assert bench.accepted == 2


def test_a_result_that_was_never_harvested_is_expired(bench: Bench) -> None:
    bench.wait(bench.submit())
    assert bench.states() == ["succeeded"]
    twelve_hours_pass(bench)
    for run in (DagRun(), DagRun("run-2")):
        with pytest.raises(JimengError, match="resubmit"):
            bench.imitate(run)
    assert bench.states() == ["expired"]
    assert bench.rows()[0].possibly_billed

    bench.imitate(DagRun("run-3"), on_missing_output="resubmit")
    assert bench.accepted == 2


def test_a_vendor_that_forgot_early_is_believed_when_it_keeps_saying_so(bench: Bench) -> None:
    bench.imitate()
    Path(bench.output).unlink()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengMissingOutputError):
        bench.imitate(DagRun("run-2"))
    assert bench.accepted == 1


def test_a_place_that_cannot_be_looked_at_is_not_an_empty_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.imitate()
    usual = Target.stat

    def unreadable(self: Target) -> Any:
        raise self._trouble("could not be looked at", PermissionError("no"))

    monkeypatch.setattr(Target, "stat", unreadable)
    with pytest.raises(JimengLandingError, match="could not be looked at"):
        bench.imitate(DagRun("run-2"), retries=0)
    monkeypatch.setattr(Target, "stat", usual)
    assert bench.accepted == 1


# -- the place is taken ------------------------------------------------------------------------------------


def test_a_foreign_file_stops_the_task_before_anything_is_paid(bench: Bench) -> None:
    Path(bench.output).parent.mkdir()
    Path(bench.output).write_bytes(b"holiday")
    with pytest.raises(JimengOutputExistsError, match="overwrite") as told:
        bench.imitate()

    assert isinstance(told.value, AirflowFailException)
    assert Path(bench.output).read_bytes() == b"holiday"
    assert bench.emu.ledger()["totals"]["submits"] == 0


def test_a_foreign_file_stops_the_task_after_a_refused_submit_too(bench: Bench) -> None:
    bench.emu.add_fault("submit:50411")
    with pytest.raises(JimengError):
        bench.imitate()
    Path(bench.output).parent.mkdir(exist_ok=True)
    Path(bench.output).write_bytes(b"holiday")
    with pytest.raises(JimengOutputExistsError):
        bench.imitate(DagRun("run-2"))
    assert bench.accepted == 0


def test_overwrite_replaces_a_foreign_file(bench: Bench) -> None:
    Path(bench.output).parent.mkdir()
    Path(bench.output).write_bytes(b"holiday")
    result = bench.imitate(overwrite=True)
    assert sha256(bench.output) == result["sha256"]


def test_a_foreign_file_that_came_meanwhile_is_kept_and_so_is_the_result(bench: Bench) -> None:
    instance = bench.imitation()
    left = instance.leg()
    Path(bench.output).write_bytes(b"holiday")
    with pytest.raises(JimengOutputExistsError) as told:
        instance.leg(left, instance.watch(left))
    assert Path(bench.output).read_bytes() == b"holiday"
    (safe,) = [path for path in Path(bench.output).parent.rglob("*.mp4") if path.name != "result.mp4"]
    assert safe.name in str(told.value)

    Path(bench.output).unlink()
    instance.clear().finish()
    assert sha256(bench.output) == sha256(safe)
    assert bench.accepted == 1
    assert totals(bench)["downloads"] == 1


def test_a_landed_file_that_was_replaced_by_a_foreign_one_is_not_overwritten(bench: Bench) -> None:
    bench.imitate()
    Path(bench.output).write_bytes(b"somebody else's")
    with pytest.raises(JimengOutputExistsError):
        bench.imitate(DagRun("run-2"))
    assert Path(bench.output).read_bytes() == b"somebody else's"

    bench.imitate(DagRun("run-3"), overwrite=True)
    assert Path(bench.output).read_bytes()[4:8] == b"ftyp"
    assert bench.accepted == 1


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "all-in-one"])
def test_another_contents_result_is_kept_safe_and_replaced(bench: Bench, blocks: bool) -> None:
    first = bench.imitate()
    if blocks:
        second = bench.blocks(DagRun("run-2"), variant=1)
    else:
        second = bench.imitate(DagRun("run-2"), variant=1)
    assert first["sha256"] != second["sha256"] == sha256(bench.output)

    bench.emu.add_fault("download:status,times=0")
    again = bench.imitate(DagRun("run-3"), output=str(bench.folder / "first.mp4"))
    assert sha256(bench.folder / "first.mp4") == first["sha256"] == again["sha256"]
    bench.imitate(DagRun("run-4"))
    assert sha256(bench.output) == first["sha256"], "and back again"
    bench.imitate(DagRun("run-5"), variant=1, output=str(bench.folder / "second.mp4"))
    assert sha256(bench.folder / "second.mp4") == second["sha256"]
    assert bench.accepted == 2


@pytest.mark.parametrize("moment", ["record_landing", "move_landing", "_publish_local", "copy_to"])
def test_a_kill_while_landing_loses_neither_result(
    bench: Bench, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.imitate()

    class Killed(BaseException):
        """SIGKILL."""

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    owner: Any = type(bench.ledger) if moment.endswith("landing") else Target
    instance = bench.imitation(DagRun("run-2"), variant=1)
    left = instance.leg()
    event = instance.watch(left)
    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, die)
        with pytest.raises(Killed):
            instance.leg(left, event)
    second = instance.clear().finish()

    assert sha256(bench.output) == second["sha256"]
    bench.imitate(DagRun("run-3"), output=str(bench.folder / "first.mp4"))
    assert sha256(bench.folder / "first.mp4") == first["sha256"]
    assert bench.accepted == 2


def test_a_disk_that_is_full_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Target, "_publish_local", full)
        with pytest.raises(JimengLandingError, match="No space"):
            bench.imitate(retries=1)
    bench.imitate(DagRun("run-2"))
    assert bench.accepted == 1


def test_an_unreadable_other_landing_is_passed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.imitate()
    usual = Lander.intact

    def unreadable(self: Lander, landing: Any, place: Target) -> bool:
        if landing.uri == bench.output:
            raise place._trouble("could not be looked at", None)
        return usual(self, landing, place)

    monkeypatch.setattr(Lander, "intact", unreadable)
    bench.imitate(DagRun("run-2"), output=str(bench.folder / "copy.mp4"))
    assert bench.accepted == 1
    assert totals(bench)["downloads"] == 2


def test_a_task_that_the_ledger_does_not_know_is_landed(bench: Bench) -> None:
    reference = bench.submit()
    bench.wait(reference)
    bench.alter("DELETE FROM jimeng_tasks")
    bare = {"task_id": reference["task_id"], "req_key": reference["req_key"]}

    bench.emu.add_fault("download:short")
    result = bench.land(bare)
    assert result["sha256"] == sha256(bench.output)
    assert bench.land(bare, DagRun("run-2"))["sha256"] == result["sha256"]
    Path(bench.output).write_bytes(b"holiday")
    with pytest.raises(JimengOutputExistsError):
        bench.land(bare, DagRun("run-3"))
    bench.land(bare, DagRun("run-4"), overwrite=True)
    assert sha256(bench.output) == result["sha256"]
    assert bench.accepted == 1


def test_any_filesystem_takes_a_result(bench: Bench) -> None:
    first = bench.imitate(output="memory://bucket/folder/result.mp4")
    second = bench.imitate(DagRun("run-2"), output="memory://bucket/folder/result.mp4")
    third = bench.imitate(DagRun("run-3"), output=f"file://{bench.output}")

    assert (first["reused"], second["reused"]) == (False, True)
    assert sha256(bench.output) == first["sha256"] == third["sha256"]
    assert bench.accepted == 1


def test_outlets_get_an_asset_event_with_what_was_landed(bench: Bench) -> None:
    asset = Asset("clips")
    instance = bench.imitation(outlets=[asset])
    result = instance.finish()
    extra = instance.outlet_events[asset].extra
    assert extra["uri"] == bench.output
    assert extra["sha256"] == result["sha256"]
    assert "?" not in str(extra)
