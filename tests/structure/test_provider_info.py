# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The metadata is what the installed Airflow accepts, and every class it names is there."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from airflow_provider_jimeng.get_provider_info import get_provider_info

from tests.airflow_versions import providers_of_tasks

SCHEMAS = importlib.resources.files("airflow")


def named_objects(info: dict[str, Any]) -> Iterator[str]:
    """Yield the dotted names of classes and modules that the metadata speaks of."""
    for connection in info.get("connection-types", []):
        yield connection["hook-class-name"]
    yield from info.get("extra-links", [])
    yield from info.get("cli", [])
    for kind in ("operators", "sensors", "hooks"):
        for entry in info.get(kind, []):
            yield from entry["python-modules"]
    for entry in info.get("triggers", []):
        yield from entry["python-modules"]


def complaints(value: Any, schema: dict[str, Any]) -> list[str]:
    validator = jsonschema.validators.validator_for(schema)
    return [f"{error.json_path}: {error.message}" for error in validator(schema).iter_errors(value)]


def load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


def test_the_metadata_fits_the_schema_of_the_installed_airflow():
    schema = json.loads(SCHEMAS.joinpath("provider_info.schema.json").read_text())
    assert complaints(get_provider_info(), schema) == []


def test_the_connection_fields_fit_the_schema_of_provider_yaml():
    """Airflow checks less of these at run time than it documents."""
    schema = json.loads(SCHEMAS.joinpath("provider.yaml.schema.json").read_text())
    connections = {**schema["properties"]["connection-types"], "definitions": schema.get("definitions", {})}
    assert complaints(get_provider_info()["connection-types"], connections) == []


@pytest.mark.parametrize("name", sorted(set(named_objects(get_provider_info()))))
def test_what_the_metadata_names_exists(name: str):
    assert load(name) is not None


def test_the_metadata_names_the_links_and_the_configuration():
    info = get_provider_info()
    assert "airflow_provider_jimeng.links.jimeng.JimengResultLink" in info["extra-links"]
    options = info["config"]["jimeng"]["options"]
    assert {"ledger_conn_id", "ledger_url", "allow_local_ledger", "volatile_query_params"} <= set(options)


def test_airflow_finds_the_provider_by_its_entry_point():
    entries = importlib.metadata.entry_points(group="apache_airflow_provider")
    ours = [entry for entry in entries if entry.value.startswith("airflow_provider_jimeng.")]
    assert [entry.load()()["package-name"] for entry in ours] == ["airflow-provider-jimeng"]


def test_airflow_offers_the_connection_type():
    manager = providers_of_tasks()
    assert "airflow-provider-jimeng" in manager.providers
    hook = manager.hooks["volcengine"]
    assert hook is not None
    assert hook.hook_class_name == "airflow_provider_jimeng.hooks.volcengine.VolcengineHook"
    assert hook.hook_name == "Volcengine"
