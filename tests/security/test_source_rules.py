# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the package's sources may not do at all, and how an exception from a rule is written down."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import Any

import pytest

from tests.structure.imports import ROOT, imports, modules

#: What can be made to run or fetch things, or to take all memory, by what it reads.
DANGEROUS = re.compile(
    r"^(pickle|cPickle|dill|cloudpickle|marshal|shelve|xml(\.|$)|lxml|defusedxml|yaml|zipfile|tarfile|ctypes|"
    r"telnetlib|ftplib|jinja2\.Environment|code|codeop|runpy|multiprocessing)"
)
#: The emulator renders in processes of its own.
MAY_START_PROCESSES = {"emulator.pool"}
REASON = re.compile(r"# noqa: S\d{3} - \S.{5,}")


def calls(source: str) -> set[str]:
    """Return the names of functions called that run text as code, or a shell."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "compile", "__import__"):
            found.add(node.func.id)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("system", "popen", "from_string"):
            found.add(node.func.attr)
        if any(each.arg == "shell" for each in node.keywords):
            found.add("shell")
    return found


def test_nothing_unpickles_parses_xml_or_unpacks_archives() -> None:
    found = {
        (name, imported)
        for name, path in modules()
        for _, imported in imports(path.read_text(encoding="utf-8"), name)
        if DANGEROUS.match(imported)
    }
    assert found == set()
    assert [one for _, one in imports("import pickle\nfrom xml.dom import x", "a") if DANGEROUS.match(one)]


def test_nothing_runs_text_and_only_the_emulator_starts_a_process() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in modules()}
    assert {name: calls(text) for name, text in sources.items() if calls(text)} == {}
    starting = {
        name
        for name, text in sources.items()
        for _, imported in imports(text, name)
        if imported.partition(".")[0] == "subprocess"
    }
    assert starting == MAY_START_PROCESSES
    assert calls("eval(x)\nos.system(y)\nrun(z, shell=True)") == {"eval", "system", "shell"}


def test_no_text_of_others_is_a_format() -> None:
    # A template of str.format can read attributes; only literals and module constants may be one.
    found = []
    for name, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("format", "format_map")
            ):
                owner = node.func.value
                constant = isinstance(owner, ast.Constant) or (
                    isinstance(owner, ast.Name) and owner.id.isupper()
                )
                if not constant:
                    found.append(f"{name}:{node.lineno}")
    assert found == []


@pytest.fixture(scope="module")
def lint() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = settings["tool"]["ruff"]["lint"]
    return found


def test_the_rules_of_bandit_hold_for_the_whole_package(lint: dict[str, Any]) -> None:
    assert "S" in lint["extend-select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S") and rule[1:].isdigit()] == []
    ignored = {
        pattern: {rule for rule in rules if re.fullmatch(r"S\d*", rule)}
        for pattern, rules in lint["per-file-ignores"].items()
    }
    assert set(ignored) == {"tests/**", "demo/**", "dags/**"}
    assert ignored["demo/**"] == set()
    # Examples land below the temporary folder until they are told otherwise.
    assert ignored["dags/**"] == {"S108"}
    # No rule against SQL made of text, weak TLS, or requests without a timeout is off for the tests either.
    assert ignored["tests/**"].isdisjoint({"S", "S113", "S323", "S501", "S602", "S608"})


def test_each_exception_has_its_reason() -> None:
    lines = [
        (name, line.strip())
        for name, path in modules()
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"# noqa\b.*\bS\d{3}\b", line)
    ]
    assert lines
    assert [each for each in lines if not REASON.search(each[1])] == []
    assert not REASON.search("x  # noqa: S311")
