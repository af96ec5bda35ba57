# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_jimeng.emulator import Emulator
from airflow_provider_jimeng.emulator.sample_media import make_media

from tests.emulator.caller import CHEAP, Caller


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(CHEAP) as running:
        yield running


@pytest.fixture
def caller(emulator: Emulator) -> Caller:
    return Caller(emulator)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    make_media(folder, images=3, videos=3)
    return folder
