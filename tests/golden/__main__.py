# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
``python -m tests.golden``: make the golden set of the version at hand.

A set of a released version is never made again: it is what that release left, not what today's code would.
``--version NAME`` is for an earlier state of the code, into whose tree this folder was copied.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import tests.conftest  # noqa: F401  Airflow's home, before Airflow is imported

# isort: split
import pytest

import airflow_provider_jimeng
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

from tests.golden import files
from tests.golden.scene import Scene
from tests.legs import Bench, quick

_REPOSITORY = Path(__file__).parents[2]


def released(version: str, changelog: str) -> bool:
    """Tell whether a changelog has a section for a version."""
    return any(line.startswith(f"## [{version}]") for line in changelog.splitlines())


def check_may_be_made(version: str, folder: Path, changelog: str) -> None:
    """
    Refuse to make a released version's set again.

    :raises SystemExit: there is one, and the version is out, or is another than that of the code at hand.
    """
    current = version == airflow_provider_jimeng.__version__
    if folder.exists() and (not current or released(version, changelog)):
        raise SystemExit(
            f"The set of {version} is there, and stays as it is: it is what that one left. "
            "Raise __version__ first."
        )


def make(folder: Path, version: str) -> None:
    """Play the scene and write what it left."""
    with (
        tempfile.TemporaryDirectory(prefix="jimeng-golden-") as scratch,
        pytest.MonkeyPatch.context() as patch,
    ):
        home = Path(scratch)
        quick(patch)
        state = home / "vendor.jsonl"
        config = EmulatorConfig(concurrency=None, duration=0.2, results="cheap", state=state)
        with Emulator(config) as emulator:
            bench = Bench(emulator, home, patch)
            scene = Scene(bench, patch)
            scene.play()
            pairs = {scratch: files.FOLDER, emulator.host: files.HOST}
            ledger = home / "copy.db"
            files.copy_ledger(bench.ledger_file, ledger)
            vendor = state.read_text(encoding="utf-8")
            made_at = time.time()
            scene.play_on()
            bench.ledger.close()
        shutil.rmtree(folder, ignore_errors=True)
        values = {
            "made.json": {"version": version, "made_at": made_at},
            "deferrals.json": scene.deferrals,
            "xcoms.json": scene.xcoms,
            "vendor.jsonl": vendor,
        }
        files.write(folder, values, pairs)
        files.copy_outputs(home / "out", folder / "out", pairs)
        files.swap_in_ledger(ledger, pairs)
        shutil.copy(ledger, folder / "ledger.db")
        (folder / "ledger.postgres.sql").write_text(files.as_postgres(ledger), encoding="utf-8")
        (folder / files.SUMS).write_text(files.sums(folder), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden")
    parser.add_argument("--version", default=airflow_provider_jimeng.__version__)
    version = parser.parse_args().version
    folder = files.ROOT / version
    check_may_be_made(version, folder, (_REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"))
    make(folder, version)
    print(folder.relative_to(_REPOSITORY))
    return 0


if __name__ == "__main__":
    sys.exit(main())
