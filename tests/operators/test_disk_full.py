# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A ledger whose disk is full stops submits before they are sent, and goes on when there is room again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from airflow_provider_jimeng.exceptions import JimengLedgerUnavailableError
from airflow_provider_jimeng.ledger.engine import database_for

from tests.legs import Bench, DagRun

#: SQLite's own upper bound.
_NO_LIMIT = 4294967294


class Disk:
    """The room that a ledger's file has."""

    def __init__(self, url: str) -> None:
        self._engine = database_for(url)._engine
        self._limit = _NO_LIMIT
        event.listen(self._engine, "checkout", self._apply)

    def _apply(self, connection: Any, *ignored: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {self._limit}")

    def fill(self) -> None:
        # A bound below the file's size is taken as its size: it can't grow any more.
        self._limit = 1

    def remove(self) -> None:
        event.remove(self._engine, "checkout", self._apply)
        self._engine.dispose()

    def clear(self) -> None:
        self._limit = _NO_LIMIT


@pytest.fixture
def disk(bench: Bench) -> Iterator[Disk]:
    bench.emu.configure(concurrency=1000)
    bench.connect(max_concurrency=1000)
    bench.submit()
    made = Disk(bench.ledger_url)
    yield made
    made.remove()


def test_a_full_disk_stops_submits_before_they_are_sent(bench: Bench, disk: Disk) -> None:
    disk.fill()
    paid = bench.accepted
    kept = 0

    def submit_until_it_is_refused() -> None:
        nonlocal kept
        for number in range(200):
            bench.submit(DagRun(f"run-{number}"), variant=1 + number)
            kept += 1

    with pytest.raises(JimengLedgerUnavailableError, match="full"):
        submit_until_it_is_refused()
    # Whatever was accepted is in the ledger, by its id: there was still room for that.
    assert bench.accepted == paid + kept
    assert len({row.task_id for row in bench.rows() if row.task_id}) == bench.accepted

    disk.clear()
    bench.submit(DagRun("run-after"), variant=1 + kept)
    assert bench.accepted == paid + kept + 1
