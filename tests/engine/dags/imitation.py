# Licensed under the Apache License, Version 2.0. See LICENSE.
"""DAGs of the tests that run motion imitation on real components; their items come with the run's conf."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

from airflow.sdk import DAG, task, task_group
from airflow_provider_jimeng.operators.jimeng import (
    JimengBatchOperator,
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
def without_output(given: Any) -> list[dict[str, str]]:
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
    def places(given: Any, results: Any) -> list[dict[str, object]]:
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

with DAG(
    dag_id="imitation_daily",
    schedule="@daily",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=4,
):
    # The inputs are the day's, so that a day is paid for once however often it is run.
    JimengMotionImitationOperator(
        task_id="imitate",
        image_url="{{ var.value.imitation_media }}/day-{{ ds }}.png",
        video_url="{{ var.value.imitation_media }}/day.mp4",
        output="{{ var.value.imitation_output }}/{{ ds }}.mp4",
    )

for waiting in ("worker", "deferred"):
    with DAG(dag_id=f"imitation_batch_{waiting}", schedule=None, catchup=False):
        JimengBatchOperator(
            task_id="imitate",
            manifest=items(),
            output="{{ dag_run.conf['output'] }}",
            deferrable=waiting == "deferred",
        )


def presigned(url: str, name: str) -> str:
    """Return a presigned URL; its secrets are computed, since Airflow stores the source of this file."""
    signature, key = (hashlib.sha256(part).hexdigest() for part in (b"signature", b"key"))
    return (
        f"{url}/media/{name}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={key}&X-Amz-Date=20261122T000000Z"
        f"&X-Amz-Expires=43200&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
    )


with DAG(
    dag_id="imitation_presigned",
    schedule=None,
    catchup=False,
    user_defined_macros={"presigned": presigned},
):
    IMAGE = "{{ presigned(dag_run.conf.media, 'a.png') }}"
    VIDEO = "{{ presigned(dag_run.conf.media, 'b.mp4') }}"
    signed = JimengSubmitTaskOperator(task_id="submit", image_url=IMAGE, video_url=VIDEO)
    result = JimengTaskSensor(task_id="wait", task=signed.output)
    JimengLandResultOperator(task_id="land", task=result.output, output="{{ dag_run.conf.output }}")
    JimengMotionImitationOperator(
        task_id="imitate",
        image_url=IMAGE,
        video_url=VIDEO,
        variant=1,
        output="{{ dag_run.conf.output }}.all-in-one.mp4",
    )
    # Airflow renders a mapped task's arguments by another way.
    JimengMotionImitationOperator.partial(
        task_id="mapped", image_url=IMAGE, video_url=VIDEO, variant=3
    ).expand(output=["{{ dag_run.conf.output }}.mapped.mp4"])
    # A verdict that fails the task, so that an exception and its traceback are looked at too.
    JimengMotionImitationOperator(
        task_id="refused",
        image_url=IMAGE,
        video_url=VIDEO,
        variant=2,
        req_key="jimeng_dreamactor_m20_gen_video",
        output="{{ dag_run.conf.output }}.refused.mp4",
        retries=0,
    )
