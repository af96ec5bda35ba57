# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the operators tell OpenLineage, asked by the extractor of its own provider."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from openlineage.client.serde import Serde

from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.utils.state import TaskInstanceState
from airflow_provider_jimeng.exceptions import JimengInputError, JimengTaskFailedError
from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator, JimengSubmitTaskOperator
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Instance, bench, emu
from tests.operators.test_batch import batch

__all__ = ["bench", "emu"]


def told(instance: Instance, state: TaskInstanceState) -> dict[str, Any]:
    """Return what OpenLineage's provider would send of a task instance, as JSON."""
    operator = instance.operator or instance._built()
    run: Any = SimpleNamespace(run_id="run-1")
    found = ExtractorManager().extract_metadata(run, operator, state, instance.ti)
    return {
        "inputs": [(each.namespace, each.name) for each in found.inputs],
        "outputs": [(each.namespace, each.name) for each in found.outputs],
        "sizes": [
            json.loads(Serde.to_json(each.outputFacets["outputStatistics"]))["size"]
            for each in found.outputs
            if each.outputFacets
        ],
        "run": {name: json.loads(Serde.to_json(facet)) for name, facet in found.run_facets.items()},
    }


def start(instance: Instance) -> dict[str, Any]:
    instance.operator = instance._built()
    return told(instance, TaskInstanceState.RUNNING)


def test_the_inputs_are_told_at_the_start_without_their_query(bench: Bench) -> None:
    instance = bench.imitation(image_url=f"{bench.image}?X-Amz-Signature=secret")

    begun = start(instance)
    assert begun["inputs"] == [
        (bench.emu.url, "/media/character.png"),
        (bench.emu.url, "/media/template.mp4"),
    ]
    assert begun["outputs"] == []
    assert "secret" not in json.dumps(begun)


def test_a_landed_result_is_told_with_its_inputs_its_size_and_the_vendors_task(bench: Bench) -> None:
    instance = bench.imitation()
    result = instance.finish()

    done = told(instance, TaskInstanceState.SUCCESS)
    assert done["inputs"] == [(bench.emu.url, "/media/character.png"), (bench.emu.url, "/media/template.mp4")]
    assert done["outputs"] == [("file", bench.output)]
    assert done["sizes"] == [result["bytes"]]
    task = done["run"]["jimeng_task"]
    assert (task["taskId"], task["contentKey"]) == (result["task_id"], result["content_key"])
    assert (task["account"], task["reused"]) == ("tests", False)
    assert done["run"]["externalQuery"]["externalQueryId"] == result["task_id"]


def test_each_building_block_tells_what_it_knows(bench: Bench) -> None:
    run = DagRun()
    submit = run.instance(JimengSubmitTaskOperator, "submit", image_url=bench.image, video_url=bench.video)
    reference = submit.finish()
    wait = run.instance(JimengTaskSensor, "wait", task=reference)
    land = run.instance(JimengLandResultOperator, "land", task=wait.finish(), output=bench.output)
    land.finish()

    inputs = [(bench.emu.url, "/media/character.png"), (bench.emu.url, "/media/template.mp4")]
    for each in (submit, wait, land):
        done = told(each, TaskInstanceState.SUCCESS)
        assert done["inputs"] == inputs
        assert done["run"]["externalQuery"]["externalQueryId"] == reference["task_id"]
    assert told(land, TaskInstanceState.SUCCESS)["outputs"] == [("file", bench.output)]


def test_a_bulk_run_tells_its_counts_its_items_and_its_report(bench: Bench) -> None:
    instance = batch(bench, range(3))
    instance.finish()

    done = told(instance, TaskInstanceState.SUCCESS)
    counts = done["run"]["jimeng_bulk"]["counts"]
    assert (counts["total"], counts["landed"], counts["submits"], counts["failed"]) == (3, 3, 3, 0)
    folder = f"{bench.folder}/out"
    assert done["outputs"][0] == ("file", f"{folder}/report.jsonl")
    assert set(done["outputs"][1:]) == {("file", f"{folder}/{each}.mp4") for each in range(3)}
    assert len(done["inputs"]) == 4


def test_a_manifest_in_a_file_is_an_input_of_its_run(bench: Bench) -> None:
    path = bench.folder / "items.jsonl"
    path.write_text(json.dumps({"id": "a", "image": bench.image, "video": bench.video}))
    instance = batch(bench, manifest=str(path))

    assert start(instance)["inputs"] == [("file", str(path))]
    instance.finish()
    assert told(instance, TaskInstanceState.SUCCESS)["inputs"][0] == ("file", str(path))


def test_a_failure_is_told_with_the_vendors_code_and_words(bench: Bench) -> None:
    bench.emu.add_fault("done:50411")
    instance = bench.imitation()
    with pytest.raises(JimengTaskFailedError) as raised:
        instance.finish()

    failed = told(instance, TaskInstanceState.FAILED)
    error = failed["run"]["jimeng_error"]
    assert (error["error"], error["code"], error["retryHelps"]) == ("JimengTaskFailedError", 50411, False)
    assert error["taskId"] == raised.value.task_id
    assert error["message"] == failed["run"]["errorMessage"]["message"] == raised.value.message
    assert failed["inputs"] == [
        (bench.emu.url, "/media/character.png"),
        (bench.emu.url, "/media/template.mp4"),
    ]


def test_a_failed_sensor_and_a_refused_argument_are_told_as_well(bench: Bench) -> None:
    sensor = DagRun().instance(JimengTaskSensor, "wait")
    with pytest.raises(JimengInputError):
        sensor.finish()
    assert told(sensor, TaskInstanceState.FAILED)["run"]["jimeng_error"]["error"] == "JimengInputError"

    argument = bench.imitation(image_url="ftp://host/a.png?key=secret")
    with pytest.raises(JimengInputError):
        argument.finish()
    failed = told(argument, TaskInstanceState.FAILED)
    assert failed["inputs"][0] == ("ftp://host", "a.png")
    assert "secret" not in json.dumps(failed)


def test_without_openlineage_the_operators_say_nothing_and_load_nothing(bench: Bench) -> None:
    code = (
        "import sys; sys.modules['openlineage'] = None\n"
        "from airflow_provider_jimeng.operators.jimeng import JimengSubmitTaskOperator\n"
        "task = JimengSubmitTaskOperator(task_id='t', image_url='https://a/b', video_url='https://a/c')\n"
        "assert task.get_openlineage_facets_on_start() is None\n"
        "assert task.get_openlineage_facets_on_complete(None) is None\n"
        "assert task.get_openlineage_facets_on_failure(None) is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
