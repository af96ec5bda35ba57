# Licensed under the Apache License, Version 2.0. See LICENSE.
"""DAGs of the measurements; manifest and output come with the run's conf."""

from __future__ import annotations

from airflow.sdk import DAG, task
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator, JimengMotionImitationOperator

for mode in ("worker", "deferred"):
    for twin in ("", "_twin"):
        with DAG(dag_id=f"bench_{mode}{twin}", schedule=None, catchup=False):
            JimengBatchOperator(
                task_id="imitate",
                manifest="{{ dag_run.conf['manifest'] }}",
                output="{{ dag_run.conf['output'] }}",
                deferrable=mode == "deferred",
            )

with DAG(dag_id="bench_mapped", schedule=None, catchup=False):

    @task
    def items(dag_run=None) -> list[dict[str, str]]:
        """Return the items of the run."""
        return dag_run.conf["items"]

    JimengMotionImitationOperator.partial(task_id="imitate").expand_kwargs(items())
