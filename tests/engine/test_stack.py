# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The harness itself: real components boot, run a DAG, die, come back, and leave nothing."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.engine.rest import ApiError

DAG = "harness_waits"


def test_a_deferred_and_mapped_dag_runs_on_real_components(stack):
    run = stack.api.run(DAG, {"seconds": 1})

    assert run["state"] == "success", stack.api.states(DAG, run["dag_run_id"])
    run_id = run["dag_run_id"]
    assert len(stack.api.task_instances(DAG, run_id, "many")) == 3
    assert stack.api.xcom(DAG, run_id, "one") == "waited 1"
    assert stack.api.xcom(DAG, run_id, "many", map_index=2) == "waited 3"
    assert stack.api.rendered_fields(DAG, run_id, "many", map_index=1) == {"seconds": 2}
    assert stack.api.links(DAG, run_id, "one") == {}


def test_a_run_is_cleared_marked_and_deleted(stack):
    run_id = stack.api.run(DAG)["dag_run_id"]

    cleared = stack.api.clear(DAG, run_id, [("many", 1)])
    assert [(each["task_id"], each["map_index"]) for each in cleared] == [("many", 1)]
    stack.api.wait_for_run(DAG, run_id)
    assert stack.api.task_instance(DAG, run_id, "many", 1)["try_number"] >= 2

    stack.api.mark(DAG, run_id, "one", "failed")
    assert stack.api.task_instance(DAG, run_id, "one")["state"] == "failed"

    stack.api.wait_for_run(DAG, run_id)
    stack.api.delete_run(DAG, run_id)
    with pytest.raises(ApiError) as error:
        stack.api.dag_run(DAG, run_id)
    assert error.value.status == 404


def test_a_deferred_task_outlives_its_triggerer(stack):
    stack.api.unpause(DAG)
    run_id = stack.api.trigger(DAG, {"seconds": 20})
    stack.api.wait_for_task(DAG, run_id, "one", {"deferred"})

    stack.kill("triggerer", signal.SIGKILL)
    stack.restart("triggerer")

    assert stack.api.wait_for_run(DAG, run_id)["state"] == "success"


def test_a_component_that_dies_unasked_ends_every_wait(start_stack):
    doomed = start_stack()
    processes = [psutil.Process(component.pid) for component in doomed.components.values()]
    processes += [child for parent in list(processes) for child in parent.children(recursive=True)]

    doomed.components["scheduler"].signal(signal.SIGKILL, whole=True)
    with pytest.raises(RuntimeError, match="scheduler ended with -9"):
        doomed.api.wait("something that never comes", lambda: None, 30)

    doomed.stop()
    assert [process for process in processes if _lives(process)] == []


def _lives(process):
    """A zombie is over; its new parent, which is not the test, takes note in its own time."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
