# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The order of the files of tests."""

from __future__ import annotations

from pathlib import Path

from tests.order import LONGEST, place

ROOT = Path(__file__).parents[1]


def test_the_files_that_take_longest_are_there_and_begin_first() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    ordered = sorted(files, key=place)
    assert [file.as_posix() for file in ordered[: len(LONGEST)]] == list(LONGEST)
    assert [file for file in files if file.as_posix() not in LONGEST] == ordered[len(LONGEST) :]
