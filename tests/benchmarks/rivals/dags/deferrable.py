# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Rivals (c) and (d): the hand-rolled deferrable operator, mapped.

A pool with as many slots as the account, in which deferred tasks count, keeps it from submitting more than
the vendor takes. 3 retries; an item whose file exists is done.
"""

from __future__ import annotations

from airflow.sdk import DAG, task

from tests.benchmarks.rivals.theirs.deferrable import MotionOperator

for name, durable in (("deferrable", False), ("durable", True)):
    with DAG(dag_id=f"rivals_{name}", schedule=None, catchup=False):

        @task
        def items(dag_run=None) -> list[dict[str, str]]:
            """Return the items of the run."""
            return [{"path": each.pop("output"), **each} for each in dag_run.conf["items"]]

        MotionOperator.partial(
            task_id="generate", durable=durable, retries=3, pool="rivals_slots"
        ).expand_kwargs(items())
