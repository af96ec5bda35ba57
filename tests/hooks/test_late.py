# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What is imported at its first use behaves like what it stands for, and type checkers see the same names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_jimeng
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.lifecycle.wanted import Policies

from tests.structure.imports import ROOT

WITH_LATE = [
    path
    for path in sorted(Path(airflow_provider_jimeng.__file__).parent.rglob("*.py"))
    if "import late\n" in path.read_text(encoding="utf-8")
]


def test_a_class_is_made_and_recognised() -> None:
    (made,) = late("airflow_provider_jimeng.lifecycle.wanted", "Policies")
    assert made(max_attempts=2) == Policies(max_attempts=2)
    assert isinstance(Policies(), made)
    assert not isinstance("something else", made)
    assert made | None == Policies | None


def test_members_are_those_of_the_class() -> None:
    (states,) = late("airflow_provider_jimeng.ledger.states", "TaskState")
    assert states.LANDED == "landed"
    assert next(iter(states)) == "intent"
    assert "TaskState" in repr(states)


def test_what_is_not_there_is_an_error_when_it_is_used() -> None:
    (gone,) = late("airflow_provider_jimeng.lifecycle.wanted", "no_such_name")
    with pytest.raises(AttributeError, match="no_such_name"):
        gone()


def test_nothing_is_imported_before_it_is_used() -> None:
    program = (
        "import sys; from airflow_provider_jimeng.hooks.late import late; "
        "dumps, = late('wave', 'open'); assert 'wave' not in sys.modules; dumps.__name__; "
        "assert 'wave' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=ROOT)


@pytest.mark.parametrize("path", WITH_LATE, ids=lambda path: path.stem)
def test_type_checkers_see_the_names_that_run(path: Path) -> None:
    """Each name comes from the module from which it is imported for type checkers, and it is there."""
    block = next(
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and node.orelse
    )
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    ran = [node.value for node in block.orelse if isinstance(node, ast.Assign)]
    assert ran
    for node, call in zip(block.orelse, ran, strict=True):
        assert isinstance(node, ast.Assign)
        assert isinstance(call, ast.Call)
        module, *names = [ast.literal_eval(each) for each in call.args]
        (target,) = node.targets
        assert isinstance(target, ast.Tuple)
        assert [ast.unparse(each) for each in target.elts] == names
        for name, found in zip(names, late(module, *names), strict=True):
            assert typed[name] == module
            assert found._found() is not None


def test_every_operator_uses_it() -> None:
    assert {"base", "batch", "land", "motion_imitation", "jimeng"} <= {path.stem for path in WITH_LATE}
