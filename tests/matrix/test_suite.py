# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a report of pytest says is what a record holds, and the copy of the tests has no package in it."""

from __future__ import annotations

from pathlib import Path

from tests.matrix.suite import copy_tree, read_report

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="good"/>
<testcase classname="tests.a" name="bad"><failure message="x"/></testcase>
<testcase classname="tests.a" name="broken"><error message="x"/></testcase>
<testcase classname="tests.b" name="elsewhere"><skipped message="Airflow 3.2 and later: why"/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_counted(tmp_path: Path):
    path = tmp_path / "report.xml"
    path.write_text(REPORT, encoding="utf-8")
    assert read_report(path) == {
        "passed": 1,
        "failed": ["tests.a::bad", "tests.a::broken"],
        "skipped": [{"test": "tests.b::elsewhere", "reason": "Airflow 3.2 and later: why"}],
    }


def test_the_copy_has_the_tests_and_no_package(tmp_path: Path):
    copy_tree(tmp_path / "tree")
    assert (tmp_path / "tree" / "tests" / "conftest.py").is_file()
    assert (tmp_path / "tree" / "pyproject.toml").is_file()
    assert not (tmp_path / "tree" / "airflow_provider_jimeng").exists()
