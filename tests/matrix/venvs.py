# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Virtual environments of rows, and the wheel that goes into them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.matrix.rows import EXTRAS, ROOT, TOOLS, Row

PACKAGE = "airflow-provider-jimeng"


class MatrixError(RuntimeError):
    """A row can't be run; the text says what to do about it."""


def run(command: list[str], log: Path, **options: Any) -> int:
    """Run a command into a log file and return its exit code."""
    with log.open("ab") as written:
        done = subprocess.run(command, stdout=written, stderr=subprocess.STDOUT, check=False, **options)
    return done.returncode


def must(command: list[str], log: Path, **options: Any) -> None:
    """Run a command into a log file, and raise with the log's end if it fails."""
    if run(command, log, **options):
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise MatrixError(f"{' '.join(command[:6])} ... failed; the end of {log}:\n{end}")


def interpreter(minor: str, given: Mapping[str, str]) -> str:
    """
    Return a Python of a minor version that works.

    :param given: paths by minor version, which come before what is on the PATH.
    """
    for candidate in filter(None, [given.get(minor), shutil.which(f"python{minor}"), sys.executable]):
        code = f"import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != {minor!r})"
        if subprocess.run([candidate, "-c", code], capture_output=True, check=False).returncode == 0:
            return candidate
    raise MatrixError(f"No Python {minor} with venv was found. Name one: --python {minor}=/path/to/python")


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout into a folder and return it; what was there before goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder.with_suffix(".log")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    must([*build, str(ROOT)], log)
    (wheel,) = folder.glob("*.whl")
    return wheel


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environment(row: Row, home: Path, wheel: Path, pythons: Mapping[str, str]) -> Path:
    """
    Return the interpreter of a row's environment, with the wheel in it.

    The environment stays for the next run, unless the row's constraints have changed; the wheel is installed
    anew each time, without a look at what it needs: that was resolved when the environment was made.
    """
    folder, mark = home / "venv", home / "venv" / ".constraints"
    python = folder / "bin" / "python"
    log = home / "install.log"
    pins = digest(row.constraints)
    if not (mark.is_file() and mark.read_text() == pins):
        shutil.rmtree(folder, ignore_errors=True)
        must([interpreter(row.python, pythons), "-m", "venv", str(folder)], log)
        install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        install += ["--progress-bar", "off", "-c", str(row.constraints)]
        must([*install, f"{wheel}[{','.join(EXTRAS)}]", f"apache-airflow=={row.airflow}", *TOOLS], log)
        must([str(python), "-m", "pip", "check", "--disable-pip-version-check"], log)
        mark.write_text(pins)
    anew = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    must([*anew, "--force-reinstall", str(wheel)], log)
    return python
