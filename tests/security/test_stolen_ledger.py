# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a ledger tells to who has stolen it: every column of every table after a night of everything."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, select

from airflow_provider_jimeng.cli.main import main
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.ledger import schema
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.docs.pages import page, section
from tests.legs import Bench, DagRun
from tests.media.files import FileServer, image, serving, video
from tests.secrets.test_no_secret_leaks import FORBIDDEN, SECRET_KEY, SIGNED, TOKEN, sts

__all__ = ["sts"]

LEAK = "https://who:pa55w0rd@a.example/x?X-Amz-Signature=51gnedbywords"


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as server:
        yield server


def everything(file: Path) -> dict[str, dict[str, list[Any]]]:
    """Return all values of each column of each table."""
    engine, tables = create_engine(f"sqlite:///{file}"), MetaData()
    tables.reflect(engine)
    found: dict[str, dict[str, list[Any]]] = {}
    with engine.connect() as connection:
        for table in tables.sorted_tables:
            rows = connection.execute(select(table)).all()
            found[table.name] = {
                column.name: [row[number] for row in rows] for number, column in enumerate(table.columns)
            }
    engine.dispose()
    return found


def a_night_of_everything(bench: Bench, files: FileServer) -> None:
    """Land, fail, lose, resubmit, wait, adopt, pause: with presigned inputs, and people who paste URLs."""
    bench.patch.setenv("AIRFLOW__JIMENG__PROBE", "True")
    signed: dict[str, Any] = {
        "image_url": files.add("a.png", image()) + SIGNED["s3"],
        "video_url": files.add("b.mp4", video()) + SIGNED["azure"],
    }
    bench.imitate(**signed)
    bench.imitate(**signed, force_new=f"ordered at {LEAK}", output=str(bench.folder / "again.mp4"))
    bench.emu.add_fault("submit:50500,created=true")
    bench.emu.add_fault("done:50511")
    for variant in (1, 2, 3):
        with contextlib.suppress(JimengError):
            bench.imitation(**signed, variant=variant, retries=0, overwrite=True).finish()
    # What is unknown holds a slot for as long as tasks take, and that is not learnt on a slow machine.
    bench.alter("UPDATE jimeng_tasks SET sent_at = sent_at - 600 WHERE state = 'unknown'")
    bench.emu.configure(concurrency=1)
    bench.connect(password=SECRET_KEY, session_token=TOKEN, max_concurrency=1)
    lines = [
        {"id": name, "image": f"{signed['image_url']}&n={name}", "video": signed["video_url"], "note": LEAK}
        for name in "abc"
    ]
    DagRun("run-2").task(
        JimengBatchOperator, "batch", manifest=lines, output=str(bench.folder / "out"), poke_interval=0.1
    )
    unknown = next(row for row in bench.rows() if str(row.state) == "unknown")
    url = ("--ledger-url", bench.ledger_url)
    said = ("--reason", f"found at {LEAK}", "--yes")
    assert main(["ledger", "adopt", str(unknown.id), "123456789", *said, *url]) == 0
    assert main(["ledger", "pause", "tests", *said, *url]) == 0
    with contextlib.suppress(JimengError):
        bench.submit(variant=9, image_url=f"{bench.image}{SIGNED['gcs']}")


def test_it_holds_no_key_no_password_and_no_presigned_query(sts: Bench, files: FileServer) -> None:
    a_night_of_everything(sts, files)
    tables = everything(sts.ledger_file)
    empty = [
        f"{name}.{column}" for name, columns in tables.items() for column, all_ in columns.items() if not all_
    ]
    assert [each for each in empty if not each.startswith("jimeng_waiters")] == []
    values = [
        (f"{name}.{column}", str(value))
        for name, columns in tables.items()
        for column, all_ in columns.items()
        for value in all_
        if value is not None
    ]
    assert any(where == "jimeng_tasks.force_new" and "a.example/x" in text for where, text in values)
    assert any("found at" in text for where, text in values if where == "jimeng_tasks.note")
    for where, text in values:
        for secret in (SECRET_KEY, TOKEN, "pa55w0rd", sts.emu.config.access_key):
            assert secret not in text, where
        found = FORBIDDEN.search(text)
        assert found is None, f"{where}: {text}"
    # What was deleted is still in the file's free pages and in the log beside it.
    raw = b"".join(path.read_bytes() for path in sts.ledger_file.parent.glob("ledger.db*")).decode("latin-1")
    assert [each for each in (SECRET_KEY, TOKEN, "pa55w0rd") if each in raw] == []
    assert FORBIDDEN.search(raw) is None


def test_an_account_is_not_told_by_its_access_key(bench: Bench) -> None:
    bench.connect(account=None)
    bench.submit()
    accounts = {row.scope.account for row in bench.rows()}
    assert len(accounts) == 1
    assert re.fullmatch(r"ak-[0-9a-f]{24}", accounts.pop())
    assert bench.emu.config.access_key not in json.dumps(everything(bench.ledger_file), default=str)


def test_the_page_names_every_column() -> None:
    told = section(page("docs/security.md"), "## What a stolen ledger tells")
    named = set(re.findall(r"`([a-z0-9_]+)`", told))
    columns = {
        column.name
        for table in (schema.tasks, schema.landings, schema.limits, schema.waiters, schema.meta)
        for column in table.columns
    }
    assert columns - named == set()
