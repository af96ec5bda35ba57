# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The provider's three ways; each has an account of its own, and so nothing of what another has done."""

from __future__ import annotations

from airflow.sdk import DAG, task
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator, JimengMotionImitationOperator

for mode in ("worker", "deferred"):
    with DAG(dag_id=f"rivals_{mode}", schedule=None, catchup=False):
        JimengBatchOperator(
            task_id="imitate",
            manifest="{{ dag_run.conf['manifest'] }}",
            output="{{ dag_run.conf['output'] }}",
            deferrable=mode == "deferred",
            volcengine_conn_id=f"rivals_{mode}",
        )

for name, pool in (("mapped", "default_pool"), ("mapped_pool", "rivals_slots")):
    with DAG(dag_id=f"rivals_{name}", schedule=None, catchup=False):

        @task
        def items(dag_run=None) -> list[dict[str, str]]:
            """Return the items of the run."""
            return dag_run.conf["items"]

        JimengMotionImitationOperator.partial(
            task_id="imitate", pool=pool, volcengine_conn_id=f"rivals_{name}"
        ).expand_kwargs(items())
