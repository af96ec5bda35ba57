# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The tests that a row runs, from a copy without the package's sources, and what came of them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.matrix.rows import ROOT, TOUCHES_AIRFLOW, Row
from tests.matrix.venvs import MatrixError, run

#: What the copy has; the package is not in it, so what the tests import is what pip has installed.
COPIED = ("tests", "dags", "demo", "docs", "scripts", "README.md", "pyproject.toml", "Makefile", "LICENSE")
#: Folders of tests that look at the checkout and not at an installed package, or are started by hand.
LEFT_OUT = {
    "benchmarks": "measurements, started by hand",
    "data": "no tests",
    "demo": "makes an environment and an Airflow of its own",
    "docs": "of the repository's pages",
    "engine": "by name, see ENGINE",
    "golden": "no tests",
    "matrix": "of this runner",
}
#: Files within the other folders that look at the checkout, too.
LEFT_OUT_FILES = {
    "structure/test_tracked_files.py": "of the repository's files",
    "structure/test_wheel.py": "builds the wheel, from sources that the copy has not",
    "api/test_signing_speed.py": "a measurement",
    "hooks/test_openlineage.py": "needs OpenLineage's provider, which a row does not install",
    "hooks/test_metrics.py": "looks into a module of Airflow's own that 3.1 has not",
}
#: On real components: submit, sensor and landing; mapped groups; deferral; a bulk run either way; links.
ENGINE = (
    "tests/engine/test_stack.py::test_a_deferred_and_mapped_dag_runs_on_real_components",
    "tests/engine/test_motion_imitation.py::test_a_group_of_building_blocks_per_item_lands_each",
    "tests/engine/test_motion_imitation.py::test_two_dags_that_want_the_same_content_at_once_pay_once",
    "tests/engine/test_motion_imitation.py::test_a_backfill_pays_each_day_once_and_reprocessing_it_pays_nothing",
    "tests/engine/test_motion_imitation.py::"
    "test_a_link_leads_to_the_task_while_it_is_deferred_and_to_the_result_after_it",
    "tests/engine/test_motion_imitation.py::test_a_batch_lands_its_manifest_and_a_rerun_pays_nothing",
)
ENGINE_PART = "engine"
#: What a row's record should tell of; the table says which of them were not run yet.
NEEDED = frozenset({*TOUCHES_AIRFLOW, "ledger", "lifecycle", ENGINE_PART})


def copy_tree(target: Path) -> None:
    """Copy what the tests need to a folder, anew."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        else:
            shutil.copy2(source, target / name)


def parts(row: Row) -> list[str]:
    """Return the parts of a row's suite: the folders of tests that it runs, and ``engine``."""
    folders = sorted(path.parent.name for path in (ROOT / "tests").glob("*/__init__.py"))
    chosen = [name for name in folders if name not in LEFT_OUT and (not row.folders or name in row.folders)]
    return chosen if row.folders else [*chosen, ENGINE_PART]


def lacking(row: Row, told: Iterable[str]) -> set[str]:
    """Return the parts that a record of a row must tell of and does not."""
    return {part for part in parts(row) if part in NEEDED} - set(told)


def run_part(row: Row, part: str, home: Path, python: Path, commit: str) -> dict[str, Any]:
    """
    Run one part in a process of its own, and return and keep what came of it.

    :param home: of the row; the copy of the tests is its ``tree``.
    :param commit: of the tests, for the record.
    """
    tree, results = home / "tree", home / "results"
    results.mkdir(exist_ok=True)
    report, log = results / f"{part}.xml", results / f"{part}.log"
    report.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:anyio",
        f"--junitxml={report}",
    ]
    if part == ENGINE_PART:
        command += ["-m", "engine", "-o", "faulthandler_timeout=590", *ENGINE]
    else:
        command += ["-m", "not engine", f"tests/{part}"]
        command += [f"--ignore=tests/{name}" for name in LEFT_OUT_FILES]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    began, used = time.monotonic(), _cpu_seconds()
    code = run(command, log, cwd=tree, env=environment)
    if not report.is_file():
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise MatrixError(f"{row.name}: pytest ended with {code} and no report; the end of {log}:\n{end}")
    told = {"commit": commit, **read_report(report), "seconds": round(time.monotonic() - began)}
    told["cpu_seconds"] = round(_cpu_seconds() - used)
    (results / f"{part}.json").write_text(json.dumps(told))
    return told


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def read_report(path: Path) -> dict[str, Any]:
    """Return how many tests of a JUnit report passed, and which failed or were left out."""
    passed, failed, skipped = 0, [], []
    # Our own pytest wrote it a moment ago.
    for case in ElementTree.parse(path).getroot().iter("testcase"):  # noqa: S314
        name = f"{case.get('classname')}::{case.get('name')}"
        left_out = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif left_out is not None:
            skipped.append({"test": name, "reason": left_out.get("message") or ""})
        else:
            passed += 1
    return {"passed": passed, "failed": failed, "skipped": skipped}


def kept_parts(row: Row, home: Path) -> dict[str, dict[str, Any]]:
    """Return what the parts told that were run so far, by part."""
    files: Sequence[Path] = [home / "results" / f"{part}.json" for part in parts(row)]
    return {path.stem: json.loads(path.read_text()) for path in files if path.is_file()}
