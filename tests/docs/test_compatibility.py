# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The tables of docs/compatibility.md are those of the records that are kept, and tell of no failure."""

from __future__ import annotations

from tests.airflow_versions import AIRFLOW
from tests.docs.pages import page
from tests.matrix.probe import FEATURES as PROBED
from tests.matrix.rows import ROWS, row_named
from tests.matrix.suite import lacking
from tests.matrix.table import FEATURES, into, read


def test_the_tables_are_made_of_the_records() -> None:
    text = page("docs/compatibility.md")
    assert into(text, read()) == text


def test_no_record_tells_of_a_failure() -> None:
    records = read()
    assert records != []
    for record in records:
        assert record["versions"]["airflow"] == row_named(record["row"]).airflow
        assert {part: each["failed"] for part, each in record["parts"].items() if each["failed"]} == {}


def test_every_row_has_a_record_of_every_part_that_it_needs() -> None:
    records = {record["row"]: record for record in read()}
    assert list(records) == [row.name for row in ROWS]
    assert {row.name: lacking(row, records[row.name]["parts"]) for row in ROWS} == {
        row.name: set() for row in ROWS
    }


def test_nothing_is_left_out_on_the_release_that_all_else_is_tested_on() -> None:
    newest = [record for record in read() if record["versions"]["airflow"].startswith("3.3.")]
    assert AIRFLOW[:2] == (3, 3)
    assert newest != []
    for record in newest:
        assert {part: each["skipped"] for part, each in record["parts"].items() if each["skipped"]} == {}


def test_what_is_probed_is_what_the_table_tells_of() -> None:
    assert set(FEATURES) == set(PROBED)
