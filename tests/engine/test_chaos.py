# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A part of the chaos matrix that takes minutes; the whole is ``make chaos``, its table docs/reliability.md.

The judges are the vendor's book, the ledger and the files: no content is accepted twice, every accepted one
is landed or told of as *unknown*.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.chaos.cases import Wave, Work, part_waves, task_waves
from tests.engine.chaos.matrix import Matrix
from tests.engine.chaos.works import Works
from tests.engine.chaos.world import Setup, World


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("chaos"), Setup()) as world:
        Matrix(world).warm_up()
        yield world


def waves(*names: str) -> list[Wave]:
    known = {wave.name: wave for wave in (*task_waves(), *part_waves())}
    return [known[name] for name in names]


def check(world: World, wave: Wave) -> None:
    records = Matrix(world).run(wave)
    assert records
    assert [record["wrong"] for record in records if record["wrong"]] == []
    for record in records:
        assert record["most_accepted"] <= 1
        struck_dead = wave.signal == "SIGKILL" and wave.victim in ("task process", "worker")
        if not struck_dead:
            assert record["fates"] == {"landed": record["items"]}


@pytest.mark.parametrize(
    "wave",
    waves("SIGKILL-task-0", "SIGKILL-task-3", "SIGKILL-both triggerers-0", "SIGKILL-ledger database-0"),
    ids=lambda wave: wave.name,
)
def test_a_blow_costs_no_second_submit_and_loses_nothing(local: World, wave: Wave) -> None:
    check(local, wave)


def test_what_people_do_to_a_deferred_task_costs_nothing(local: World) -> None:
    """Clear one that is deferred, mark another failed and run it again."""
    works, api = Works(local), local.airflow.api
    run = works.prepare(Work.MAPPED, "people", 4)
    works.start([run])
    dag, run_id = run.work.dag, run.run_id
    for index in range(2):
        api.wait_for_task(dag, run_id, "imitate", {"deferred"}, map_index=index)
    api.clear(dag, run_id, [("imitate", 0)], reset_dag_runs=False)
    api.mark(dag, run_id, "imitate", "failed", 1)
    api.wait_for_run(dag, run_id, 240)
    api.clear(dag, run_id, only_failed=True)
    run.state = api.wait_for_run(dag, run_id, 240)["state"]

    verdict = works.judge(run)
    assert (run.state, verdict.wrong) == ("success", ())
    assert (verdict.accepted, verdict.fates) == (4, {"landed": 4})


def test_a_worker_of_two_dies_under_celery(tmp_path: Path) -> None:
    with World(tmp_path / "celery", Setup(celery=True)) as world:
        Matrix(world).warm_up()
        check(world, *waves("SIGKILL-worker-0"))
