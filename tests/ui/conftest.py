# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Fixtures of the tests of the tab.

Those in a browser need a Chromium, as the gallery's do (see tests/bulk/conftest.py): where there is none
they are deselected, and with JIMENG_REQUIRE_CHROMIUM set that is an error instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bulk.chromium import chromium_path
from tests.engine.conftest import airflow_template, start_stack
from tests.ui.auth import PerDagAuthManager
from tests.ui.rows import Rows

__all__ = ["airflow_template", "start_stack"]

_IN_A_BROWSER = ("test_page_in_a_browser.py", "test_tab_in_airflow.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if chromium_path() is not None:
        return
    if os.environ.get("JIMENG_REQUIRE_CHROMIUM"):
        raise pytest.UsageError("JIMENG_REQUIRE_CHROMIUM is set, and there is no Chromium on PATH")
    without = [item for item in items if item.path.name not in _IN_A_BROWSER]
    config.hook.pytest_deselected(items=[item for item in items if item not in without])
    items[:] = without


@pytest.fixture
def manager(airflow_metadata: str, monkeypatch: pytest.MonkeyPatch) -> PerDagAuthManager:
    """Return the auth manager that Airflow asks during the test."""
    from airflow.api_fastapi import app
    from airflow.configuration import conf

    assert airflow_metadata
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "only-for-tests-" * 6)
    assert conf.get("api_auth", "jwt_secret").startswith("only-for-tests")
    made = PerDagAuthManager()
    if hasattr(app, "_AuthManagerState"):
        monkeypatch.setattr(app._AuthManagerState, "instance", made)
    else:  # Airflow 3.1
        monkeypatch.setattr(app, "auth_manager", made)
    return made


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Return what puts rows of a run into a ledger of the test's own."""
    return Rows(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "out")
