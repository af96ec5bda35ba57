# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The tables of docs/performance.md are those of the records that are kept: of ours and of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.record import Record, Row
from tests.benchmarks.table import KEPT, into, kept, sections, tables

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
RECORDS = kept()
#: What nobody else has: a ledger on SQLite, and the whole run in virtual time.
ALONE = frozenset({"ledger:sqlite", "simulation"})


def test_the_tables_are_made_of_the_records() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert into(page, RECORDS) == page


def test_every_record_has_its_place_on_the_page() -> None:
    found = sections(PAGE.read_text(encoding="utf-8"))
    assert {each.benchmark.partition(":")[0] for each in RECORDS} <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("benchmark", sorted({each.benchmark for each in RECORDS} - ALONE))
def test_each_benchmark_tells_of_ours_and_of_theirs(benchmark: str) -> None:
    who = {str(row["who"]) for each in RECORDS if each.benchmark == benchmark for row in each.rows}
    assert "ours" in who
    assert len(who) > 1


def test_a_figure_is_shown_as_it_was_written() -> None:
    rows: list[Row] = [
        {"who": "ours", "ms": 0.4591, "polls": 1873},
        {"who": "others", "ms": None, "polls": 12},
    ]
    shown = list(tables([Record("waits", rows, {"python": "3"}, "run it", "abc", "then", "here")]))
    assert "| ours | 0.4591 | 1,873 |" in shown
    assert "| others | - | 12 |" in shown
    assert shown[-1] == "`run it`, then, commit abc; here; python 3."


def test_no_record_names_a_place_of_the_machine_that_made_it() -> None:
    for each in KEPT.glob("*.json"):
        text = each.read_text(encoding="utf-8")
        assert "/tmp" not in text, each
        assert "/home" not in text, each
