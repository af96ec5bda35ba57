# Licensed under the Apache License, Version 2.0. See LICENSE.
"""DAGs of the tests that run motion imitation on real components; their items come with the run's conf."""

from __future__ import annotations

from airflow.sdk import DAG, task, task_group

from airflow_provider_jimeng.operators.jimeng import (
    JimengLandResultOperator,
    JimengMotionImitationOperator,
    JimengSubmitTaskOperator,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor


@task
def items(dag_run=None) -> list[dict[str, str]]:
    """Return the items of the run: dicts with image_url, video_url and output."""
    return dag_run.conf["items"]


@task
def without_output(given: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return what a submit takes of each item."""
    return [{"image_url": one["image_url"], "video_url": one["video_url"]} for one in given]


for twin in ("", "_twin"):
    with DAG(dag_id=f"imitation_mapped{twin}", schedule=None, catchup=False):
        JimengMotionImitationOperator.partial(task_id="imitate").expand_kwargs(items())

with DAG(dag_id="imitation_blocks", schedule=None, catchup=False):
    # Every submit has to end before the first sensor is mapped: slots come free without any watcher.
    given = items()
    submitted = JimengSubmitTaskOperator.partial(task_id="submit").expand_kwargs(without_output(given))
    done = JimengTaskSensor.partial(task_id="wait").expand(task=submitted.output)

    @task
    def places(given: list[dict[str, str]], results: list[dict[str, str]]) -> list[dict[str, object]]:
        """Pair results with where they go."""
        return [{"task": result, "output": one["output"]} for one, result in zip(given, results, strict=True)]

    JimengLandResultOperator.partial(task_id="land").expand_kwargs(places(given, done.output))

with DAG(dag_id="imitation_groups", schedule=None, catchup=False):

    @task_group
    def one_item(image_url: str, video_url: str, output: str) -> None:
        """Submit, wait and land one item."""
        submit = JimengSubmitTaskOperator(task_id="submit", image_url=image_url, video_url=video_url)
        wait = JimengTaskSensor(task_id="wait", task=submit.output)
        JimengLandResultOperator(task_id="land", task=wait.output, output=output)

    one_item.expand_kwargs(items())

with DAG(dag_id="imitation_submit_only", schedule=None, catchup=False):
    JimengSubmitTaskOperator(
        task_id="submit",
        image_url="{{ dag_run.conf['items'][0]['image_url'] }}",
        video_url="{{ dag_run.conf['items'][0]['video_url'] }}",
    )
