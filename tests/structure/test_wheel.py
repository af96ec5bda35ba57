# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The built wheel holds the package and nothing else, and declares what it should."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import airflow_provider_jimeng

from tests.structure.imports import PACKAGE, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(read(wheel, "METADATA"))


def read(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (each for each in wheel.namelist() if each.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode("utf-8")


def test_it_holds_every_module_and_the_type_marker(wheel: zipfile.ZipFile):
    held = set(wheel.namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / PACKAGE).rglob("*.py")}
    assert sources <= held
    assert f"{PACKAGE}/py.typed" in held


def test_it_holds_nothing_else(wheel: zipfile.ZipFile):
    tops = {Path(name).parts[0] for name in wheel.namelist()}
    assert tops == {PACKAGE, f"{PACKAGE}-{airflow_provider_jimeng.__version__}.dist-info"}
    stray = [each for each in wheel.namelist() if "__pycache__" in each or each.endswith(".pyc")]
    assert stray == []


def test_it_is_found_by_airflow(wheel: zipfile.ZipFile):
    entries = configparser.ConfigParser()
    entries.read_string(read(wheel, "entry_points.txt"))
    assert dict(entries["apache_airflow_provider"]) == {
        "provider_info": f"{PACKAGE}.get_provider_info:get_provider_info"
    }
    assert dict(entries["airflow.plugins"]) == {"jimeng": f"{PACKAGE}.ui.plugin:JimengPlugin"}


def test_it_carries_the_licence(wheel: zipfile.ZipFile):
    assert "Apache License" in read(wheel, "licenses/LICENSE")


def test_it_declares_what_it_needs(metadata: Message):
    assert metadata["Name"] == "airflow-provider-jimeng"
    assert metadata["Version"] == airflow_provider_jimeng.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    names = {each.split(">=")[0].strip() for each in needed}
    assert names == {
        "aiohttp",
        "apache-airflow",
        "apache-airflow-providers-common-compat",
        "pendulum",
        "requests",
        "sqlalchemy",
    }
    assert {"postgres", "media", "s3", "gcs", "tos", "emulator"} <= set(
        metadata.get_all("Provides-Extra", [])
    )
