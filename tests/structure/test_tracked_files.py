# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What no file of the project may hold, and what every one must."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

from tests.structure.imports import PACKAGE, ROOT

LICENCE = "# Licensed under the Apache License, Version 2.0. See LICENSE."
MOST_LINES = 400

#: In pieces, so that this file isn't a finding.
MACHINE_PATHS = re.compile("|".join(["/wo" + "rk/", "/tm" + "p/w/", "/fa" + "rm/", "/ro" + r"ot/\."]))
REGISTRIES = re.compile(
    "|".join(["pythonh" + "osted", "py" + r"pi\.org", "npm" + r"js\.", "/opt/" + "wheels"])
)
UNFINISHED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", r"\bXX" + r"X\b", "pragma: no " + "cover"]))
SILENCED = re.compile(
    "|".join([r"pytest\.mark\.sk" + "ip", r"pytest\.sk" + "ip", r"mark\.xf" + "ail", "importorsk" + "ip"])
)
CHECKING_CALL = re.compile(r"^(raises|warns|fail|(assert|check|expect|verify|refuse|ends?)(_.*)?)$")


def tracked() -> list[Path]:
    """Return the files of the project; in a copy without git, those in no folder of tools."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    hidden = re.compile(r"(^|/)(\.venv|\.git/|\.demo|\.test|__pycache__|\.[a-z]+_cache|dist/)")
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return [path for path in found if not hidden.search(path.relative_to(ROOT).as_posix())]


def texts(pattern: str = "*") -> Iterator[tuple[str, str]]:
    for path in tracked():
        if path.match(pattern):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8", errors="replace")


def lines_with(wanted: re.Pattern[str], pattern: str = "*") -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts(pattern)
        for number, line in enumerate(text.splitlines(), 1)
        if wanted.search(line)
    ]


def test_no_path_of_a_machine_and_no_registry():
    assert lines_with(MACHINE_PATHS) == []
    assert lines_with(REGISTRIES) == []


def test_nothing_is_unfinished_or_skipped():
    assert lines_with(UNFINISHED, "*.py") == []
    # What is the kernel's own cannot be installed. What is a release of Airflow's own, one helper leaves out,
    # and on the release that this runs on it leaves out nothing: see the records of the matrix.
    silenced = [line for line in lines_with(SILENCED, "*.py") if "sys.platform" not in line]
    assert [line.partition(":")[0] for line in silenced] == ["tests/airflow_versions.py"]


def test_every_source_names_its_licence():
    assert [
        name
        for name, text in texts("*.py")
        if text and not text.startswith((LICENCE, f"#!/usr/bin/env python3\n{LICENCE}"))
    ] == []


def test_no_module_of_the_package_is_long():
    long = {name: len(text.splitlines()) for name, text in texts("*.py") if name.startswith(PACKAGE)}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES} == {}


def test_no_big_file_is_shipped():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}


def functions_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def asserts(function: ast.AST, checkers: Container[str]) -> bool:
    """Tell whether a function asserts: itself, by a call that says so, or by one of the helpers that do."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if CHECKING_CALL.match(name) or name in checkers:
                return True
    return False


@pytest.fixture(scope="module")
def checkers() -> frozenset[str]:
    """Return the names of the functions of the test suite that assert something."""
    sources = [path for path in tracked() if path.match("tests/**/*.py") or path.match("tests/*.py")]
    return frozenset(node.name for path in sources for node in functions_of(path) if asserts(node, ()))


TEST_FILES = [path for path in tracked() if path.name.startswith("test_") and path.suffix == ".py"]


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_test_asserts_something(path: Path, checkers: frozenset[str]):
    tests = [node for node in functions_of(path) if node.name.startswith("test_")]
    assert [node.name for node in tests if not asserts(node, checkers)] == []


def test_a_test_without_an_assertion_is_seen():
    silent, loud = ast.parse(
        "def test_a():\n    run()\ndef test_b():\n    with pytest.raises(E):\n        run()\n"
    ).body
    assert not asserts(silent, ())
    assert asserts(silent, {"run"})
    assert asserts(loud, ())
