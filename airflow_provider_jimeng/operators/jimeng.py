# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The operators that a DAG author imports."""

from __future__ import annotations

from airflow_provider_jimeng.operators.batch import JimengBatchOperator
from airflow_provider_jimeng.operators.land import JimengLandResultOperator
from airflow_provider_jimeng.operators.motion_imitation import JimengMotionImitationOperator
from airflow_provider_jimeng.operators.submit import JimengSubmitTaskOperator

__all__ = [
    "JimengBatchOperator",
    "JimengLandResultOperator",
    "JimengMotionImitationOperator",
    "JimengSubmitTaskOperator",
]
