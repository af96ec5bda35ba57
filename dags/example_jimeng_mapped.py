# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Some dozens of items by dynamic task mapping: a row per item in the grid, and never more tasks than slots.

While no slot of the account is free an item waits in the triggerer: it holds no worker, and the vendor isn't
asked. The images and the template videos are parameters of the run: "Trigger" has a form for them.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Param, task
from airflow_provider_jimeng.operators.jimeng import JimengMotionImitationOperator

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")

COLOURS = ("amber", "blue", "coral", "jade", "violet", "slate", "rose", "teal", "gold", "olive")
MOTIONS = ("wave", "jump", "walk")

with DAG(
    dag_id="example_jimeng_mapped",
    schedule=None,
    tags=["jimeng"],
    doc_md=__doc__,
    params={
        "images": Param(
            [f"{MEDIA}/character-{n + 1:02d}-{COLOURS[n % len(COLOURS)]}.png" for n in range(12)],
            type="array",
            items={"type": "string"},
            minItems=1,
            title="Images",
            description="One URL per line; a result is named after its image.",
        ),
        "videos": Param(
            [f"{MEDIA}/template-{n + 1:02d}-{motion}.mp4" for n, motion in enumerate(MOTIONS)],
            type="array",
            items={"type": "string"},
            minItems=1,
            title="Template videos",
            description="One URL per line; the images take them in turn.",
        ),
        "output": Param(f"{OUTPUT}/mapped", type="string", title="Folder for the results"),
    },
):

    @task
    def items(**context: Any) -> list[dict[str, str]]:
        """Pair each image with a template video, and name its result."""
        params = context["params"]
        paired = []
        for number, image in enumerate(params["images"]):
            name = image.partition("?")[0].rpartition("/")[2].rsplit(".", 1)[0]
            paired.append(
                {
                    "image_url": image,
                    "video_url": params["videos"][number % len(params["videos"])],
                    "output": f"{params['output']}/{name}.mp4",
                }
            )
        return paired

    # [START howto_jimeng_mapped]
    JimengMotionImitationOperator.partial(
        task_id="imitate",
        map_index_template="{{ task.output_uri.rpartition('/')[2] }}",
    ).expand_kwargs(items())
    # [END howto_jimeng_mapped]
