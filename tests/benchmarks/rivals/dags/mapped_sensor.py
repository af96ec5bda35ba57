# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Rival (b): a mapped group of a submit task, a sensor that gives its worker back, and a download.

The sensor pokes every 5 seconds in mode reschedule. At most 4 submits run at once, since one that is told
50430 waits on its worker, and what is done goes before what is new: so waiting submits never keep the sensors
out. Every task has 3 retries; an item whose file exists is skipped. Task ids are where Airflow keeps them, in
the submit's XCom.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, PokeReturnValue, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from tests.benchmarks.rivals.theirs.vendor import POLL_SECONDS, download, result_url, submit

SUBMITS_AT_ONCE = 4


@task
def items(dag_run=None) -> list[dict[str, str]]:
    """Return the items of the run."""
    return dag_run.conf["items"]


@task(retries=3, max_active_tis_per_dagrun=SUBMITS_AT_ONCE, priority_weight=1, weight_rule="absolute")
def send(image_url: str, video_url: str, output: str) -> str:
    """Submit one item and return its task id."""
    if Path(output).exists():
        raise AirflowSkipException(f"{output} is there")
    return submit(image_url, video_url)


@task.sensor(
    retries=3,
    mode="reschedule",
    poke_interval=POLL_SECONDS,
    timeout=11 * 3600,
    priority_weight=2,
    weight_rule="absolute",
)
def wait(task_id: str) -> PokeReturnValue:
    """Tell whether the task is done, and where its result is."""
    url = result_url(task_id)
    return PokeReturnValue(is_done=url is not None, xcom_value=url)


@task(retries=3, priority_weight=3, weight_rule="absolute")
def land(url: str, output: str) -> None:
    """Store the result."""
    download(url, output)


with DAG(dag_id="rivals_mapped_sensor", schedule=None, catchup=False):

    @task_group
    def one_item(image_url: str, video_url: str, output: str) -> None:
        """Submit, wait and store one item."""
        task_id: Any = send(image_url, video_url, output)
        url: Any = wait(task_id)
        land(url, output)

    one_item.expand_kwargs(items())
