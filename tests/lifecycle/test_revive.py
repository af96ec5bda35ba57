# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What was given up as expired is asked about once more before it stays lost, or is paid for again."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_jimeng.exceptions import JimengTaskExpiredError
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.revive import may_come_back, revive

from tests.legs import Bench, DagRun
from tests.lifecycle.test_decide import NOW, row


def give_up(bench: Bench) -> None:
    """Have a task given up by a vendor that says for a while that it has no such task."""
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.imitate()
    assert bench.states() == ["expired"]
    bench.emu.clear_faults()


@pytest.mark.parametrize("missing", ["fail", "resubmit"])
@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_a_rerun_lands_what_the_vendor_has_after_all_and_pays_nothing(
    bench: Bench, missing: str, deferrable: bool
) -> None:
    give_up(bench)
    bench.imitate(DagRun("run-2"), on_missing_output=missing, deferrable=deferrable)

    assert Path(bench.output).exists()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]
    assert not bench.rows()[0].possibly_billed


def test_the_building_blocks_find_it_again_too(bench: Bench) -> None:
    reference = bench.submit()
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference)
    bench.emu.clear_faults()

    assert bench.wait(reference, DagRun("run-2"))["status"] == "done"
    assert bench.land(reference, DagRun("run-2"))["uri"] == bench.output
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_a_landing_finds_again_what_nobody_waited_for_any_more(bench: Bench) -> None:
    reference = bench.submit()
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference)
    bench.emu.clear_faults()

    assert bench.land(reference, DagRun("run-2"))["uri"] == bench.output
    assert bench.states() == ["landed"]


def test_one_that_still_runs_is_waited_for_and_not_paid_again(bench: Bench) -> None:
    bench.emu.configure(duration=3.0)
    bench.emu.add_fault("query:status,status=not_found,times=0")
    instance = bench.imitation(retries=0)
    with pytest.raises(JimengTaskExpiredError):
        instance.finish()
    bench.emu.configure(duration=60.0)
    bench.emu.clear_faults()
    bench.emu.add_fault("query:status,status=generating,times=3")

    bench.imitate(DagRun("run-2"), on_missing_output="resubmit")
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_one_that_is_gone_stays_given_up(bench: Bench) -> None:
    bench.emu.add_fault("query:status,status=not_found,times=0")
    for run in (DagRun(), DagRun("run-2")):
        with pytest.raises(JimengTaskExpiredError):
            bench.imitate(run)
    assert bench.accepted == 1
    assert bench.states() == ["expired"]


def test_a_newer_attempt_is_not_pushed_aside(bench: Bench) -> None:
    give_up(bench)
    bench.emu.add_fault("query:status,status=not_found,times=1")
    bench.imitate(DagRun("run-2"), on_missing_output="resubmit")
    assert bench.states() == ["expired", "landed"]

    hook, given_up = JimengHook(), bench.rows()[0]
    with pytest.raises(LostRace, match="newer attempt"):
        revive(hook.ledger, hook.client, given_up)
    assert bench.states() == ["expired", "landed"]


def test_only_what_the_vendor_may_still_have_is_asked_about() -> None:
    expired = row(TaskState.EXPIRED, task_id="1", submitted_at=NOW - 60)
    assert may_come_back(expired, NOW)
    assert not may_come_back(expired, NOW + 12 * 3600)
    assert not may_come_back(row(TaskState.SUCCEEDED, task_id="1", submitted_at=NOW - 60), NOW)
    assert not may_come_back(row(TaskState.EXPIRED, task_id=None, submitted_at=NOW - 60), NOW)
    assert not may_come_back(None, NOW)
