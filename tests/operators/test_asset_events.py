# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the asset events of a task's outlets carry, by the page that says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow.sdk import Asset
from airflow_provider_jimeng.exceptions import JimengToleranceExceededError
from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator

from tests.docs.pages import names, page, rows, section
from tests.legs import Bench, DagRun, Instance
from tests.operators.test_batch import batch

CLIPS = Asset("clips")
LISTED = {
    names(task)[0]: set(names(extra))
    for task, extra in rows(section(page("docs/lineage.md"), "## Asset events"))
}


def event(instance: Instance) -> Any:
    instance.finish()
    return instance.outlet_events[CLIPS].extra


@pytest.mark.parametrize("deferrable", [True, False])
def test_an_item_tells_where_its_result_is_and_what_it_is(bench: Bench, deferrable: bool) -> None:
    told = event(bench.imitation(outlets=[CLIPS], deferrable=deferrable))

    landed = LISTED["JimengLandResultOperator"]
    assert set(told) == landed | LISTED["JimengMotionImitationOperator"]
    assert told["uri"] == bench.output


def test_a_landing_tells_the_same(bench: Bench) -> None:
    result = bench.wait(bench.submit())
    land = DagRun().instance(
        JimengLandResultOperator, "land", task=result, output=bench.output, outlets=[CLIPS]
    )

    told = event(land)
    assert set(told) == LISTED["JimengLandResultOperator"]
    assert told["task_id"] == result["task_id"]


def test_a_bulk_run_tells_its_summary(bench: Bench) -> None:
    instance = batch(bench, range(2), outlets=[CLIPS])

    told = event(instance)
    assert told == bench_summary(bench)
    assert (told["total"], told["landed"]) == (2, 2)


def bench_summary(bench: Bench) -> Any:
    return json.loads((bench.folder / "out" / "summary.json").read_text())


def test_a_bulk_run_that_fails_has_told_its_summary_and_airflow_drops_the_event_with_the_task(
    bench: Bench,
) -> None:
    """Airflow sends outlet events with a success only, so a failed run's stays where it was noted."""
    bench.emu.add_fault("done:50411")
    instance = batch(bench, range(2), outlets=[CLIPS])
    with pytest.raises(JimengToleranceExceededError):
        instance.finish()

    assert instance.outlet_events[CLIPS].extra["failed"] == 1
