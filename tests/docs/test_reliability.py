# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The tables of docs/reliability.md are those of the records that are kept, and tell of no second payment."""

from __future__ import annotations

from pathlib import Path

from tests.engine.chaos.table import into, read

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "tests" / "data" / "chaos").glob("*matrix.jsonl"))


def test_the_tables_are_made_of_the_records() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert into(page, read(RECORDS)) == page


def test_no_record_tells_of_a_content_that_was_accepted_twice() -> None:
    records = read(RECORDS)
    assert len({record["blow"] for record in records}) > 100
    assert {record["most_accepted"] for record in records} <= {0, 1}
