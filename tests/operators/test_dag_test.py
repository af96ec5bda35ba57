# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Under ``dag.test()``, deferred and not, the operators and the sensor do what they do on an engine."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


#: In a process of its own: Airflow's in-process API warns of its dependencies, and warnings are errors here.
RUN = """
import json, sys
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
import airflow
if airflow.__version__ == "3.1.0":  # Its dag.test() leaves this to `airflow dags reserialize`.
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    DagBundlesManager().sync_bundles_to_db()
    from airflow.models.dagbag import sync_bag_to_db
    sync_bag_to_db(bag, "dags-folder", None)
states = {dag_id: bag.dags[dag_id].test().state for dag_id in sorted(bag.dags)}
print("STATES " + json.dumps(states))
"""


@pytest.fixture
def file(airflow_home: Path) -> Iterator[Path]:
    """Yield a file in the folder that dag.test() reads a DAG from again."""
    path = airflow_home / "dags" / "dags_of_a_test.py"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def metadata(airflow_metadata: str, tmp_path: Path) -> str:
    """Return the URL of a copy of the home's metadata database: what runs here leaves no rows to others."""
    path = tmp_path / "airflow.db"
    with (
        # Not a copy of the file: what was written last may stand in its write-ahead log.
        contextlib.closing(sqlite3.connect(airflow_metadata.removeprefix("sqlite:///"))) as home,
        contextlib.closing(sqlite3.connect(path)) as mine,
    ):
        home.backup(mine)
    return f"sqlite:///{path}"


def test_every_way_to_run_lands_the_same_task_and_pays_for_it_once(tmp_path: Path, file: Path, metadata: str):
    with Emulator(EmulatorConfig(concurrency=1, duration=0.5)) as emulator:
        connection = {
            "conn_type": "volcengine",
            "login": emulator.config.access_key,
            "password": emulator.config.secret_key,
            "host": emulator.url,
        }
        environment = {
            **os.environ,
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(connection),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
            "AIRFLOW__JIMENG__LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
            # Nobody serves the inputs of this test.
            "AIRFLOW__JIMENG__PROBE": "False",
        }
        file.write_text(DAGS.format(media=f"{emulator.url}/media", output=tmp_path))
        ran = subprocess.run(
            [sys.executable, "-c", RUN, str(file)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        told = [line for line in ran.stdout.splitlines() if line.startswith("STATES ")]
        assert told, ran.stdout[-3000:] + ran.stderr[-3000:]
        assert json.loads(told[0].removeprefix("STATES ")) == {
            "blocks_False": "success",
            "blocks_True": "success",
            "whole_False": "success",
            "whole_True": "success",
        }
        assert emulator.accepted == 1
        assert (tmp_path / "blocks.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
