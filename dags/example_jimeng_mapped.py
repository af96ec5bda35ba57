# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Some dozens of items by dynamic task mapping: a row per item in the grid, and never more tasks than slots.

While no slot of the account is free an item waits in the triggerer: it holds no worker, and the vendor isn't asked.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param, task

from airflow_provider_jimeng.operators.jimeng import JimengMotionImitationOperator

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")  # noqa: S108

with DAG(
    dag_id="example_jimeng_mapped",
    schedule=None,
    catchup=False,
    tags=["example", "jimeng"],
    doc_md=__doc__,
    params={
        "media": Param(MEDIA, type="string", title="Folder of the images and template videos"),
        "images": Param(12, type="integer", minimum=1, title="Number of images"),
        "videos": Param(2, type="integer", minimum=1, title="Number of template videos"),
        "output": Param(f"{OUTPUT}/mapped", type="string", title="Folder for the results"),
    },
):

    @task
    def items(params: dict) -> list[dict[str, str]]:
        """Pair each image with a template video, and name its result."""
        return [
            {
                "image_url": f"{params['media']}/character-{number:02d}.png",
                "video_url": f"{params['media']}/motion-{number % params['videos']:02d}.mp4",
                "output": f"{params['output']}/character-{number:02d}.mp4",
            }
            for number in range(params["images"])
        ]

    # [START howto_jimeng_mapped]
    JimengMotionImitationOperator.partial(
        task_id="imitate",
        map_index_template="{{ task.output_uri.rpartition('/')[2] }}",
    ).expand_kwargs(items())
    # [END howto_jimeng_mapped]
