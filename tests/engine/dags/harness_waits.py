# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A DAG that defers and is mapped, and nothing else: for the harness's own tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.timezone import utcnow


class WaitInTheTriggerer(BaseOperator):
    """Wait in the triggerer for a number of seconds and return it."""

    template_fields = ("seconds",)

    def __init__(self, *, seconds: object, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds

    def execute(self, context: object) -> None:
        moment = utcnow() + timedelta(seconds=float(str(self.seconds)))
        self.defer(trigger=DateTimeTrigger(moment=moment), method_name="execute_complete")

    def execute_complete(self, context: object, event: object) -> str:
        return f"waited {self.seconds}"


with DAG("harness_waits", schedule=None, render_template_as_native_obj=False):
    one = WaitInTheTriggerer(task_id="one", seconds="{{ dag_run.conf.get('seconds', 1) }}", retries=2)
    many = WaitInTheTriggerer.partial(task_id="many", retries=2).expand(seconds=[1, 2, 3])
    one >> many
