# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The tables of docs/comparison.md are those of the records that are kept; ours pay for nothing twice."""

from __future__ import annotations

import pytest

from tests.benchmarks.rivals.contenders import CONTENDERS
from tests.benchmarks.rivals.rounds import ROUNDS
from tests.benchmarks.rivals.table import BEGIN, END, into, read
from tests.docs.pages import ROOT, page, rows

PATHS = sorted((ROOT / "tests" / "data" / "bench").glob("rivals-*.json"))
RECORDS = read(PATHS)
ROWS = {(row["round"], row["who"]): row for record in RECORDS for row in record["rows"]}
TEXT = page("docs/comparison.md")


def test_the_tables_are_made_of_the_records() -> None:
    assert into(TEXT, RECORDS) == TEXT


def test_a_table_of_other_figures_would_be_seen() -> None:
    tables = TEXT.partition(BEGIN)[2].partition(END)[0]
    assert into(TEXT.replace(tables, "\n"), RECORDS) == TEXT
    assert [row[0] for row in rows(tables)] == [each.words for each in CONTENDERS]


def test_every_contender_went_through_every_round() -> None:
    wanted = {(name, each.key) for name in ROUNDS for each in CONTENDERS}
    # A pool changes when a task starts, and nothing of what it does.
    assert wanted - set(ROWS) <= {(name, "mapped_pool") for name in ROUNDS[1:]}


@pytest.mark.parametrize("contender", [each for each in CONTENDERS if each.ours], ids=lambda each: each.key)
def test_ours_pay_for_nothing_twice_and_lose_nothing(contender) -> None:
    mine = [row for (_, who), row in ROWS.items() if who == contender.key]

    assert {row["paid_again"] for row in mine} == {0}
    made = [row for row in mine if "landed" in row]
    assert [row["landed"] + row.get("unknown", 0) for row in made] == [row["items"] for row in made]


def test_a_record_tells_how_to_make_it_again() -> None:
    for record in RECORDS:
        assert {"benchmark", "commit", "date", "machine", "versions", "command", "rows"} <= set(record)
        assert record["command"].startswith("python -m tests.benchmarks.rivals")
    assert len({record["settings"]["seconds"] for record in RECORDS}) == 1
