# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The layers: each imports only downwards, and the pure ones touch neither the world nor the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.structure.imports import LAYERS, PURE, clock_reads, imports, misstep, modules

MODULES = [pytest.param(name, path, id=name or "package") for name, path in modules()]


@pytest.mark.parametrize(("name", "path"), MODULES)
def test_a_module_imports_only_downwards(name: str, path: Path):
    found = imports(path.read_text(encoding="utf-8"), name, is_package=path.stem == "__init__")
    wrong = [
        f"{path.name}:{line} {target}: {told}" for line, target in found if (told := misstep(name, target))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "path"), MODULES)
def test_a_pure_layer_is_told_the_time(name: str, path: Path):
    lines = list(clock_reads(path.read_text(encoding="utf-8"))) if name.partition(".")[0] in PURE else []
    assert lines == []


def test_every_folder_of_the_package_is_a_layer():
    folders = {
        name.partition(".")[0] for name, path in modules() if path.parent.name != "airflow_provider_jimeng"
    }
    assert folders <= {*LAYERS, "emulator"}


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("api.signing", "airflow_provider_jimeng.ledger.store"),
        ("api.signing", "airflow_provider_jimeng.policy"),
        ("policy.poll", "requests"),
        ("policy.poll", "time"),
        ("policy.poll", "time.monotonic"),
        ("api.build", "urllib.request.urlopen"),
        ("client.sync", "airflow.sdk.BaseHook"),
        ("lifecycle.submit", "airflow_provider_jimeng.hooks.ledger"),
        ("lifecycle.submit", "airflow"),
        ("operators.jimeng", "airflow_provider_jimeng.emulator.app"),
        ("emulator.app", "airflow_provider_jimeng.client.sync"),
        ("emulator.app", "airflow.sdk"),
        ("get_provider_info", "airflow"),
        ("", "airflow.sdk"),
    ],
)
def test_a_misstep_is_seen(module: str, imported: str):
    assert misstep(module, imported)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("api.signing", "hashlib"),
        ("api.build", "urllib.parse.urlsplit"),
        ("api.signing", "airflow_provider_jimeng.api.models.Answer"),
        ("policy.poll", "airflow_provider_jimeng.exceptions.JimengError"),
        ("client.sync", "requests"),
        ("hooks.volcengine", "airflow.sdk.BaseHook"),
        ("operators.jimeng", "airflow_provider_jimeng.sensors.jimeng"),
        ("emulator.app", "airflow_provider_jimeng.api.signing"),
        ("emulator.app", "airflow_provider_jimeng.emulator.slots"),
        ("emulator.app", "time"),
        ("cli", "airflow_provider_jimeng.operators"),
    ],
)
def test_a_step_downwards_is_fine(module: str, imported: str):
    assert misstep(module, imported) is None


def test_relative_and_hidden_imports_are_seen():
    source = "from . import codes\nfrom ..ledger.store import Ledger\ndef f():\n    import time\n"
    assert list(imports(source, "api.signing")) == [
        (1, "airflow_provider_jimeng.api.codes"),
        (2, "airflow_provider_jimeng.ledger.store.Ledger"),
        (4, "time"),
    ]
    assert list(imports("from .models import Answer", "api", is_package=True)) == [
        (1, "airflow_provider_jimeng.api.models.Answer")
    ]


def test_a_look_at_the_clock_is_seen():
    source = "import datetime\nx = datetime.datetime.now()\ny = datetime.date.today()\nz = ledger.now()\n"
    assert list(clock_reads(source)) == [2, 3]
