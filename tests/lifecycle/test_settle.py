# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Slots held by tasks that nobody watches any more are freed by the next who needs one."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.settle import settle_holders, worth_asking

from tests.legs import Bench, DagRun
from tests.lifecycle.test_decide import NOW, row


def test_a_deleted_dags_task_does_not_keep_the_only_slot(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.submit(DagRun("run-1", "deleted"))
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 10")
    bench.emu.advance(10)
    instance = bench.imitation(DagRun("run-2"), variant=1)
    instance.finish()

    assert bench.accepted == 2
    assert bench.refused == {}
    assert bench.states() == ["succeeded", "landed"]
    assert "turn" not in [each["status"] for each in instance.events], "no wait at all"


def test_the_result_of_a_settled_task_is_not_lost(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.submit()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 10")
    bench.emu.advance(10)
    bench.submit(DagRun("run-2"), variant=1)
    bench.imitate(DagRun("run-3"))
    assert Path(bench.output).exists()
    assert bench.accepted == 2


def test_a_failed_holder_frees_its_slot_and_a_forgotten_one_after_twelve_hours(bench: Bench) -> None:
    bench.emu.add_fault("done:50411")
    bench.submit()
    bench.submit(DagRun("run-2"), variant=1)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 100")
    bench.emu.advance(100)
    (_, second) = bench.rows()
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={second.task_id}")
    hook = JimengHook()
    # Whether the other one is really gone is for its own watcher to say, or for the 12 hours.
    assert settle_holders(hook.ledger, hook.client, bench.rows()) == 1
    assert bench.states() == ["failed", "submitted"]
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 43200 WHERE state = 'submitted'")
    assert settle_holders(hook.ledger, hook.client, bench.rows()) == 1
    assert bench.states() == ["failed", "expired"]


def test_a_further_id_beside_a_landed_result_is_harvested_by_the_contents_next_run(bench: Bench) -> None:
    bench.imitate()
    hook = JimengHook()
    (landed,) = bench.rows()
    # The vendor took a send that was believed lost, and its id came late.
    late = hook.unsafe_submit(
        MOTION_IMITATION,
        {"req_key": MOTION_IMITATION, "image_url": bench.image, "video_url": bench.video},
    )
    bench.ledger.record_created(landed, late)
    assert bench.states() == ["landed", "submitted"]
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 100")
    bench.emu.advance(100)

    assert bench.imitate(DagRun("run-2"))["reused"]
    assert bench.states() == ["landed", "succeeded"]
    assert bench.rows()[1].possibly_billed
    assert bench.accepted == 2, "the one that was sent behind the product's back"


def test_a_further_id_expires_after_twelve_hours_and_not_before(bench: Bench) -> None:
    bench.imitate()
    bench.ledger.record_created(bench.rows()[0], "7777777777777777777")
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 100")
    bench.imitate(DagRun("run-2"))
    assert bench.states() == ["landed", "submitted"], "one answer gives up nothing"

    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 43200")
    bench.emu.add_fault("query:html")
    bench.imitate(DagRun("run-3"))
    assert bench.states() == ["landed", "expired"]
    assert bench.accepted == 1


def test_trouble_with_a_holder_frees_nothing(bench: Bench) -> None:
    bench.submit()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 100")
    bench.emu.add_fault("query:html,times=0")
    hook = JimengHook()
    assert settle_holders(hook.ledger, hook.client, bench.rows()) == 0
    assert bench.states() == ["submitted"]


def test_only_holders_that_may_be_over_are_asked_about() -> None:
    young = row(TaskState.SUBMITTED, submitted_at=NOW - 0.5)
    assert not worth_asking(young, NOW)
    assert worth_asking(row(TaskState.SUBMITTED, submitted_at=NOW - 5.0), NOW)
    known = row(TaskState.SUBMITTED, submitted_at=NOW - 60.0, expected_seconds=100.0)
    assert not worth_asking(known, NOW)
    assert worth_asking(known, NOW + 10.0)
    for other in (
        row(TaskState.UNKNOWN, submitted_at=NOW - 900.0),
        row(TaskState.INTENT),
        row(TaskState.SUBMITTED, submitted_at=None),
        row(TaskState.SUBMITTED, submitted_at=NOW - 900.0, task_id=None),
    ):
        assert not worth_asking(other, NOW)
