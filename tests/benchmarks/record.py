# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a benchmark leaves behind: a record of who did what, where, with which versions and how fast."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """
    One benchmark, run once.

    :param rows: a mapping for each of those that were measured side by side, with ``who`` and its figures.
    """

    benchmark: str
    rows: Sequence[Row]
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    commit: str = ""
    date: str = ""
    machine: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "commit": self.commit,
            "date": self.date,
            "machine": self.machine,
            "versions": dict(self.versions),
            "command": self.command,
            "rows": [dict(row) for row in self.rows],
        }


def parser_of(module: str, says: str | None) -> argparse.ArgumentParser:
    """Return the beginnings of a benchmark's command."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{module}",
        description=says,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=Path, help="write the record here, as JSON")
    return parser


def keep(benchmark: str, rows: Sequence[Row], into: Path | None, *, versions: Iterable[str] = ()) -> Record:
    """Make the record of what was measured just now, print it, and write it where that is wished."""
    record = Record(
        benchmark,
        [{name: _short(value) for name, value in row.items()} for row in rows],
        {"python": platform.python_version(), **{name: _version(name) for name in sorted(versions)}},
        f"python -m tests.benchmarks.{benchmark.partition(':')[0]}{_arguments()}",
        _commit(),
        f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        machine(),
    )
    text = json.dumps(record.to_dict(), indent=1, ensure_ascii=False)
    print(text)
    if into is not None:
        into.write_text(text + "\n", encoding="utf-8")
    return record


def read(paths: Iterable[Path]) -> list[Record]:
    """Return the records of files."""
    return [Record(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def machine() -> str:
    """Say what this runs on, and how busy it is: on a shared machine a speed is worth little by itself."""
    return f"{os.cpu_count()} cores, {platform.machine()}, one-minute load {os.getloadavg()[0]:.1f}"


def interleaved(rivals: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Ask each for a figure, in turns: what slows the machine for a while slows all of them."""
    found: dict[str, list[float]] = {who: [] for who in rivals}
    for _ in range(rounds):
        for who, measure in rivals.items():
            found[who].append(measure())
    return found


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the median and the most."""
    return min(values), median(values), max(values)


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _arguments() -> str:
    given = list(sys.argv[1:])
    for name in ("--records", "--python", "--sdk"):
        # Places of the machine that measured: nobody else has them.
        if name in given:
            at = given.index(name)
            given[at + 1] = "PATH"
    return "".join(f" {each}" for each in given)
