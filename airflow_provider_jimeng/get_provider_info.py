# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Provider metadata for Airflow's providers manager."""

from __future__ import annotations

from typing import Any

from airflow_provider_jimeng.hooks.metadata import CONFIGURATION, CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR

_PACKAGE = "airflow_provider_jimeng"
_INTEGRATION = "Volcengine Jimeng"


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.{name}" for name in names]}


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
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://www.volcengine.com/docs/85621",
                "tags": ["service"],
            }
        ],
        "operators": [_modules("operators.jimeng")],
        "sensors": [_modules("sensors.jimeng")],
        "hooks": [_modules("hooks.volcengine", "hooks.jimeng", "hooks.recovery")],
        "triggers": [_modules("triggers.jimeng", "triggers.slots", "triggers.bulk")],
        "extra-links": [
            f"{_PACKAGE}.links.jimeng.JimengResultLink",
            f"{_PACKAGE}.links.jimeng.JimengReportLink",
        ],
        "config": CONFIGURATION,
        # Airflow 3.1 passes over this; there they are `python -m airflow_provider_jimeng` only.
        "cli": [f"{_PACKAGE}.cli.definition.get_jimeng_cli_commands"],
    }
