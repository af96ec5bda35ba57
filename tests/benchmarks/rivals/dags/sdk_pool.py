# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Rival (a): the official SDK in a thread pool, as one Python task.

As many threads as slots; each submits, asks every 5 seconds and downloads, then takes the next item. The task
has 3 retries; an item whose file exists is done. Task ids are kept in memory only.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from tests.benchmarks.rivals.theirs.vendor import POLL_SECONDS, download, result_url, service, submit


def one(item: dict[str, str]) -> None:
    """Make one item, from the submit to the file."""
    if Path(item["output"]).exists():
        return
    task_id = submit(item["image_url"], item["video_url"])
    while (url := result_url(task_id)) is None:
        time.sleep(POLL_SECONDS)
    download(url, item["output"])


def all_of_them(dag_run=None) -> None:
    """Make all items; fail at the end if one could not be made."""
    service()
    errors = []
    with ThreadPoolExecutor(dag_run.conf["slots"]) as pool:
        for future in [pool.submit(one, item) for item in dag_run.conf["items"]]:
            if (error := future.exception()) is not None:
                errors.append(str(error))
    if errors:
        raise RuntimeError(f"{len(errors)} items failed: {errors[:3]}")


with DAG(dag_id="rivals_sdk_pool", schedule=None, catchup=False):
    PythonOperator(task_id="generate", python_callable=all_of_them, retries=3)
