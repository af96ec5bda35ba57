# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Motion imitation in three building blocks: submit, wait, land.

Each is idempotent by content: a retry, a clear, a backfill or a second DAG with the same two URLs finds the
task that was paid for. Nothing changes between the emulator and the vendor but the connection
`volcengine_default`. The vendor fetches both URLs itself, so they must be reachable from the internet.
"""

from __future__ import annotations

# [START howto_jimeng_building_blocks]
import os

from airflow.sdk import DAG
from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator, JimengSubmitTaskOperator
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")
PARAMS = {
    "image_url": f"{MEDIA}/character-01-amber.png",
    "video_url": f"{MEDIA}/template-01-wave.mp4",
    "output": f"{OUTPUT}/single/character-01-amber.mp4",
}

with DAG("example_jimeng_motion_imitation", schedule=None, params=PARAMS, tags=["jimeng"], doc_md=__doc__):
    submit = JimengSubmitTaskOperator(
        task_id="submit", image_url="{{ params.image_url }}", video_url="{{ params.video_url }}"
    )
    wait = JimengTaskSensor(task_id="wait", task=submit.output)
    land = JimengLandResultOperator(task_id="land", task=wait.output, output="{{ params.output }}")
# [END howto_jimeng_building_blocks]
