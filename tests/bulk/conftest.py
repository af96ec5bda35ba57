# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The tests of the gallery need a Chromium, which comes from the system and not from pip.

Where there is none they are deselected, which pytest counts; with JIMENG_REQUIRE_CHROMIUM set, as
.ci/run has it, that is an error instead.
"""

from __future__ import annotations

import os

import pytest

from tests.bulk.chromium import chromium_path

_IN_A_BROWSER = "test_report_page.py"


def pytest_report_header() -> str:
    return f"chromium: {chromium_path() or 'none (apt-get install chromium): the gallery is not looked at'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if chromium_path() is not None:
        return
    if os.environ.get("JIMENG_REQUIRE_CHROMIUM"):
        raise pytest.UsageError("JIMENG_REQUIRE_CHROMIUM is set, and there is no Chromium on PATH")
    without = [item for item in items if item.path.name != _IN_A_BROWSER]
    config.hook.pytest_deselected(items=[item for item in items if item not in without])
    items[:] = without
