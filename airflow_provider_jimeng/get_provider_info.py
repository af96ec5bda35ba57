# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Provider metadata for Airflow's providers manager."""

from __future__ import annotations

from typing import Any

from airflow_provider_jimeng.hooks.metadata import CONFIGURATION, CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR


def get_provider_info() -> dict[str, Any]:
    """Return the metadata that Airflow reads from the ``apache_airflow_provider`` entry point."""
    return {
        "package-name": "airflow-provider-jimeng",
        "name": "Volcengine Jimeng",
        "description": "Volcengine Jimeng motion imitation (即梦AI 动作模仿).",
        "connection-types": [
            {
                "connection-type": "volcengine",
                "hook-class-name": "airflow_provider_jimeng.hooks.volcengine.VolcengineHook",
                "hook-name": "Volcengine",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
        "config": CONFIGURATION,
    }
