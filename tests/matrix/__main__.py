# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Test the built wheel on several releases of Airflow::

    python -m tests.matrix                                   # every row, all of it: hours on two cores
    python -m tests.matrix airflow-3.1 --parts hooks engine  # a part of a row
    python -m tests.matrix --records tests/data/matrix       # and keep what came of it

Needs nothing but this and the ``build`` package: each row makes an environment of its own. A record is of all
parts that were run on this very wheel, in this or an earlier call, each with its commit; the table says what
a row lacks.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.matrix.rows import ROOT, ROWS, Row, row_named
from tests.matrix.suite import copy_tree, kept_parts, parts, run_part
from tests.matrix.venvs import MatrixError, build_wheel, digest, environment

DEFAULT_HOME = ROOT / ".test" / "matrix"


def commit() -> str:
    """Return the checkout's commit, with a ``+`` if files differ from it."""
    return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def probe(home: Path, python: Path) -> dict[str, Any]:
    """
    Return what the row's installation is, from its own mouth.

    :raises MatrixError: the package that it imports is not the one that pip has installed.
    """
    script = home / "tree" / "tests" / "matrix" / "probe.py"
    command = [str(python), "-I", str(script)]
    environ = {"AIRFLOW_HOME": str(home / "airflow"), "PATH": "/usr/bin:/bin"}
    options: dict[str, Any] = {"cwd": home / "tree", "env": environ, "capture_output": True, "text": True}
    done = subprocess.run(command, check=False, **options)
    if done.returncode:
        raise MatrixError(f"The package can't be imported:\n{done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    place = told.pop("from")
    if not Path(place).is_relative_to(python.parents[1].resolve()) or "site-packages" not in place:
        raise MatrixError(f"The tests would import {place}, which is not what pip installed from the wheel")
    return told


def run_row(
    row: Row, wanted: Sequence[str], home: Path, wheel: Path, pythons: Mapping[str, str]
) -> dict[str, Any]:
    """
    Run parts of a row and return its record, of what was run before on the same wheel and pins too.

    :param wanted: names of parts; empty: all.
    """
    stamp, mark = f"{digest(wheel)} {digest(row.constraints)}", home / "of"
    if not mark.is_file() or mark.read_text() != stamp:
        shutil.rmtree(home / "results", ignore_errors=True)
        mark.write_text(stamp)
    python = environment(row, home, wheel, pythons)
    copy_tree(home / "tree")
    about = probe(home, python)
    for part in parts(row):
        if not wanted or part in wanted:
            told = run_part(row, part, home, python, commit())
            counts = f"{told['passed']} passed, {len(told['failed'])} failed, {len(told['skipped'])} skipped"
            print(f"{row.name} {part}: {counts} in {told['seconds']} s", flush=True)
    return {"row": row.name, **about, "wheel": digest(wheel), "parts": kept_parts(row, home)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--parts", nargs="+", default=[], help="folders of tests, or engine; default: all")
    parser.add_argument("--python", action="append", default=[], metavar="3.x=PATH")
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="of environments and results; kept")
    parser.add_argument("--records", type=Path, help="a folder for the records")
    chosen = parser.parse_args(arguments)
    pythons = dict(each.split("=", 1) for each in chosen.python)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder) / "wheel")
        for row in [row_named(name) for name in chosen.rows] or ROWS:
            home = chosen.home.resolve() / row.name
            try:
                with alone(home):
                    record = run_row(row, chosen.parts, home, wheel, pythons)
            except MatrixError as error:
                print(f"{row.name}: {error}", flush=True)
                failed += 1
                continue
            failed += sum(len(each["failed"]) for each in record["parts"].values())
            if chosen.records and record["parts"]:
                keep(record, chosen.records)
    return int(failed > 0)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold a row's folder; a second call waits for the end of the first, which has the same environment."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep(record: Mapping[str, Any], folder: Path) -> None:
    """Write a record into the folder of records."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, sort_keys=True)
    (folder / f"{record['row']}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
