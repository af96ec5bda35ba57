# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What ``airflow providers ...`` lists of the provider: as a user checks after ``pip install``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_jimeng.hooks.metadata import CONFIGURATION, CONNECTION_FIELDS

from tests.airflow_versions import since_airflow

#: All in one process: each would take its seconds to start.
LISTINGS = """
import contextlib, io, json, sys
from airflow.cli.cli_parser import get_parser

told = {}
for command in sys.argv[1:]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        args = get_parser().parse_args(["providers", *command.split(), "--output", "json"])
        args.func(args)
    told[command] = json.loads(out.getvalue())
print("LISTED " + json.dumps(told))
"""
COMMANDS = ("list", "hooks", "behaviours", "widgets", "links", "triggers", "configs")


@pytest.fixture(scope="module")
def listed() -> dict[str, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LISTINGS, *COMMANDS],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert "LISTED " in done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout.rpartition("LISTED ")[2])
    assert isinstance(found, dict)
    return {command: [row for row in rows if is_ours(row)] for command, rows in found.items()}


def is_ours(row: dict[str, Any]) -> bool:
    text = json.dumps(row)
    return "jimeng" in text or "volcengine" in text


def test_the_provider_is_listed_with_its_version(listed: dict[str, list[dict[str, Any]]]) -> None:
    from airflow_provider_jimeng import __version__

    [row] = listed["list"]
    assert (row["package_name"], row["version"]) == ("airflow-provider-jimeng", __version__)


def test_its_hook_is_listed_under_the_connection_type(listed: dict[str, list[dict[str, Any]]]) -> None:
    [row] = listed["hooks"]
    assert row["connection_type"] == "volcengine"
    assert row["class"] == "airflow_provider_jimeng.hooks.volcengine.VolcengineHook"
    assert row["conn_id_attribute_name"] == "volcengine_conn_id"


@since_airflow("3.2", "3.1 lists no widgets unless flask-appbuilder is installed")
def test_its_form_is_listed_field_by_field(listed: dict[str, list[dict[str, Any]]]) -> None:
    names = {row["connection_parameter_name"] for row in listed["widgets"]}
    assert names == {f"extra__volcengine__{name}" for name in CONNECTION_FIELDS}
    assert listed["behaviours"] == [{"field_behaviours": "volcengine"}]


def test_its_links_triggers_and_options_are_listed(listed: dict[str, list[dict[str, Any]]]) -> None:
    assert {row["extra_link_class_name"].rpartition(".")[2] for row in listed["links"]} >= {
        "JimengResultLink",
        "JimengReportLink",
    }
    assert {row["class"].rpartition(".")[2] for row in listed["triggers"]} == {"jimeng", "slots", "bulk"}
    [options] = listed["configs"]
    for section in CONFIGURATION.values():
        assert set(section["options"]) <= set(re.findall(r"\w+", json.dumps(options)))
