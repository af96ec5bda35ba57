# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Where the api-server sees no ledger, a person is told so, and no secret with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.exceptions import JimengConfigurationError
from airflow_provider_jimeng.ui.desk import NoBooks, open_desk

if TYPE_CHECKING:
    from tests.ui.rows import Rows


def test_a_ledger_on_this_machine_is_told_to_be_local(rows: Rows):
    assert rows.bench.ledger.uuid
    desk = open_desk(lambda: rows.bench.url)
    assert desk.local
    assert desk.place.startswith("sqlite://")


def test_a_ledger_on_a_server_is_not_local(postgres_database: str):
    from airflow_provider_jimeng.ledger.store import Ledger

    assert Ledger.open(postgres_database).uuid
    assert not open_desk(lambda: postgres_database).local


def test_where_none_was_made_none_is_made(tmp_path: Path):
    with pytest.raises(NoBooks, match="If your tasks run on other machines"):
        open_desk(lambda: f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_would_look_at_the_wrong_file_is_told():
    def refuse() -> str:
        raise JimengConfigurationError("The ledger is a SQLite file, but CeleryExecutor runs tasks elsewhere")

    with pytest.raises(NoBooks, match="can't open the ledger.*CeleryExecutor"):
        open_desk(refuse)


def test_a_secrets_backend_that_fails_is_told_without_its_words():
    def fail() -> str:
        raise RuntimeError("vault said: password=hush")

    with pytest.raises(NoBooks) as told:
        open_desk(fail)
    assert "RuntimeError" in told.value.words
    assert "hush" not in told.value.words
