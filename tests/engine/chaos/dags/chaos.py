# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The four ways to run items that the chaos harness strikes; their items come with the run's conf."""

from __future__ import annotations

from airflow.sdk import DAG, task, task_group
from airflow_provider_jimeng.operators.jimeng import (
    JimengBatchOperator,
    JimengLandResultOperator,
    JimengMotionImitationOperator,
    JimengSubmitTaskOperator,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor


@task(retries=5)
def items(dag_run=None) -> list[dict[str, str]]:
    """Return the items of the run: dicts with image_url, video_url and output."""
    return dag_run.conf["items"]


with DAG(dag_id="chaos_blocks", schedule=None, catchup=False):

    @task_group
    def one_item(image_url: str, video_url: str, output: str) -> None:
        """Submit, wait and land one item."""
        submit = JimengSubmitTaskOperator(task_id="submit", image_url=image_url, video_url=video_url)
        wait = JimengTaskSensor(task_id="wait", task=submit.output)
        JimengLandResultOperator(task_id="land", task=wait.output, output=output)

    one_item.expand_kwargs(items())

with DAG(dag_id="chaos_mapped", schedule=None, catchup=False):
    JimengMotionImitationOperator.partial(task_id="imitate").expand_kwargs(items())

for waiting in ("worker", "deferred"):
    with DAG(dag_id=f"chaos_{waiting}", schedule=None, catchup=False):
        JimengBatchOperator(
            task_id="imitate",
            manifest="{{ dag_run.conf['manifest'] }}",
            output="{{ dag_run.conf['output'] }}",
            deferrable=waiting == "deferred",
        )
