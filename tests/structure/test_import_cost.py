# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What importing costs, in a fresh interpreter: Airflow reads provider info in every process it has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.structure.imports import PURE, ROOT, modules

HEAVY = ("airflow", "aiohttp", "requests", "sqlalchemy", "pendulum", "fsspec", "numpy", "av", "PIL")

PROGRAM = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[3:]:
    importlib.import_module(name)
if sys.argv[2] == "info":
    from airflow_provider_jimeng.get_provider_info import get_provider_info
    get_provider_info()
print(json.dumps(sorted(sys.modules)))
"""


def loaded_by(*names: str, info: bool = False) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after importing the names."""
    command = [sys.executable, "-I", "-c", PROGRAM, str(ROOT), "info" if info else "", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_package_loads_nothing_heavy():
    assert loaded_by("airflow_provider_jimeng").isdisjoint(HEAVY)


def test_the_provider_info_loads_nothing_heavy():
    assert loaded_by(info=True).isdisjoint(HEAVY)


def test_the_pure_layers_load_the_standard_library_only():
    pure = [f"airflow_provider_jimeng.{name}" for name, _ in modules() if name.partition(".")[0] in PURE]
    assert len(pure) > 5
    # What an installation loads by itself, through .pth files, is not our doing.
    foreign = loaded_by(*pure) - loaded_by() - {"airflow_provider_jimeng"}
    assert foreign <= set(sys.stdlib_module_names)


def test_a_heavy_import_would_be_seen():
    assert "requests" in loaded_by("requests")


@pytest.mark.parametrize("name", ["triggers", "operators", "sensors"])
def test_dag_files_do_not_load_media_libraries(name: str):
    """A scheduler parses DAG files again and again; decoding video is for the worker."""
    assert loaded_by(f"airflow_provider_jimeng.{name}.jimeng").isdisjoint({"av", "PIL", "numpy"})


#: What an operator needs to be put into a DAG; beyond this Airflow's own operators load it, or a worker does.
MOST_MODULES_OF_A_DAG_FILE = 45


@pytest.mark.parametrize("name", ["operators", "sensors"])
def test_dag_files_load_no_client_and_no_database(name: str) -> None:
    """Only what Airflow's own base of operators has loaded already may be there of these."""
    with_airflow = loaded_by("airflow.sdk.bases.operator", "airflow.sdk.bases.sensor")
    added = loaded_by(f"airflow_provider_jimeng.{name}.jimeng") - with_airflow
    assert added.isdisjoint(HEAVY), "import it where it is used, or through hooks.late"


@pytest.mark.parametrize("name", ["operators", "sensors"])
def test_dag_files_load_few_modules(name: str) -> None:
    program = (
        "import airflow.sdk.bases.sensor, json, sys; before = set(sys.modules); "
        f"import airflow_provider_jimeng.{name}.jimeng; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
    added = [each for each in json.loads(done.stdout) if each.startswith("airflow_provider_jimeng")]
    assert len(added) <= MOST_MODULES_OF_A_DAG_FILE, added
