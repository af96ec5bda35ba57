# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A person says yes before a large spend: plan, approval, batch.

The plan sends nothing and pays nothing: it asks the ledger what the manifest would cost. Whoever approves
reads that under *Required Actions*; after *Reject* the batch is skipped. Set `price_per_second` in the
connection, and the plan has a price. A run that waits holds no worker, and since Airflow 3.3 no triggerer.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, task
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")

COLOURS = ("amber", "blue", "coral", "jade", "violet", "slate", "rose", "teal", "gold", "olive")

with DAG(
    dag_id="example_jimeng_approval",
    schedule=None,
    tags=["example", "jimeng"],
    doc_md=__doc__,
    params={
        "count": Param(6, type="integer", minimum=1, maximum=12, title="Items"),
        "variant": Param(0, type="integer", minimum=0, title="Take"),
        "output": Param(f"{OUTPUT}/approval", type="string", title="Folder for the results"),
    },
):

    @task
    def manifest(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Write the manifest; a real one is a file that an upstream system writes."""
        given = params or {}
        return [
            {
                "id": f"item-{number + 1:03d}",
                "image": f"{MEDIA}/character-{number + 1:02d}-{COLOURS[number % len(COLOURS)]}.png",
                "video": f"{MEDIA}/template-03-walk.mp4",
                "variant": given["variant"],
            }
            for number in range(given["count"])
        ]

    items = manifest()

    # [START howto_jimeng_approval]
    plan = JimengBatchOperator(task_id="plan", manifest=items, output="{{ params.output }}", dry_run=True)
    approve = ApprovalOperator(
        task_id="approve",
        subject="Pay for {{ ti.xcom_pull(task_ids='plan')['new'] }} new clips?",
        body="""\
{% set plan = ti.xcom_pull(task_ids='plan') %}{% set estimate = plan['estimate'] %}
| | |
|---|---|
| items | {{ plan['total'] }} |
| new, to be paid for | {{ plan['new'] }} |
| there already, or on their way | {{ plan['reused'] + plan['in_flight'] }} |
| to be looked at | {{ plan['unknown'] + plan['failed'] + plan['expired'] + plan['invalid'] }} |
| seconds of video, about | {{ estimate['video_seconds'] }} |
| cost, about | {{ 'unknown: no price_per_second' if estimate['cost'] is none else estimate['cost'] }} |
""",
    )
    imitate = JimengBatchOperator(
        task_id="imitate", manifest=items, output="{{ params.output }}", budget=500, deferrable=True
    )
    plan >> approve >> imitate
    # [END howto_jimeng_approval]
