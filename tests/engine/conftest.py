# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Fixtures of the tests that run real Airflow; every one of them is marked ``engine``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bulk.chromium import chromium_path
from tests.engine.airflow_stack import AirflowStack, make_template

if TYPE_CHECKING:
    from tests.postgres import Databases

HERE = Path(__file__).parent
#: DAG files of tests; DAG ids are to be told apart by the test's name, since one stack serves them all.
DAGS = HERE / "dags"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.timeout(600))
    if chromium_path() is None:
        # As in tests/bulk, where it is an error if JIMENG_REQUIRE_CHROMIUM is set.
        without = [item for item in items if not _is_in_a_browser(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in without])
        items[:] = without


def _is_in_a_browser(item: pytest.Item) -> bool:
    return item.path.is_relative_to(HERE) and item.name.endswith("in_a_browser")


@pytest.fixture(scope="session")
def airflow_template(postgres_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a migrated metadata database, to copy others from; made once per session."""
    return make_template(postgres_databases, tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def start_stack(
    postgres_databases: Databases, airflow_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., AirflowStack]]:
    """
    Yield a function that starts a stack with a database of its own, with the arguments of ``AirflowStack``.

    All stacks end with the session; a test that is done with its own stops it, two at once are slow.
    """
    stacks: list[AirflowStack] = []

    def start(dags_folder: Path = DAGS, **options: Any) -> AirflowStack:
        url = postgres_databases.create("metadata", template=airflow_template)
        stack = AirflowStack(tmp_path_factory.mktemp("airflow"), url, dags_folder, **options)
        stacks.append(stack)
        return stack.start(migrated=True)

    yield start
    for stack in stacks:
        stack.stop()


@pytest.fixture(scope="session")
def stack(start_stack: Callable[..., AirflowStack]) -> AirflowStack:
    """Return the stack that tests share which neither kill a component nor need settings of their own."""
    return start_stack()
