# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Each contract test runs on SQLite and on PostgreSQL.

With ``JIMENG_TEST_MYSQL_URL`` (a server on which databases may be created) it also runs on MySQL or MariaDB,
which no package of the test environment brings along.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Engine, make_url

from airflow_provider_jimeng.ledger import engine

from tests.ledger.kit import Bench

MYSQL = os.environ.get("JIMENG_TEST_MYSQL_URL")
DATABASES = ("sqlite", "postgres", *(("mysql",) if MYSQL else ()))


def _new_mysql_database() -> str:
    server = make_url(str(MYSQL))
    name = f"jimeng_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server)
    with admin.begin() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def mysql_url() -> str:
    """Return the URL of a database on the MySQL server that this test session shares."""
    return _new_mysql_database()


@pytest.fixture
def mysql_database() -> str:
    """Return the URL of a fresh database for one test."""
    return _new_mysql_database()


@pytest.fixture(params=DATABASES)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a ledger on each kind of database; tests share the one on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database of each kind in which there is nothing yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return str(request.getfixturevalue(f"{request.param}_database"))


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test opened: from Python 3.13 on, a SQLite connection that nobody closed is a warning."""
    made, usual = [], engine._engine

    def remembered(url: URL) -> Engine:
        made.append(usual(url))
        return made[-1]

    monkeypatch.setattr(engine, "_engine", remembered)
    yield
    for each in made:
        each.dispose()


@pytest.fixture
def bench(ledger_url: str) -> Iterator[Bench]:
    made = Bench(ledger_url)
    yield made
    made.ledger.close()
