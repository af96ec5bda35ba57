# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The rows are what they say: their pins prove the floors of pyproject.toml, and lead to no machine."""

from __future__ import annotations

import re

import pytest

from tests.matrix.rows import COMPAT, ROOT, ROWS, Row, floors, row_named
from tests.matrix.suite import ENGINE, ENGINE_PART, LEFT_OUT, LEFT_OUT_FILES, parts

PIN = re.compile(r"([\w.\-]+)==([\w.+!]+)")


def pins(row: Row) -> dict[str, str]:
    lines = row.constraints.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(f"# What row {row.name} of make matrix installs")
    found = [PIN.fullmatch(line) for line in lines[1:]]
    assert None not in found
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match is not None}


def same(one: str, other: str) -> bool:
    """Tell whether two versions are equal, whatever zeros they end with."""
    numbers = [[int(part) for part in re.findall(r"\d+", each)] for each in (one, other)]
    length = max(map(len, numbers))
    return len({(*each, *[0] * (length - len(each))) for each in numbers}) == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_pins_its_release_of_airflow(row: Row):
    assert pins(row)["apache-airflow"] == row.airflow


@pytest.mark.parametrize("name", sorted(floors()))
def test_the_floor_is_that_of_pyproject(name: str):
    assert same(pins(row_named("floor"))[name.lower()], floors()[name])


def test_the_oldest_common_compat_is_tried_on_every_minor_release():
    oldest = [row for row in ROWS if row.oldest_compat]
    assert {row.minor for row in oldest} == {row.minor for row in ROWS}
    assert {pins(row)[COMPAT] for row in oldest} == {floors()[COMPAT]}


def test_both_lines_of_sqlalchemy_are_among_the_rows():
    found = {row.name: pins(row)["sqlalchemy"].partition(".")[0] for row in ROWS}
    assert found["airflow-3.1"] == "1"
    assert set(found.values()) == {"1", "2"}


def test_the_newest_row_is_the_release_that_all_else_is_tested_on():
    developed = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"apache-airflow=={row_named('airflow-3.3').airflow}" in developed


def test_a_row_runs_every_folder_of_tests_that_is_not_left_out():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    assert set(parts(row_named("airflow-3.1"))) == (folders - set(LEFT_OUT)) | {ENGINE_PART}
    assert {"cli", "hooks", "operators", "ledger"} < set(parts(row_named("floor")))
    assert set(LEFT_OUT) <= folders | {"data"}


def test_what_is_named_is_there():
    assert [name for name in LEFT_OUT_FILES if not (ROOT / "tests" / name).is_file()] == []
    for name in ENGINE:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")
