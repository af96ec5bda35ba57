# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The golden sets stay as they were made, and a format that changes needs a new one."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import airflow_provider_jimeng
from airflow.triggers.base import BaseTrigger
from airflow_provider_jimeng import triggers
from airflow_provider_jimeng.triggers.bulk import JimengBulkTrigger
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger
from airflow_provider_jimeng.triggers.slots import JimengSlotTrigger

from tests.golden import files
from tests.golden.__main__ import check_may_be_made, released
from tests.golden.scene import Scene
from tests.upgrades.kit import read, rows
from tests.upgrades.test_upgrades import check_waiting

if TYPE_CHECKING:
    from tests.legs import Bench
    from tests.upgrades.kit import Upgraded

CURRENT = airflow_provider_jimeng.__version__
MAKE = "make its golden set: python -m tests.golden"


def trigger_classes() -> set[str]:
    found = set()
    for module in pkgutil.iter_modules(triggers.__path__, f"{triggers.__name__}."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, BaseTrigger) and kind.__module__ == module.name:
                found.add(f"{kind.__module__}.{kind.__qualname__}")
    return found


def shape(value: Any) -> Any:
    """Return a JSON value's keys, all the way down; lists of references are of one shape."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        # How long tasks take is told where it is known, which depends on how closely their ends were seen.
        return sorted({name for each in value for name in each} - {"expected_seconds"})
    return None


def built(row: dict[str, Any]) -> Any:
    module, _, name = row["classpath"].rpartition(".")
    return getattr(import_module(module), name)(**row["kwargs"])


def test_this_version_has_a_golden_set() -> None:
    assert CURRENT in files.versions(), MAKE


def test_the_sets_are_as_they_were_made(version: str) -> None:
    folder = files.ROOT / version
    assert files.sums(folder) == (folder / files.SUMS).read_text(encoding="utf-8")
    assert read(version, "made.json")["version"] == version


def test_each_trigger_has_rows_in_this_versions_set() -> None:
    assert {row["classpath"] for row in rows(CURRENT)} == trigger_classes(), MAKE


def test_a_trigger_stores_what_this_versions_set_says() -> None:
    for row in rows(CURRENT):
        classpath, kwargs = built(row).serialize()
        stored = json.loads(json.dumps(kwargs))
        assert classpath == row["classpath"]
        assert shape(stored) == shape(row["kwargs"]), (
            f"{classpath} stores other arguments: raise the version; {MAKE}"
        )
        assert stored == row["kwargs"]


def test_a_trigger_of_any_version_is_made_again_and_stores_all_that_it_was_told(version: str) -> None:
    for row in rows(version):
        classpath, kwargs = built(row).serialize()
        stored = json.loads(json.dumps(kwargs))
        assert classpath == row["classpath"]
        assert {name: stored.get(name) for name in row["kwargs"]} == row["kwargs"]


def test_a_leg_leaves_what_this_versions_set_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(bench, monkeypatch)
    scene.play()
    golden = {(row["case"], row["classpath"]): row for row in rows(CURRENT) if row.get("waiting")}
    now = {(row["case"], row["classpath"]): row for row in scene.deferrals if row.get("waiting")}
    assert now.keys() == golden.keys(), MAKE
    for key, row in now.items():
        assert row["next_method"] == golden[key]["next_method"], MAKE
        assert row["next_kwargs"].keys() == golden[key]["next_kwargs"].keys(), MAKE
        assert shape(row["kwargs"]) == shape(golden[key]["kwargs"]), MAKE
    assert shape(scene.xcoms) == shape(read(CURRENT, "xcoms.json")), MAKE


@pytest.mark.parametrize(
    "trigger",
    [
        JimengTaskTrigger([{"task_id": "1", "req_key": "model"}]),
        JimengBulkTrigger([{"task_id": "1", "req_key": "model"}]),
        JimengSlotTrigger("account", "endpoint", "model", "key", 1),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_a_later_release_tells_a_trigger_is_left_out_and_told(
    trigger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, kwargs = trigger.serialize()
    with caplog.at_level(logging.WARNING):
        made = type(trigger)(**kwargs, later_word=[1], even_later=None)
    assert made.serialize() == trigger.serialize()
    (line,) = [each.getMessage() for each in caplog.records]
    assert (
        f"{type(trigger).__name__} leaves out arguments that it does not know: even_later, later_word" in line
    )


def test_a_task_that_a_later_release_deferred_goes_on(upgraded: Upgraded) -> None:
    chosen = upgraded.waiting
    for row in chosen:
        kwargs = row["kwargs"] = {**row["kwargs"], "later_word": 1}
        if "tasks" in kwargs:
            kwargs["tasks"] = [{**each, "later_word": 1} for each in kwargs["tasks"]]
        row["next_kwargs"] = {**row["next_kwargs"], "later_word": 1}
    check_waiting(upgraded, upgraded.all_to_the_end(chosen))


def test_an_event_of_a_later_release_concludes_nothing(upgraded: Upgraded) -> None:
    for row in upgraded.waiting:
        with pytest.raises(Exception, match="event that this release does not know"):
            upgraded.to_the_end(row, {"status": "dreamt", "tasks": []})
    assert upgraded.paid == 0


def test_a_set_of_a_released_version_is_not_made_again(tmp_path: Path) -> None:
    changelog = f"# Changelog\n\n## [Unreleased]\n\n## [{CURRENT}] - 2026-12-01\n"
    assert released(CURRENT, changelog)
    assert not released(CURRENT, "## [Unreleased]\n")
    for version, told in ((CURRENT, changelog), ("0.0.1", "## [Unreleased]\n")):
        with pytest.raises(SystemExit, match="stays as it is"):
            check_may_be_made(version, tmp_path, told)
        check_may_be_made(version, tmp_path / "none", told)
    check_may_be_made(CURRENT, tmp_path, "## [Unreleased]\n")
