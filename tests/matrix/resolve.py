# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Write the pins of rows anew: ``python -m tests.matrix.resolve [ROW...] [--python 3.12=/path/to/python]``.

In two steps, as an installation comes about: Airflow with what was there at its time, then this provider with
the common-compat that the row wants, and what the tests need. The second keeps what the first has chosen.
Nothing is installed for it. pip must get its packages from an index that tells when each was uploaded; what
lies in a folder of wheels (``find-links``) would be taken whatever its age.
"""

from __future__ import annotations

import argparse
import json
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
    elif row.oldest_compat:
        # Airflow's own providers ask for newer ones as time goes by: it decides about them.
        wanted[COMPAT] = f"{COMPAT}=={floors()[COMPAT]}"
    wanted["apache-airflow"] = f"apache-airflow=={row.airflow}"
    return [*wanted.values(), *row.pins, "asyncpg"]


def second_step(row: Row) -> list[str]:
    """Return the requirements that are looked for today, on top of the first step."""
    exactly = f"=={floors()[COMPAT]}" if row.oldest_compat else ""
    return [f"apache-airflow=={row.airflow}", f"{COMPAT}{exactly}", *TOOLS]


def choose(pip: list[str], requirements: list[str], scratch: Path) -> dict[str, str]:
    """Return what pip would install, by name, without installing it; this project is left out."""
    report, log = scratch / "report.json", scratch / "pip.log"
    must([*pip, "--dry-run", "--ignore-installed", "--report", str(report), *requirements], log)
    chosen = [each["metadata"] for each in json.loads(report.read_text())["install"]]
    return {each["name"]: each["version"] for each in chosen if each["name"] != PACKAGE}


def resolve(row: Row, wheel: Path, scratch: Path, pythons: dict[str, str]) -> list[str]:
    """Return the pins of a row."""
    folder = scratch / "venv"
    folder.mkdir(parents=True)
    must([interpreter(row.python, pythons), "-m", "venv", str(folder)], scratch / "venv.log")
    pip = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ]
    must([*pip, PIP], scratch / "venv.log")
    until = ["--uploaded-prior-to", f"{row.until}T00:00:00Z"] if row.until else []
    first = choose([*pip, *until], first_step(row), scratch)
    kept = scratch / "kept.txt"
    first.pop(COMPAT, None)
    # Released together under one number; looking for the fitting one, pip would go through hundreds.
    first["boto3"] = first["botocore"]
    kept.write_text("".join(f"{name}=={version}\n" for name, version in first.items()))
    whole = f"{wheel}[{','.join(EXTRAS)}]"
    second = choose([*pip, "-c", str(kept)], [whole, *second_step(row)], scratch)
    return sorted((f"{name}=={version}" for name, version in second.items()), key=str.lower)


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
            pins = resolve(row, wheel, scratch / row.name, pythons)
            row.constraints.parent.mkdir(exist_ok=True)
            head = (
                f"# What row {row.name} of make matrix installs. Written by python -m tests.matrix.resolve."
            )
            row.constraints.write_text("\n".join([head, *pins, ""]), encoding="utf-8")
            print(f"{row.name}: {len(pins)} packages -> {row.constraints.name}", flush=True)


if __name__ == "__main__":
    main()
