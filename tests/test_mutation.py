# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The mutation run's own parts: changes that are there, and a test that is blamed for its own work only."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutation import live
from tests.mutation.baseline import Baseline
from tests.mutation.changes import Mutant, mutants
from tests.mutation.trial import CANNOT, Order, tried

SOURCE = """
LIMIT = 7


def more(number):
    return number + 1


def kind(number):
    return "few" if number < LIMIT else "many"
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "counted.py"
    path.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("counted", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def changes_of(module: ModuleType) -> dict[str, Mutant]:
    return {f"{each.line}: {each.what}": each for each in mutants(Path(str(module.__file__)))}


def test_every_place_is_changed_once(module: ModuleType):
    assert set(changes_of(module)) == {
        "2: 7 -> 8",
        "6: returns None",
        "6: Add -> Sub",
        "6: 1 -> 2",
        "10: returns None",
        "10: condition negated",
        "10: Lt -> LtE",
    }


@pytest.mark.parametrize(
    ("change", "more", "kind"),
    [
        ("6: returns None", None, "many"),
        ("6: Add -> Sub", 6, "many"),
        ("6: 1 -> 2", 9, "many"),
        ("10: condition negated", 8, "few"),
        ("10: Lt -> LtE", 8, "few"),
    ],
)
def test_a_function_that_was_imported_before_is_changed(
    module: ModuleType, change: str, more: object, kind: str
):
    function = module.more
    assert (function(7), module.kind(7)) == (8, "many")
    assert live.replace(changes_of(module)[change])
    assert (function(7), module.kind(7)) == (more, kind)


def test_what_is_done_at_import_can_not_be_changed_later(module: ModuleType):
    assert not live.replace(changes_of(module)["2: 7 -> 8"])
    assert module.LIMIT == 7


BASELINE = Baseline(
    seconds={"tests/a": 1.0, "tests/b": 2.0, "tests/c": 30.0},
    tests={"code.py": {1: ["tests/b", "tests/a", "tests/c"]}},
    at_import={},
    useless=[],
)
CHANGE = Mutant(Path("code.py"), 1, "1 -> 2", 0, 0)


def test_who_notices_is_named_and_asked_first_from_then_on():
    order = Order(BASELINE, budget_seconds=10.0)
    assert order.tests(CHANGE) == (["tests/a", "tests/b"], 1)
    trial = tried(CHANGE, order, lambda change, tests: (1, "tests/b") if change else (0, tests[-1]))
    assert trial is not None
    assert trial.noticed_by == "tests/b"
    assert order.tests(CHANGE)[0] == ["tests/b", "tests/a"]


def test_one_that_fails_on_the_code_as_it_is_notices_nothing():
    order = Order(BASELINE, budget_seconds=10.0)

    def run(change: Mutant | None, tests: Sequence[str]) -> tuple[int, str | None]:
        return (1, "tests/a") if "tests/a" in tests else (0, tests[-1])

    trial = tried(CHANGE, order, run)
    assert trial is not None
    assert (trial.noticed_by, trial.tests, order.dropped) == (None, 1, ["tests/a"])


def test_what_can_not_be_tried_is_no_survivor():
    assert tried(CHANGE, Order(BASELINE, 10.0), lambda *_: (CANNOT, None)) is None


def test_an_import_that_fails_by_itself_proves_nothing():
    with pytest.raises(RuntimeError, match="as it is"):
        tried(CHANGE, Order(BASELINE, 10.0), lambda *_: (1, None))


def test_lazy_objects_of_others_are_left_alone(module: ModuleType):
    def loaded(self: object) -> type:
        raise ModuleNotFoundError("asked for what it stands for")

    lazy = type("Lazy", (), {"__class__": property(loaded)})()
    assert live.replace(changes_of(module)["6: 1 -> 2"])
    assert module.more(7) == 9
    del lazy
