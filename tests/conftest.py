# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What every test stands on: an Airflow home of its own, no way off this machine, a database server on demand.

The environment is set while this file is imported, since Airflow reads it once, at its first import.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import LoopbackGuard
from tests.order import place
from tests.postgres import Databases, PostgresServer

if "airflow" in sys.modules:
    raise RuntimeError("airflow was imported before tests/conftest.py could give it a home of its own")

_HOME = Path(tempfile.mkdtemp(prefix="jimeng-airflow-home-"))
_OWNER = os.getpid()


def _remove_home() -> None:
    # A forked child of a test inherits this hook, but not the folder.
    if os.getpid() == _OWNER:
        shutil.rmtree(_HOME, ignore_errors=True)


atexit.register(_remove_home)

#: Settings of the developer's own that must not steer a test, or be reached by one.
_FOREIGN = ("AIRFLOW_", "VOLC_", "VOLCENGINE_", "JIMENG_LEDGER", "AWS_", "GOOGLE_", "NETRC")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy")
for _name in list(os.environ):
    if _name.startswith(_FOREIGN) or _name.lower() in _PROXIES:
        del os.environ[_name]

(_HOME / "dags").mkdir()
os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NETRC": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the files that take longest begin first."""
    items.sort(key=lambda item: place(item.path.relative_to(config.rootpath)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name what gzip made by its argument: it holds the clock, and two processes must agree on names."""
    return argname if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Return the folder that Airflow calls home in this test run."""
    return _HOME


@pytest.fixture(scope="session")
def airflow_metadata(airflow_home: Path) -> str:
    """Return the URL of the home's metadata database with Airflow's tables in it, for ``dag.test()``."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, cwd=airflow_home, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    return os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


@pytest.fixture(autouse=True)
def _no_earlier_ledger() -> None:
    # Each test has a ledger of its own; what the home remembers of an earlier one would stop its submits.
    shutil.rmtree(_HOME / ".jimeng", ignore_errors=True)


@pytest.fixture(autouse=True)
def _process_context() -> Iterator[None]:
    """Forget what a command, or a page of the api-server, says of its process, as its end would."""
    name = "_AIRFLOW_PROCESS_CONTEXT"
    before = os.environ.get(name)
    yield
    if before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = before


@pytest.fixture(scope="session", autouse=True)
def _loopback_guard() -> Iterator[LoopbackGuard]:
    guard = LoopbackGuard()
    guard.install()
    yield guard
    guard.uninstall()


@pytest.fixture(autouse=True)
def _no_outside_traffic(_loopback_guard: LoopbackGuard) -> Iterator[None]:
    _loopback_guard.refused.clear()
    yield
    assert not _loopback_guard.refused, f"tried to leave this machine: {_loopback_guard.refused}"


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[Databases]:
    """Yield the maker of databases on the run's PostgreSQL server, which the first who asks starts."""
    given = os.environ.get("JIMENG_TEST_POSTGRES_URL")
    server = None if given else PostgresServer().start()
    databases = Databases(given if server is None else server.url)  # type: ignore[arg-type]
    try:
        yield databases
        databases.drop_all()
    finally:
        if server is not None:
            server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres_databases: Databases) -> str:
    """Return the URL of a database (``postgresql+psycopg2://``) that this test session shares."""
    return postgres_databases.create("session")


@pytest.fixture
def postgres_database(postgres_databases: Databases) -> Iterator[str]:
    """Yield the URL of a fresh database for one test."""
    url = postgres_databases.create("test")
    yield url
    postgres_databases.drop(url)
