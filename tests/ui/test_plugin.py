# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Airflow finds the tab; what is no api-server pays nothing for it; it can be switched off."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import json
import runpy
import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_jimeng.ui.plugin import JimengPlugin, LazyApp

PROGRAM = """
import json, sys
import airflow.sdk, airflow.sdk.log, airflow.sdk.configuration
import airflow.sdk.plugins_manager
before = set(sys.modules)
from airflow_provider_jimeng.ui.plugin import JimengPlugin
print(json.dumps({"views": len(JimengPlugin.external_views), "apps": len(JimengPlugin.fastapi_apps),
    "new": sorted(set(sys.modules) - before)}))
"""


def in_a_fresh_process() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_tab_is_on_runs_and_on_task_instances():
    assert [each["destination"] for each in JimengPlugin.external_views] == ["dag_run", "task_instance"]
    assert {each["href"].partition("?")[0] for each in JimengPlugin.external_views} == {
        "jimeng/view/{DAG_ID}/{RUN_ID}"
    }
    assert len({each["url_route"] for each in JimengPlugin.external_views}) == 2


def test_airflow_finds_it_by_its_entry_point():
    entries = importlib.metadata.entry_points(group="airflow.plugins")
    (found,) = (each for each in entries if each.value.startswith("airflow_provider_jimeng."))
    assert found.load() is JimengPlugin


def test_airflow_takes_it_for_a_plugin():
    manager = importlib.import_module("airflow.plugins_manager")
    assert manager.is_valid_plugin(JimengPlugin)


def test_its_import_loads_nothing_but_small_modules_of_this_product():
    found = in_a_fresh_process()
    ours = [each for each in found["new"] if each.startswith("airflow_provider_jimeng")]
    assert set(found["new"]) - set(ours) <= {"airflow.sdk.definitions.connection"}
    assert len(ours) < 12
    assert (found["views"], found["apps"]) == (2, 1)


@pytest.mark.parametrize(("text", "views"), [("False", 0), ("no", 0), ("perhaps", 0), ("True", 2), ("", 2)])
def test_it_can_be_switched_off(text: str, views: int, monkeypatch: pytest.MonkeyPatch):
    from airflow_provider_jimeng.ui import plugin

    monkeypatch.setenv("AIRFLOW__JIMENG__UI", text)
    assert plugin._wanted() is (views == 2)


def test_switched_off_it_adds_no_view_and_no_application(monkeypatch: pytest.MonkeyPatch):
    from airflow_provider_jimeng.ui import plugin

    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW__JIMENG__UI", "False")
        off = runpy.run_path(plugin.__file__)["JimengPlugin"]
    assert (off.external_views, off.fastapi_apps) == ([], [])


async def test_the_application_is_made_once_by_the_first_request():
    made: list[int] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send(scope["path"])

    def make() -> Any:
        made.append(1)
        return answer

    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        return {}

    app = LazyApp(make)
    assert made == []
    await asyncio.gather(*(app({"path": at}, receive, send) for at in range(5)))
    assert (made, sorted(told)) == ([1], [0, 1, 2, 3, 4])
