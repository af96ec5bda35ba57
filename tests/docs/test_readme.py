# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the READMEs show is what is in the repository: code, the failure table, the demo's words."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.docs.pages import ROOT, code_blocks, names, page, rows, section

READMES = ("README.md", "README.zh.md")
TABLES = {"README.md": "## What each failure costs", "README.zh.md": "## 每种故障的代价"}


def part(path: str, name: str) -> str:
    """Return a marked part of a file."""
    found = re.search(rf"# \[START {name}\]\n(.*?) *# \[END {name}\]", page(path), re.DOTALL)
    assert found is not None, f"{path} has no part {name}"
    return textwrap.dedent(found[1])


@pytest.mark.parametrize("readme", READMES)
def test_the_code_is_that_of_the_example_dags(readme: str) -> None:
    assert code_blocks(page(readme), "python") == [
        part("dags/example_jimeng_motion_imitation.py", "howto_jimeng_building_blocks"),
        part("dags/example_jimeng_mapped.py", "howto_jimeng_mapped"),
        part("dags/example_jimeng_bulk_manifest.py", "howto_jimeng_bulk"),
    ]


def test_the_dag_in_the_readme_is_short_and_runs_as_it_is() -> None:
    (code, *_) = code_blocks(page("README.md"), "python")

    compile(code, "README.md", "exec")
    assert len(code.splitlines()) <= 22


@pytest.mark.parametrize("readme", READMES)
def test_the_demos_output_is_one_that_the_demo_still_prints(readme: str) -> None:
    first, second = code_blocks(page(readme), "console")[:2]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "demo").glob("*.py"))

    assert first.startswith("$ make demo\n")
    assert second.startswith("$ make demo\n")
    assert "12 new, 12 in all" in first
    assert "0 new, 23 in all" in first
    assert "0 new, 23 in all" in second
    assert "12 new" not in second
    for words in (
        "Submits that the vendor accepted: ",
        "different pairs of inputs",
        "What landed",
        "The same again",
        "the same files, the same bytes",
        "nothing is left running",
        "an earlier demo was here",
        "vendor's task",
    ):
        assert words in sources
        assert words in first + second


def test_both_readmes_show_the_same_run() -> None:
    english, chinese = (code_blocks(page(readme), "console") for readme in READMES)

    assert english == chinese


def test_each_row_about_failures_stands_with_its_tests_in_the_page_on_recovery() -> None:
    all_rows = {
        tuple(cell.replace("](#", "](docs/recovery.md#") for cell in row[:3])
        for row in rows(section(page("docs/recovery.md"), "## What each failure costs"))
    }
    shown = rows(section(page("README.md"), TABLES["README.md"]))

    assert len(shown) >= 15
    assert [row for row in shown if tuple(row) not in all_rows] == []


def test_the_chinese_table_has_the_same_rows() -> None:
    english, chinese = (rows(section(page(readme), TABLES[readme])) for readme in READMES)

    assert len(english) == len(chinese)
    for ours, theirs in zip(english, chinese, strict=True):
        assert sorted(names(" ".join(ours))) == sorted(names(" ".join(theirs))), ours
        assert re.findall(r"\b\d{5}\b", " ".join(ours)) == re.findall(r"\d{5}", " ".join(theirs))


@pytest.mark.parametrize("readme", READMES)
def test_the_make_targets_exist(readme: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z]+)", page(readme))) <= targets
