# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Other products than motion imitation 1.0: 2.0 with its switch, and pictures from a prompt.

2.0 takes the same arguments. A product that this provider has no arguments for goes with the whole request as
`body`; the rest - never paid twice, slots, waiting, landing - is the same. Where a task gives several
pictures all of them are landed: `poster.jpeg`, `poster-2.jpeg` and so on.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param
from airflow_provider_jimeng.operators.jimeng import (
    JimengLandResultOperator,
    JimengMotionImitationOperator,
    JimengSubmitTaskOperator,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")

with DAG(
    dag_id="example_jimeng_other_products",
    schedule=None,
    tags=["jimeng"],
    doc_md=__doc__,
    params={
        "image_url": Param(f"{MEDIA}/character-01-amber.png", type="string", title="Image"),
        "video_url": Param(f"{MEDIA}/template-01-wave.mp4", type="string", title="Template video"),
        "prompt": Param("a paper lantern over a lake at night", type="string", title="Prompt"),
        "folder": Param(f"{OUTPUT}/other-products", type="string", title="Folder for the results"),
    },
):
    # [START howto_jimeng_second_product]
    JimengMotionImitationOperator(
        task_id="imitate",
        req_key="jimeng_dreamactor_m20_gen_video",
        image_url="{{ params.image_url }}",
        video_url="{{ params.video_url }}",
        options={"cut_result_first_second_switch": False},
        output="{{ params.folder }}/imitated.mp4",
    )
    # [END howto_jimeng_second_product]

    # [START howto_jimeng_picture]
    draw = JimengSubmitTaskOperator(
        task_id="draw",
        req_key="jimeng_t2i_v40",
        body={"prompt": "{{ params.prompt }}", "size": 4194304},
    )
    drawn = JimengTaskSensor(task_id="drawn", task=draw.output)
    JimengLandResultOperator(task_id="keep", task=drawn.output, output="{{ params.folder }}/poster.jpeg")
    # [END howto_jimeng_picture]
