# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Every command that a page shows is one that its program takes."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import pytest

from tests.docs.commands import make_targets, of_text, ours, shown, vendors, words
from tests.docs.pages import ROOT

SHOWN = shown()
OURS = [
    (page, words(command))
    for page, command in SHOWN
    if words(command)[:3] == ["python", "-m", "airflow_provider_jimeng"]
    or words(command)[:2] == ["airflow", "jimeng"]
]
VENDORS = [
    (page, words(command))
    for page, command in SHOWN
    if words(command)[:3] == ["python", "-m", "airflow_provider_jimeng.emulator"]
]
AIRFLOWS = [
    (page, words(command)[1:])
    for page, command in SHOWN
    if words(command)[:1] == ["airflow"] and words(command)[1] != "jimeng"
]
#: What stands for words of a person's own.
PLACEHOLDERS = {"COMMAND", "..."}


def test_commands_are_found_in_the_pages() -> None:
    assert len(OURS) > 12
    assert len(VENDORS) > 4
    assert len(AIRFLOWS) > 6
    assert {"docs", "connection.md", "quickstart.md", "recovery.md"} & {page for page, _ in SHOWN}


@pytest.mark.parametrize(("page", "command"), OURS, ids=[f"{page}-{' '.join(x[2:])}" for page, x in OURS])
def test_ours_are_parsed(page: str, command: list[str]) -> None:
    arguments = command[2:] if command[0] == "airflow" else command[3:]
    if PLACEHOLDERS & set(arguments):
        arguments = arguments[:1] + ["--help"]
        with pytest.raises(SystemExit) as told:
            ours().parse_args(arguments)
        assert told.value.code == 0, page
        return
    options = ours().parse_args(arguments)
    assert options.command.name == next(word for word in arguments if word != "ledger")


@pytest.mark.parametrize(("page", "command"), VENDORS, ids=[page for page, _ in VENDORS])
def test_the_emulators_are_parsed(page: str, command: list[str]) -> None:
    options = vendors().parse_args(command[3:])

    assert isinstance(options, argparse.Namespace), page


@pytest.mark.parametrize(("page", "arguments"), AIRFLOWS, ids=[" ".join(x[:3]) for _, x in AIRFLOWS])
def test_airflows_are_parsed(page: str, arguments: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    try:
        options = get_parser().parse_args(arguments)
    except SystemExit as told:
        raise AssertionError(f"{page}: airflow {' '.join(arguments)}") from told
    assert callable(options.func)


def test_targets_of_make_exist() -> None:
    asked = {words(command)[1] for _, command in SHOWN if words(command)[:1] == ["make"]}

    assert asked
    assert asked <= make_targets()


def test_modules_and_files_that_are_run_exist() -> None:
    missing = []
    for page, command in SHOWN:
        said = words(command)
        if "-m" in said[:2] and said[2].startswith("tests") and importlib.util.find_spec(said[2]) is None:
            missing.append(f"{page}: {said[2]}")
        paths = [word for word in said if word.startswith("tests/")]
        missing += [f"{page}: {path}" for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_a_command_is_cut_where_the_shell_goes_on(tmp_path: Path) -> None:
    text = "```console\n$ python -m x --a \\\n    'b c' | jq .\nout\n```\n```python\n$ no\n```\n"

    assert [words(each) for each in of_text(text)] == [["python", "-m", "x", "--a", "b c"]]
    assert words("A=1 run > log &") == ["run"]
