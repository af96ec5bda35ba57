# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.kit import Bench

DATABASES = ("sqlite", "postgres")


@pytest.fixture(params=DATABASES)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a ledger on each kind of database; tests share the one on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database of each kind in which there is nothing yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def bench(ledger_url: str) -> Iterator[Bench]:
    made = Bench(ledger_url)
    yield made
    made.ledger.close()
