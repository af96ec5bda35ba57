# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What an installation is, and which things of Airflow it has: ``python probe.py`` prints JSON.

Run by a row's own interpreter, as a file, from a folder without this project's sources.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

NAMES = {
    "airflow": "apache-airflow",
    "task_sdk": "apache-airflow-task-sdk",
    "common_compat": "apache-airflow-providers-common-compat",
    "sqlalchemy": "sqlalchemy",
    "aiohttp": "aiohttp",
    "requests": "requests",
    "pendulum": "pendulum",
    "provider": "airflow-provider-jimeng",
}
#: Where a thing of Airflow's is that this provider uses where it is: module, and a dotted name in it.
FEATURES = {
    "cli": ("airflow.providers_manager", "ProvidersManager.cli_command_functions"),
    "form": ("airflow.providers_manager", "ProvidersManager._load_ui_metadata"),
    "retry_policy": ("airflow.sdk", "RetryPolicy"),
    "task_state": ("airflow.sdk.execution_time.context", "TaskStateStoreAccessor"),
    "async_connection": ("airflow.sdk", "Connection.aextra_dejson"),
    "on_kill": ("airflow.triggers.base", "BaseTrigger.on_kill"),
    "external_views": ("airflow.plugins_manager", "AirflowPlugin.external_views"),
    "async_operator": ("airflow.sdk.bases.operator", "BaseAsyncOperator"),
}


def has(module: str, dotted: str) -> bool:
    """Tell whether a module has a name, or a class of it an attribute."""
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return False
    for name in dotted.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


def main() -> None:
    package = importlib.import_module("airflow_provider_jimeng")
    told = {
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(found) for name, found in NAMES.items()},
        "features": {name: has(*where) for name, where in FEATURES.items()},
        "from": Path(package.__file__ or "").resolve().parent.as_posix(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
