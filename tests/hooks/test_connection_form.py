# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The connection's form: one definition, shown by every Airflow, with the ranges that the hook accepts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_jimeng.client.settings import parse_connection
from airflow_provider_jimeng.exceptions import JimengConfigurationError
from airflow_provider_jimeng.hooks.metadata import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR

from tests.airflow_versions import since_airflow

NUMBERS = {name: each["schema"] for name, each in CONNECTION_FIELDS.items() if "minimum" in each["schema"]}
#: What the api-server answers, in a process of its own: for hooks of others it stands in for wtforms.
META = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
found = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "volcengine"]
print("FOUND " + json.dumps([each.model_dump(mode="json") for each in found]))
"""


def read(**extra: Any) -> Any:
    return parse_connection(
        conn_id="c", login="AKLT", password="word", host=None, schema=None, port=None, extra=extra
    )


@pytest.fixture(scope="module")
def meta() -> dict[str, Any]:
    """Return what `/ui/connections/hook_meta` says of the connection type."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", META], capture_output=True, text=True, check=False, timeout=110
    )
    assert "FOUND " in done.stdout, done.stderr[-3000:]
    [found] = json.loads(done.stdout.rpartition("FOUND ")[2])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_the_range_in_the_form_is_what_the_hook_accepts(name: str) -> None:
    low, high = NUMBERS[name]["minimum"], NUMBERS[name]["maximum"]
    for fine in (low, high):
        assert getattr(read(**{name: fine}), name) == fine
    for wrong in (low - (1 if "integer" in NUMBERS[name]["type"] else 0.0005), high + 1):
        with pytest.raises(JimengConfigurationError, match=name):
            read(**{name: wrong})


def test_each_number_of_the_form_has_a_range() -> None:
    kinds = {name: each["schema"]["type"][0] for name, each in CONNECTION_FIELDS.items()}
    assert {name for name, kind in kinds.items() if kind in ("number", "integer")} == set(NUMBERS)


def test_what_the_form_offers_is_accepted() -> None:
    for name, each in CONNECTION_FIELDS.items():
        for example in each["schema"].get("examples", ()):
            assert read(**{name: example}).conn_id == "c"


def test_a_form_that_was_left_empty_is_the_defaults() -> None:
    """The form sends null for a field that nobody filled in, and an empty text for one that was emptied."""
    for empty in (None, ""):
        assert read(**dict.fromkeys(CONNECTION_FIELDS, empty)) == read()


def test_what_may_be_a_secret_is_a_password_field() -> None:
    hidden = {name for name, each in CONNECTION_FIELDS.items() if each["schema"].get("format") == "password"}
    assert hidden == {"session_token", "proxies"}


@since_airflow("3.2", "3.1 shows the hook's widgets, which carry neither ranges nor suggestions")
def test_the_api_server_shows_every_field_with_label_help_range_and_format(meta: dict[str, Any]) -> None:
    shown = meta["extra_fields"]
    assert list(shown) == list(CONNECTION_FIELDS)
    for name, each in CONNECTION_FIELDS.items():
        schema = shown[name]["schema"]
        assert (schema["title"], shown[name]["description"]) == (each["label"], each["description"])
        for key in ("type", "format", "minimum", "maximum", "examples"):
            assert schema.get(key) == each["schema"].get(key), (name, key)


@since_airflow("3.1.3", "before, its UI shows no provider's form unless flask-appbuilder is installed")
def test_the_api_server_shows_the_built_in_fields_by_the_vendors_names(meta: dict[str, Any]) -> None:
    fields = meta["standard_fields"]
    assert meta["hook_name"] == "Volcengine"
    assert {name: fields[name]["title"] for name in ("login", "password", "host")} == UI_FIELD_BEHAVIOUR[
        "relabeling"
    ]
    assert fields["host"]["placeholder"] == "https://visual.volcengineapi.com"
    assert not any(each["hidden"] for each in fields.values() if each)
