# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on DAGs: its DAGs load, and its tables are the signatures."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from airflow.dag_processing.dagbag import DagBag
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.operators import jimeng
from airflow_provider_jimeng.operators.base import SubmittingOperator
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.docs.pages import code_blocks, names, page, rows, section

TEXT = page("docs/writing-dags.md")
DAGS = [code for code in code_blocks(TEXT, "python") if "DAG(" in code]
#: Told in a sentence below the tables, since all of them take these.
COMMON = {"volcengine_conn_id", "retries", "retry_delay"}


@pytest.mark.parametrize("code", DAGS, ids=range(len(DAGS)))
def test_a_dag_in_the_page_loads(code: str, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(code)

    bag = DagBag(tmp_path / "shown.py", bundle_path=tmp_path)

    assert bag.import_errors == {}
    assert len(bag.dags) == 1


def test_there_are_dags_and_no_other_code() -> None:
    assert len(DAGS) == len(code_blocks(TEXT, "python")) == 3


def signature(cls: type) -> dict[str, Any]:
    """Return the arguments that a class adds, with their defaults."""
    parameters = inspect.signature(inspect.unwrap(cls.__init__)).parameters.values()  # type: ignore[misc]
    kept = [each for each in parameters if each.kind is each.KEYWORD_ONLY and each.name not in COMMON]
    return {each.name: each.default for each in kept}


def table(heading: str, number: int = 0) -> dict[str, str]:
    text = section(TEXT, heading)
    for _ in range(number):
        before = rows(text)[-1][-1]
        text = text[text.index(before) + len(before) :].partition("\n\n")[2]
    return {names(name)[0]: default.strip("`") for name, default, _ in rows(text)}


@pytest.mark.parametrize(
    ("heading", "number", "cls"),
    [
        ("### Submitting", 0, SubmittingOperator),
        ("### Submitting", 1, jimeng.JimengMotionImitationOperator),
        ("### Waiting: `JimengTaskSensor`", 0, JimengTaskSensor),
        ("### Landing: `JimengLandResultOperator`", 0, jimeng.JimengLandResultOperator),
    ],
)
def test_a_table_of_arguments_is_the_signature(heading: str, number: int, cls: type) -> None:
    told = table(heading, number)
    found = {
        name: "" if default is inspect.Parameter.empty else repr(default)
        for name, default in signature(cls).items()
    }

    assert told == found


def test_the_methods_of_the_hook_exist() -> None:
    for cell, _ in rows(
        section(TEXT, "## From a `@task`").partition("| method")[1]
        + section(TEXT, "## From a `@task`").partition("| method")[2]
    ):
        for call in names(cell):
            name, _, arguments = call.partition("(")
            parameters = inspect.signature(getattr(JimengHook, name)).parameters
            assert [word.strip() for word in arguments.rstrip(")").split(",")] == list(parameters)[
                1 : 1 + arguments.count(",") + 1
            ]


def test_the_submit_operator_takes_what_its_base_takes() -> None:
    assert signature(jimeng.JimengSubmitTaskOperator) == signature(SubmittingOperator)
