# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``overwrite`` where a result stands that the ledger knows under another name of the place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.exceptions import JimengLandingError, JimengMissingOutputError
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.media.target import Target

from tests.legs import Bench, DagRun
from tests.operators.test_landing_faults import sha256, twelve_hours_pass


class Killed(BaseException):
    """SIGKILL."""


@pytest.fixture
def real(bench: Bench) -> Path:
    """Return a file in a folder that has another name, ``link``."""
    folder = bench.folder / "real"
    folder.mkdir()
    (bench.folder / "link").symlink_to(folder)
    return folder / "x.mp4"


def alias(bench: Bench) -> str:
    return str(bench.folder / "link" / "x.mp4")


def comes_back(bench: Bench, first: dict[str, Any], paid: int = 2) -> None:
    """Check that the first result is still to be had, and costs nothing."""
    twelve_hours_pass(bench)
    place = str(bench.folder / "again" / "first.mp4")
    again = bench.imitate(DagRun("later"), output=place, on_missing_output="resubmit")
    assert again["sha256"] == first["sha256"] == sha256(place)
    assert bench.accepted == paid


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "all-in-one"])
def test_another_contents_only_copy_is_kept_safe_under_whatever_name_it_is_overwritten(
    bench: Bench, real: Path, blocks: bool
) -> None:
    first = bench.imitate(output=str(real))
    run = DagRun("run-2")
    if blocks:
        bench.wait(bench.submit(run, variant=1), run)
        second = bench.land(bench.submit(run, variant=1), run, output=alias(bench), overwrite=True)
    else:
        second = bench.imitate(run, variant=1, output=alias(bench), overwrite=True)

    assert first["sha256"] != second["sha256"] == sha256(real)
    (landing,) = bench.ledger.landings(first["content_key"])
    assert landing.uri.startswith(f"{bench.folder}/link/.jimeng/")
    assert sha256(landing.uri) == first["sha256"]
    comes_back(bench, first)


def test_a_task_of_no_row_keeps_it_safe_too(bench: Bench, real: Path) -> None:
    first = bench.imitate(output=str(real))
    raw = JimengHook().unsafe_submit(MOTION_IMITATION, {"image_url": bench.image, "video_url": bench.video})
    told = bench.wait({"task_id": raw, "req_key": MOTION_IMITATION}, DagRun("run-2"))
    bench.land(told, DagRun("run-2"), output=alias(bench), overwrite=True)
    assert sha256(real) != first["sha256"]
    comes_back(bench, first)


@pytest.mark.parametrize("moment", ["copy_to", "move_landing", "_publish_local", "record_landing"])
def test_a_kill_while_it_is_kept_safe_loses_neither(bench: Bench, real: Path, moment: str) -> None:
    first = bench.imitate(output=str(real))

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    instance = bench.imitation(DagRun("run-2"), variant=1, output=alias(bench), overwrite=True)
    left = instance.leg()
    event = instance.watch(left)
    with bench.patch.context() as patch:
        patch.setattr(Ledger if moment.endswith("landing") else Target, moment, die)
        with pytest.raises(Killed):
            instance.leg(left, event)
    second = instance.clear().finish()
    assert sha256(real) == second["sha256"]
    comes_back(bench, first)


def test_a_copy_that_somebody_made_is_overwritten_and_the_landing_stays_where_it_is(bench: Bench) -> None:
    first = bench.imitate()
    copy = bench.folder / "copy.mp4"
    shutil.copy(bench.output, copy)
    second = bench.imitate(DagRun("run-2"), variant=1, output=str(copy), overwrite=True)
    assert sha256(copy) == second["sha256"]
    assert [each.uri for each in bench.ledger.landings(first["content_key"])] == [bench.output]
    assert not (bench.folder / ".jimeng" / Path(bench.output).name).exists()
    comes_back(bench, first)


@pytest.mark.parametrize("left", [None, b"holiday"], ids=["gone", "another"])
def test_a_result_that_somebody_moved_is_kept_safe_where_it_stands_now(
    bench: Bench, left: bytes | None
) -> None:
    first = bench.imitate()
    moved = bench.folder / "moved.mp4"
    shutil.move(bench.output, moved)
    if left is not None:
        # Of the same size: who only looks at that takes it for the result.
        Path(bench.output).write_bytes(left.ljust(first["bytes"], b"!"))
    bench.imitate(DagRun("run-2"), variant=1, output=str(moved), overwrite=True)
    comes_back(bench, first)


def test_a_result_whose_place_cannot_be_read_is_kept_safe(bench: Bench) -> None:
    first = bench.imitate()
    copy = bench.folder / "copy.mp4"
    shutil.copy(bench.output, copy)
    bench.ledger.move_landing(bench.output, "s3://nobodys_connection@bucket/a.mp4")
    bench.imitate(DagRun("run-2"), variant=1, output=str(copy), overwrite=True)
    comes_back(bench, first)


def test_a_file_that_cannot_be_read_is_not_taken_for_a_foreign_one(bench: Bench, real: Path) -> None:
    first = bench.imitate(output=str(real))
    usual = Target.sha256

    def unreadable(self: Target) -> str:
        if self.uri == alias(bench):
            raise self._trouble("could not be read", PermissionError("no"))
        return usual(self)

    with bench.patch.context() as patch:
        patch.setattr(Target, "sha256", unreadable)
        with pytest.raises(JimengLandingError, match="could not be read"):
            bench.imitate(DagRun("run-2"), variant=1, output=alias(bench), overwrite=True, retries=0)
    assert sha256(real) == first["sha256"]
    bench.imitate(DagRun("run-2"), variant=1, output=alias(bench), overwrite=True)
    comes_back(bench, first)


def test_a_foreign_file_is_read_once_and_overwritten(bench: Bench, real: Path) -> None:
    read: list[str] = []
    usual = Target.sha256

    def sha(self: Target) -> str:
        read.append(self.uri)
        return usual(self)

    bench.patch.setattr(Target, "sha256", sha)
    real.write_bytes(b"holiday")
    result = bench.imitate(output=alias(bench), overwrite=True)
    assert (sha256(real), read) == (result["sha256"], [alias(bench)])
    assert not (real.parent / ".jimeng" / "x.mp4").exists()

    Path(alias(bench)).unlink()
    twelve_hours_pass(bench)
    with pytest.raises(JimengMissingOutputError):
        bench.imitate(DagRun("run-2"), output=alias(bench), overwrite=True)
    assert read == [alias(bench)], "a place that is free is not read"
