# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A manifest a day, into a folder a day: a backfill pays for days that are new, a reprocessed one for nothing.

What is paid for is named by its inputs, not by the run: whichever day wants it again finds it.
"""

from __future__ import annotations

import datetime
import os
from typing import Any

from airflow.sdk import DAG, task
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")

COLOURS = ("amber", "blue", "coral", "jade", "violet", "slate", "rose", "teal", "gold", "olive")
ITEMS_A_DAY = 2

with DAG(
    dag_id="example_jimeng_backfill",
    schedule="@daily",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    # Runs share the account's slots in any case; more of them at once only makes all of them late.
    max_active_runs=2,
    tags=["example", "jimeng"],
    doc_md=__doc__,
):
    # [START howto_jimeng_backfill]
    @task
    def manifest(ds: str | None = None) -> list[dict[str, Any]]:
        """Return the day's items; a real one reads what an upstream system wrote for that day."""
        day = datetime.date.fromisoformat(ds or datetime.date.today().isoformat()).toordinal()
        lines = []
        for number in range(ITEMS_A_DAY * day, ITEMS_A_DAY * (day + 1)):
            name = f"{number % 12 + 1:02d}-{COLOURS[number % 12 % len(COLOURS)]}"
            lines.append(
                {
                    "id": f"character-{name}",
                    "image": f"{MEDIA}/character-{name}.png",
                    "video": f"{MEDIA}/template-01-wave.mp4",
                }
            )
        return lines

    JimengBatchOperator(
        task_id="imitate",
        manifest=manifest(),
        output=f"{OUTPUT}/backfill/{{{{ ds }}}}",
        deferrable=True,
    )
    # [END howto_jimeng_backfill]
