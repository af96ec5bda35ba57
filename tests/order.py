# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Which files of tests begin first where several processes share them."""

from __future__ import annotations

from pathlib import Path

#: Files that take long, the longest first: a process that gets one at the end keeps the others waiting.
LONGEST = (
    "tests/engine/test_motion_imitation.py",
    "tests/engine/test_chaos.py",
    "tests/engine/test_example_dags.py",
    "tests/demo/test_end_to_end.py",
    "tests/bulk/test_given_up.py",
    "tests/lifecycle/test_revive.py",
    "tests/bulk/test_runner.py",
    "tests/operators/test_query_faults.py",
    "tests/operators/test_batch_scenarios.py",
    "tests/bulk/test_runner_kills.py",
    "tests/operators/test_submit_faults.py",
)


def place(file: Path) -> int:
    """Return where in the row a file goes, named from the project's folder; others stay in their order."""
    name = file.as_posix()
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)
