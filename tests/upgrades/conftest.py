# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.ledger import engine

from tests.golden import files
from tests.legs import bench
from tests.upgrades.kit import Upgraded

__all__ = ["bench"]

VERSIONS = files.versions()


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Return each version of which there is a golden set."""
    return str(request.param)


@pytest.fixture
def emu() -> Iterator[Emulator]:
    """Yield a vendor that sets no limit, as that of the golden sets."""
    with Emulator(EmulatorConfig(concurrency=None, duration=0.2, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def upgraded(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgraded]:
    """Yield an installation of that version, of which nothing but the provider's code was replaced."""
    made = Upgraded(version, tmp_path, monkeypatch)
    yield made
    made.close()
    engine._registry.databases.pop(made.bench.ledger_url, None)
