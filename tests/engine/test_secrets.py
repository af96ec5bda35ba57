# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A whole run at DEBUG level, with temporary credentials and presigned inputs, leaves no secret anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import MetaData, create_engine, select

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

if TYPE_CHECKING:
    from tests.engine.airflow_stack import AirflowStack
    from tests.postgres import Databases

TOKEN = "STS2-dGhpcy1pcy1hLXNlc3Npb24tdG9rZW4="
SIGNATURE = hashlib.sha256(b"signature").hexdigest()
PRESIGNER = hashlib.sha256(b"key").hexdigest()


def rows_with(url: str, needle: str) -> Iterator[str]:
    """Yield every table row of a database that holds a text, columns of all types included."""
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        for table in tables.sorted_tables:
            for row in connection.execute(select(table)):
                text = " ".join(
                    bytes(value).decode("latin-1") if isinstance(value, (bytes, memoryview)) else str(value)
                    for value in row
                )
                if needle in text:
                    yield f"{table.name}: {text[:300]}"
    engine.dispose()


def lines_with(path: Path, needle: str) -> Iterator[str]:
    """Yield where a text stands in a file, with what stands before it."""
    for line in path.read_text(errors="replace").splitlines():
        if needle in line:
            at = line.index(needle)
            yield f"{path.name}: {line[:120]} ... {line[max(0, at - 160) : at]}"


@pytest.fixture(scope="module")
def vendor() -> Iterator[Emulator]:
    config = EmulatorConfig(concurrency=2, duration=2.0, results="cheap", session_token=TOKEN)
    with Emulator(config) as emulator:
        yield emulator


def test_no_secret_in_any_log_or_database_of_a_run_at_debug_level(
    start_stack: Callable[..., AirflowStack], postgres_databases: Databases, vendor: Emulator, tmp_path: Path
):
    ledger = postgres_databases.create("ledger")
    connection = {
        "conn_type": "volcengine",
        "login": vendor.config.access_key,
        "password": vendor.config.secret_key,
        "host": vendor.url,
        "extra": {"session_token": TOKEN, "account": "tests", "max_concurrency": 2},
    }
    vendor.add_fault("done:50411,match=jimeng_dreamactor_m20_gen_video")
    stack = start_stack(
        env={
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(connection),
            "AIRFLOW__JIMENG__LEDGER_URL": ledger,
            # Nobody serves the inputs of this test.
            "AIRFLOW__JIMENG__PROBE": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "AIRFLOW__LOGGING__FAB_LOGGING_LEVEL": "DEBUG",
        }
    )
    output = tmp_path / "result.mp4"
    run = stack.api.run("imitation_presigned", {"media": vendor.url, "output": str(output)}, seconds=240)
    run_id = run["dag_run_id"]
    states = stack.api.states("imitation_presigned", run_id)
    assert {task.partition("[")[0]: state.partition(" ")[0] for task, state in states.items()} == {
        "submit": "success",
        "wait": "success",
        "land": "success",
        "imitate": "success",
        "mapped": "success",
        "refused": "failed",
    }
    assert output.read_bytes()[4:8] == b"ftyp"
    rendered = stack.api.rendered_fields("imitation_presigned", run_id, "submit")
    assert rendered["image_url"].startswith(f"{vendor.url}/media/a.png?")

    secrets = (vendor.config.secret_key, TOKEN, SIGNATURE, PRESIGNER, "HMAC-SHA256 Credential=")
    stack.stop()
    # The search itself is tried on a text that is known to be there: an empty result means something.
    assert any(stack.files_with("imitation_presigned"))
    assert any(rows_with(stack.database_url, "imitation_presigned"))
    assert any(rows_with(ledger, "/media/a.png"))
    for secret in secrets:
        assert [line for path in stack.files_with(secret) for line in lines_with(path, secret)] == []
        assert list(rows_with(stack.database_url, secret)) == []
        assert list(rows_with(ledger, secret)) == []
