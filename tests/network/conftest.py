# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A vendor with room for everything, and a proxy in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.ledger import engine

from tests.network.kit import Way, ledger_in, settings_to
from tests.network.proxy import Proxy, proxying


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=None, duration=60.0, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def proxy(emu: Emulator) -> Iterator[Proxy]:
    with proxying(emu.port) as made:
        yield made


@pytest.fixture
def way(proxy: Proxy, tmp_path: Path) -> Iterator[Way]:
    """Yield the product's way to the vendor, through the proxy."""
    made = Way(ledger_in(tmp_path), settings_to(proxy.url))
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)
