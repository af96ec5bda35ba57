# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A manifest of any length as one task: manifest, batch, an asset with the summary, and a DAG that follows it.

Run it again, clear it, or give the same manifest to another DAG: what is paid for is found, and paid once.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Asset, Param, task
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")

COLOURS = ("amber", "blue", "coral", "jade", "violet", "slate", "rose", "teal", "gold", "olive")
MOTIONS = ("wave", "jump", "walk")

videos = Asset(name="jimeng_bulk_videos", uri="x-jimeng://example/bulk")

with DAG(
    dag_id="example_jimeng_bulk_manifest",
    schedule=None,
    tags=["example", "jimeng"],
    doc_md=__doc__,
    params={
        "count": Param(24, type="integer", minimum=1, maximum=100_000, title="Items"),
        "output": Param(f"{OUTPUT}/bulk", type="string", title="Folder for the results"),
    },
):

    @task
    def manifest(**context: Any) -> list[dict[str, Any]]:
        """Pair images with template videos; a real one is a file that an upstream system writes."""
        lines = []
        for number in range(context["params"]["count"]):
            figure, motion = number % 12, number // 12 % len(MOTIONS)
            lines.append(
                {
                    "id": f"item-{number + 1:05d}",
                    "image": f"{MEDIA}/character-{figure + 1:02d}-{COLOURS[figure % len(COLOURS)]}.png",
                    "video": f"{MEDIA}/template-{motion + 1:02d}-{MOTIONS[motion]}.mp4",
                    # Every pair once, then once more as another take.
                    "variant": number // 36,
                }
            )
        return lines

    # [START howto_jimeng_bulk]
    JimengBatchOperator(
        task_id="imitate",
        manifest=manifest(),
        output="{{ params.output }}",
        tolerance=0.02,
        on_invalid="skip",
        budget=500,
        outlets=[videos],
    )
    # [END howto_jimeng_bulk]

with DAG(
    dag_id="example_jimeng_bulk_downstream",
    schedule=[videos],
    tags=["example", "jimeng"],
    doc_md="Follows the asset: its event carries the summary of the run.",
):

    @task(inlets=[videos])
    def look(**context: Any) -> str:
        """Read the summary off the asset's latest event."""
        summary = context["inlet_events"][videos][-1].extra
        return f"{summary['landed']} new, {summary['reused']} known: {summary['gallery_uri']}"

    look()
