# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Motion imitation in three building blocks: submit, wait, land.

Each is idempotent by content: a retry, a clear, a backfill or a second DAG with the same two URLs finds the task that
was paid for. Nothing here changes between the emulator and the vendor but the connection `volcengine_default`.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator, JimengSubmitTaskOperator
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")  # noqa: S108

with DAG(
    dag_id="example_jimeng_motion_imitation",
    schedule=None,
    catchup=False,
    tags=["example", "jimeng"],
    doc_md=__doc__,
    params={
        "image_url": Param(f"{MEDIA}/character-00.png", type="string", title="Image of a character"),
        "video_url": Param(f"{MEDIA}/motion-00.mp4", type="string", title="Template video"),
        "output": Param(f"{OUTPUT}/single/result.mp4", type="string", title="Where to land the result"),
    },
):
    # [START howto_jimeng_building_blocks]
    submit = JimengSubmitTaskOperator(
        task_id="submit",
        image_url="{{ params.image_url }}",
        video_url="{{ params.video_url }}",
    )
    wait = JimengTaskSensor(task_id="wait", task=submit.output)
    land = JimengLandResultOperator(task_id="land", task=wait.output, output="{{ params.output }}")
    # [END howto_jimeng_building_blocks]

    submit >> wait >> land
