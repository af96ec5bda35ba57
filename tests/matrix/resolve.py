# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Write the pins of rows anew: ``python -m tests.matrix.resolve [ROW...] [--python 3.12=/path/to/python]``.

In two steps, as an installation comes about: Airflow with what was there at its time, then this provider with
the common-compat that the row wants, and what the tests need. The second keeps what the first has chosen.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.matrix.rows import COMPAT, EXTRAS, ROWS, TOOLS, Row, floors, row_named
from tests.matrix.venvs import PACKAGE, build_wheel, interpreter, must

#: The first pip that knows ``--uploaded-prior-to``.
PIP = "pip>=26"


def first_step(row: Row) -> list[str]:
    """Return the requirements that are looked for at the row's time."""
    wanted = {name: f"{name}>={version}" for name, version in floors().items() if name != COMPAT}
    if row.floor:
        wanted = {name: f"{name}=={version}" for name, version in floors().items() if name != COMPAT}
    wanted["apache-airflow"] = f"apache-airflow=={row.airflow}"
    return [*wanted.values(), *row.pins, "asyncpg"]


def second_step(row: Row) -> list[str]:
    """Return the requirements that are looked for today, on top of the first step."""
    exactly = f"=={floors()[COMPAT]}" if row.oldest_compat else ""
    return [f"apache-airflow=={row.airflow}", f"{COMPAT}{exactly}", *TOOLS]


def pins_of(python: Path) -> list[str]:
    """Return what is installed as lines of a constraints file, without this project and without pip."""
    command = [str(python), "-m", "pip", "freeze"]
    for name in (PACKAGE, "pip", "setuptools"):
        command += ["--exclude", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = sorted(done.stdout.split("\n"), key=str.lower)
    pins = [line for line in lines if line]
    if odd := [line for line in pins if not re.fullmatch(r"[\w.\-]+==[\w.+!]+", line)]:
        raise SystemExit(f"A package came from a file or an address, not by name and version: {odd}")
    return pins


def resolve(row: Row, wheel: Path, scratch: Path, pythons: dict[str, str]) -> list[str]:
    """Return the pins of a row."""
    log, folder = scratch / f"{row.name}.log", scratch / row.name
    must([interpreter(row.python, pythons), "-m", "venv", str(folder)], log)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
    must([*pip, "--upgrade", PIP], log)
    until = ["--uploaded-prior-to", f"{row.until}T00:00:00Z"] if row.until else []
    must([*pip, *until, *first_step(row)], log)
    kept = scratch / f"{row.name}.kept"
    kept.write_text("".join(f"{pin}\n" for pin in pins_of(python) if not pin.startswith(f"{COMPAT}==")))
    whole = f"{wheel}[{','.join(EXTRAS)}]"
    must([*pip, "--upgrade", "-c", str(kept), whole, *second_step(row)], log)
    must([str(python), "-m", "pip", "check"], log)
    return pins_of(python)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix.resolve", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--python", action="append", default=[], metavar="3.x=PATH")
    parser.add_argument("--scratch", type=Path, help="of environments and pip's logs; default: one that goes")
    chosen = parser.parse_args(arguments)
    pythons = dict(each.split("=", 1) for each in chosen.python)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = chosen.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        wheel = build_wheel(scratch / "wheel")
        for row in [row_named(name) for name in chosen.rows] or ROWS:
            print(f"{row.name}: resolving", flush=True)
            pins = resolve(row, wheel, scratch, pythons)
            row.constraints.parent.mkdir(exist_ok=True)
            head = (
                f"# What row {row.name} of make matrix installs. Written by python -m tests.matrix.resolve."
            )
            row.constraints.write_text("\n".join([head, *pins, ""]), encoding="utf-8")
            print(f"{row.name}: {len(pins)} packages -> {row.constraints.name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
