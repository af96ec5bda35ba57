# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Tests of what only some releases of Airflow have: the one place where a test may be left out, and it says why.

The release of ``constraints.txt`` has everything, so none is left out there (tests/structure holds it);
``make matrix`` runs the suite on the others, and its records name every test that was left out, with the reason.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import pytest

AIRFLOW = tuple(int(part) for part in importlib.metadata.version("apache-airflow").split(".")[:2])


def since_airflow(release: str, why: str) -> Callable[[Any], Any]:
    """
    Mark a test, a class or a parameter that needs a release of Airflow.

    :param release: the first that has it, for example ``3.2``.
    :param why: what earlier releases lack, and what this provider does there instead.
    """
    first = tuple(int(part) for part in release.split("."))
    return pytest.mark.skipif(AIRFLOW < first, reason=f"Airflow {release} and later: {why}")
