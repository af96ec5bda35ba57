# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Other places where a result was landed: passed over while out of reach, and never taken for gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.bulk import landing_pool
from airflow_provider_jimeng.bulk.tools import Terms
from airflow_provider_jimeng.exceptions import (
    JimengInputError,
    JimengLandingError,
    JimengMissingOutputError,
)
from airflow_provider_jimeng.media.target import Target

from tests.legs import Bench, DagRun
from tests.operators.test_batch_scenarios import lines, report, run

policies = pytest.mark.parametrize("policy", ["fail", "resubmit"])


def block(bench: Bench) -> None:
    """Make the folder of results one that can't be read: its mount is in trouble."""
    out = Path(bench.output).parent
    shutil.move(out, f"{out}.away")
    out.symlink_to(out)


def unblock(bench: Bench) -> None:
    out = Path(bench.output).parent
    out.unlink()
    shutil.move(f"{out}.away", out)


def lose_connection(bench: Bench) -> None:
    """Name a store whose connection nobody has any more."""
    bench.alter("UPDATE jimeng_landings SET uri = 's3://team_b@bucket/' || id || '.mp4'")


def vendor_forgets(bench: Bench) -> None:
    for row in bench.rows():
        bench.emu.add_fault(f"query:status,status=not_found,times=0,match={row.task_id}")
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")


TROUBLES = pytest.mark.parametrize("trouble", [block, lose_connection], ids=lambda each: each.__name__)


@TROUBLES
def test_a_place_out_of_reach_is_passed_over_while_the_vendor_has_the_result(
    bench: Bench, trouble: Any
) -> None:
    first = bench.imitate()
    trouble(bench)
    other = bench.imitate(DagRun("run-2"), output=str(bench.folder / "other" / "r.mp4"))
    assert other["sha256"] == first["sha256"]
    assert bench.accepted == 1


@policies
@TROUBLES
def test_a_place_out_of_reach_is_not_an_empty_one_when_the_vendor_forgot(
    bench: Bench, trouble: Any, policy: str
) -> None:
    bench.imitate()
    trouble(bench)
    vendor_forgets(bench)
    instance = bench.imitation(
        DagRun("run-2"), output=str(bench.folder / "other" / "r.mp4"), on_missing_output=policy, retries=0
    )
    with pytest.raises(JimengLandingError, match=r"nothing is paid again.*ledger forget") as told:
        instance.finish()

    place = bench.output if trouble is block else "s3://team_b@bucket/1.mp4"
    assert place in str(told.value)
    assert not isinstance(told.value, (JimengMissingOutputError, AirflowFailException))
    assert bench.accepted == 1
    assert bench.states() == ["landed"]
    if trouble is block:
        unblock(bench)
        assert instance.clear().finish()["reused"]
        assert bench.accepted == 1


@policies
def test_a_bulk_run_does_not_pay_for_what_it_cannot_read(
    bench: Bench, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_pool, "backoff_delay", lambda *_, **__: 0.1)
    patience = Terms.__dataclass_fields__["landing_patience"].default
    given = Terms.__init__.__defaults__ or ()
    shorter = tuple(0.3 if each == patience else each for each in given)
    monkeypatch.setattr(Terms.__init__, "__defaults__", shorter)
    manifest = lines(bench, [1])
    run(bench, manifest)
    block(bench)
    vendor_forgets(bench)
    other: dict[str, Any] = {"output": str(bench.folder / "other"), "on_missing_output": policy}
    with pytest.raises(JimengLandingError, match="could not be stored"):
        run(bench, manifest, "run-2", retries=0, **other)
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_one_line_whose_earlier_place_is_out_of_reach_stops_no_other(bench: Bench) -> None:
    first = lines(bench, [1])
    run(bench, first, output=str(bench.folder / "earlier"))
    lose_connection(bench)
    summary = run(bench, lines(bench, range(1, 5)), "run-2")
    assert (summary["landed"], summary["reused"], bench.accepted) == (3, 1, 4)


def test_one_line_that_cannot_be_landed_at_all_stops_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Target.publish

    def publish(self: Target, *given: Any, **more: Any) -> Any:
        if not refused and self.uri.endswith("-1.mp4"):
            refused.append(self.uri)
        if self.uri in refused:
            raise JimengInputError("this place is no place")
        return usual(self, *given, **more)

    refused: list[str] = []
    monkeypatch.setattr(Target, "publish", publish)
    with pytest.raises(JimengLandingError, match="could not be stored"):
        run(bench, lines(bench, range(4)), retries=0)
    outcomes = sorted(each["outcome"] for each in report(bench))
    assert outcomes == ["landed", "landed", "landed", "skipped"]
    (left,) = [each["error"] for each in report(bench) if each["outcome"] == "skipped"]
    assert "paid for, but not stored yet" in left

    refused[:] = ["none"]
    assert run(bench, lines(bench, range(4)), "run-2")["submits"] == 0
    assert bench.accepted == 4
