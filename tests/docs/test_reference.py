# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The reference is built without a complaint, and every public name of the package is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import page
from tests.docs.reference import MODULES, build

#: What DAG authors and programs import: module, and what of it.
PUBLIC = {
    "api.signing": ["sign_request"],
    "hooks.volcengine": ["VolcengineHook", "VolcengineHook.sign", "VolcengineHook.request"],
    "hooks.jimeng": [
        "JimengHook",
        "JimengHook.submit_task",
        "JimengHook.submit_motion_imitation",
        "JimengHook.get_result",
        "JimengHook.aget_result",
        "JimengHook.unsafe_submit",
    ],
    "operators.jimeng": [
        "JimengSubmitTaskOperator",
        "JimengLandResultOperator",
        "JimengMotionImitationOperator",
        "JimengBatchOperator",
    ],
    "sensors.jimeng": ["JimengTaskSensor"],
    "triggers.jimeng": ["JimengTaskTrigger"],
    "links.jimeng": ["JimengResultLink", "JimengReportLink"],
    "exceptions": ["JimengError", "JimengUnknownSubmitError", "JimengInputError", "JimengLandingError"],
    "emulator": ["Emulator", "EmulatorConfig", "result_tag"],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    build(folder)
    return folder


@pytest.mark.parametrize(("module", "names"), PUBLIC.items())
def test_each_public_name_has_its_place(built: Path, module: str, names: list[str]) -> None:
    text = (built / "airflow_provider_jimeng" / f"{module.replace('.', '/')}.html").read_text("utf-8")

    assert [name for name in names if f'id="{name}"' not in text] == []


def test_arguments_and_their_meaning_are_in_it(built: Path) -> None:
    folder = built / "airflow_provider_jimeng" / "operators"

    assert "most new submits of this task instance" in (folder / "jimeng.html").read_text("utf-8")
    for words in ("cut_result_first_second_switch", "seconds to wait for a free slot of the account"):
        assert words in (folder / "base.html").read_text("utf-8")


def test_there_is_a_page_per_module_an_index_and_a_search(built: Path) -> None:
    pages = [built / f"{name.replace('.', '/')}.html" for name in MODULES]

    assert [path for path in (*pages, built / "index.html", built / "search.js") if not path.exists()] == []


def test_the_page_for_contributors_tells_how_it_is_built() -> None:
    assert "python -m tests.docs.reference" in page("docs/contributing.md")
