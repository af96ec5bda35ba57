# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Under ``dag.test()``, deferred and not, the operators and the sensor do what they do on an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow.dag_processing.dagbag import DagBag
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

DAGS = """
from airflow.sdk import DAG
from airflow_provider_jimeng.operators.jimeng import (
    JimengLandResultOperator, JimengMotionImitationOperator, JimengSubmitTaskOperator,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

INPUTS = {{"image_url": "{media}/a.png", "video_url": "{media}/b.mp4"}}

for deferrable in (True, False):
    with DAG(dag_id=f"blocks_{{deferrable}}", schedule=None, catchup=False):
        submit = JimengSubmitTaskOperator(task_id="submit", **INPUTS, deferrable=deferrable)
        wait = JimengTaskSensor(task_id="wait", task=submit.output, deferrable=deferrable, poke_interval=0.2)
        land = JimengLandResultOperator(task_id="land", task=wait.output, output="{output}/blocks.mp4")
    with DAG(dag_id=f"whole_{{deferrable}}", schedule=None, catchup=False):
        JimengMotionImitationOperator(
            task_id="imitate", **INPUTS, output="{output}/whole.mp4", deferrable=deferrable, poke_interval=0.2
        )
"""


@pytest.mark.usefixtures("airflow_metadata")
def test_every_way_to_run_lands_the_same_task_and_pays_for_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with Emulator(EmulatorConfig(concurrency=1, duration=0.5)) as emulator:
        connection = {
            "conn_type": "volcengine",
            "login": emulator.config.access_key,
            "password": emulator.config.secret_key,
            "host": emulator.url,
        }
        monkeypatch.setenv("AIRFLOW_CONN_VOLCENGINE_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
        file = tmp_path / "dags_of_a_test.py"
        file.write_text(DAGS.format(media=f"{emulator.url}/media", output=tmp_path))
        bag = DagBag(str(file))
        assert not bag.import_errors

        states = {dag_id: bag.dags[dag_id].test().state for dag_id in sorted(bag.dags)}

        assert states == {
            "blocks_False": "success",
            "blocks_True": "success",
            "whole_False": "success",
            "whole_True": "success",
        }
        assert emulator.accepted == 1
        assert (tmp_path / "blocks.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
