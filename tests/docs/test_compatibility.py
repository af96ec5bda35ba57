# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The tables of docs/compatibility.md are those of the records that are kept, and tell of no failure."""

from __future__ import annotations

from tests.airflow_versions import AIRFLOW
from tests.docs.pages import page
from tests.matrix.probe import FEATURES as PROBED
from tests.matrix.rows import ROWS
from tests.matrix.suite import lacking
from tests.matrix.table import FEATURES, into, read


def test_the_tables_are_made_of_the_records() -> None:
    text = page("docs/compatibility.md")
    assert into(text, read()) == text


def test_every_row_has_a_record_of_what_touches_airflow_without_a_failure() -> None:
    records = {record["row"]: record for record in read()}
    assert list(records) == [row.name for row in ROWS]
    for row in ROWS:
        assert records[row.name]["versions"]["airflow"] == row.airflow
        assert lacking(row, records[row.name]["parts"]) == set()
        assert [each["failed"] for each in records[row.name]["parts"].values() if each["failed"]] == []


def test_nothing_is_left_out_on_the_release_that_all_else_is_tested_on() -> None:
    (newest,) = (record for record in read() if record["row"] == "airflow-3.3")
    assert AIRFLOW[:2] == (3, 3)
    assert [each["skipped"] for each in newest["parts"].values() if each["skipped"]] == []


def test_what_is_probed_is_what_the_table_tells_of() -> None:
    assert set(FEATURES) == set(PROBED)
