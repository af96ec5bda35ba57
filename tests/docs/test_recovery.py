# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on recovery: its tests, states, errors and commands exist, all of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng import exceptions
from airflow_provider_jimeng.cli import main as cli
from airflow_provider_jimeng.ledger import states

from tests.docs.pages import ROOT, code_blocks, names, page, rows, section

TEXT = page("docs/recovery.md")
if TYPE_CHECKING:
    from airflow_provider_jimeng.cli.spec import Command

FAILURES = rows(section(TEXT, "## What each failure costs"))


def test_each_failure_is_held_by_tests_that_exist() -> None:
    written = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        written.update(re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M))

    assert len(FAILURES) > 25
    for row in FAILURES:
        assert len(row) == 4, row
        held = names(row[3])
        assert held, row
        assert [name for name in held if name not in written] == []


def test_the_states_and_their_moves_are_the_ledgers() -> None:
    text = section(TEXT, "## The states of the ledger")

    assert [names(row[0])[0] for row in rows(text)] == list(states.TaskState)
    (drawing,) = code_blocks(text, "")
    drawn = states.__doc__ or ""
    for line in drawing.splitlines():
        assert line.partition("    (")[0].strip() in drawn


def test_the_errors_are_all_there_with_whether_they_are_retried() -> None:
    told = {names(row[0])[0]: row[1].partition(";")[0] for row in rows(section(TEXT, "## The errors"))}
    found = {
        name: "yes" if getattr(exceptions, name).retry_helps else "no"
        for name in exceptions.__all__
        if name != "JimengError"
    }

    assert told == found


def commands() -> list[list[str]]:
    lines = "".join(code_blocks(TEXT, "console")).splitlines()
    return [shlex.split(line.removeprefix("$ ")) for line in lines]


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words[2:4]))
def test_a_command_in_the_page_is_understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    understood: list[Command] = []

    def note(command: Command, options: object) -> int:
        understood.append(command)
        return 0

    monkeypatch.setattr(cli, "run", note)

    assert words[:2] == ["airflow", "jimeng"]
    assert cli.main(words[2:]) == 0
    assert [command.name for command in understood] == [words[3]]


def test_the_page_is_for_the_folder_that_results_are_kept_safe_in() -> None:
    from airflow_provider_jimeng.media.target import SAFE_FOLDER

    assert f"`{SAFE_FOLDER}/`" in TEXT
    assert Path(SAFE_FOLDER).name == SAFE_FOLDER
