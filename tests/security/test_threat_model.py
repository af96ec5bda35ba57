# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Each threat of the written model says what is done, what is left, and names a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import names, page, rows, section
from tests.structure.imports import ROOT

TEXT = page("docs/security.md")
PARTS = re.findall(r"^### (.+)$", section(TEXT, "## Threats"), re.MULTILINE)
THREATS = [row for part in PARTS for row in rows(section(TEXT, f"### {part}").lstrip("\n"))]
TEST = re.compile(r"(tests/[a-z_/]+/test_[a-z_]+\.py)::(test_\w+)")


@cache
def found_in(path: Path) -> frozenset[str]:
    """Return the names of the tests that pytest finds in a file."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds) and node.name[:5] == "test_")


def flaws(row: list[str]) -> list[str]:
    """Return what is wrong with a line of the model."""
    if len(row) != 5:
        return [f"{len(row)} cells, not 5"]
    number, threat, done, _, tests = row
    found = [f"no {what}" for what, cell in (("threat", threat), ("measure", done)) if len(cell) < 10]
    named = names(tests)
    if not named:
        found.append("no test")
    for name in named:
        match = TEST.fullmatch(name)
        if match is None or match[2] not in found_in(ROOT / match[1]):
            found.append(f"there is no test {name}")
    return [f"{number}: {flaw}" for flaw in found]


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row[0])
def test_a_threat_names_a_test_that_exists(row: list[str]) -> None:
    assert flaws(row) == []


def test_a_line_without_a_test_or_with_one_that_is_gone_is_seen() -> None:
    line = ["1", "a threat of some kind", "something is done", ""]
    assert flaws([*line, ""]) == ["1: no test"]
    here = "tests/security/test_threat_model.py"
    assert flaws([*line, f"`{here}::{test_a_threat_names_a_test_that_exists.__name__}`"]) == []
    assert flaws([*line, f"`{here}::test_of_nothing`"]) == [f"1: there is no test {here}::test_of_nothing"]
    assert flaws([*line, "`tests/security/test_gone.py::test_x`"]) != []
    assert flaws([*line, "`test_x`"]) != []
    assert flaws(line) != []


def test_threats_are_numbered_from_one_without_a_gap() -> None:
    assert [row[0] for row in THREATS] == [str(number) for number in range(1, len(THREATS) + 1)]
    assert len(THREATS) > 40


def test_each_file_of_security_tests_holds_a_threat_off() -> None:
    named = {match[1] for row in THREATS for name in names(row[4]) if (match := TEST.fullmatch(name))}
    own = {f"tests/security/{path.name}" for path in (ROOT / "tests" / "security").glob("test_*.py")}
    assert own - named == {"tests/security/test_threat_model.py"}


def test_the_model_has_assets_actors_and_boundaries() -> None:
    for heading in ("## Assets", "## Actors", "## Modes of files", "## What a stolen ledger tells"):
        assert len(rows(section(TEXT, heading))) > 2
    assert len(re.findall(r"^\d+\. ", section(TEXT, "## Trust boundaries"), re.MULTILINE)) >= 5
