# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What tests have to know of Airflow's releases: names that have moved, and things that only some of them have.

This is the one place where a test may be left out, and it says why.

The release of ``constraints.txt`` has everything, so none is left out there (tests/structure holds it);
``make matrix`` runs the suite on the others, and its records name every test that was left out, and why.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

import pytest

AIRFLOW = tuple(int(part) for part in importlib.metadata.version("apache-airflow").split(".")[:3])


def moved(name: str, *modules: str) -> Any:
    """
    Return a name of Airflow's from the first of some modules that has it.

    :param modules: where it is, the newest release's first.
    """
    for module in modules[:-1]:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    return getattr(importlib.import_module(modules[-1]), name)


def providers_of_tasks() -> Any:
    """Return the manager of providers as tasks use it; before Airflow 3.2 there is one for all."""
    module = "airflow.sdk.providers_manager_runtime"
    if AIRFLOW < (3, 2):
        return moved("ProvidersManager", "airflow.providers_manager")()
    return moved("ProvidersManagerTaskRuntime", module)()


def since_airflow(release: str, why: str) -> Callable[[Any], Any]:
    """
    Mark a test, a class or a parameter that needs a release of Airflow.

    :param release: the first that has it, for example ``3.2`` or ``3.1.3``.
    :param why: what earlier releases lack, and what this provider does there instead.
    """
    first = tuple(int(part) for part in release.split("."))
    return pytest.mark.skipif(first > AIRFLOW, reason=f"Airflow {release} and later: {why}")
