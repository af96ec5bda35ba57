# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Turn records into the tables of docs/performance.md::

    python -m tests.benchmarks.table [RECORDS...] --into docs/performance.md

A page has a pair of marks for each benchmark, ``<!-- bench: begin NAME -->`` and ``<!-- bench: end -->``;
between them goes a table for each record of ``NAME`` or ``NAME:...``. Pure but for the reading: no number is
rounded up, left out or made here.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.record import ROOT, Record, read

KEPT = ROOT / "tests" / "data" / "bench"
#: What columns are called where their name in the record does not say it all.
WORDS = {
    "busy_ms_max": "loop busy between two ticks, most, ms",
    "busy_ms_p99": "loop busy between two ticks, p99, ms",
    "cpu_ms_per_poll": "CPU per poll, ms",
    "cpu_s": "CPU, s",
    "cpu_us": "CPU, µs",
    "cpu_us_per_item": "CPU of the simulation per item, µs",
    "gap_ms_p50": "loop late, median, ms",
    "gap_ms_p99": "loop late, p99, ms",
    "import_cpu_ms": "import, CPU ms",
    "import_ms": "import, ms",
    "import_ms_least": "import, least ms",
    "kb_per_wait": "memory per wait, KiB",
    "ms": "ms",
    "noticed_s": "done to noticed, s",
    "parse_cpu_ms": "parse, CPU ms",
    "parse_ms": "parse, ms",
    "peak_mb": "memory, MB",
    "polls_per_s": "polls a second",
    "start_cpu_ms_per_wait": "CPU to start a wait, ms",
    "submit_ms": "claim and two moves, ms",
    "times_ours": "times ours",
}
_SECTION = re.compile(r"(<!-- bench: begin ([a-z_]+) -->\n).*?(<!-- bench: end -->\n)", re.DOTALL)


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield the lines: for each record a table per kind of row, and where, when and how it was measured."""
    for record in records:
        for rows in _alike(record.rows):
            yield ""
            names = list(dict.fromkeys(name for row in rows for name in row))
            yield "| " + " | ".join(WORDS.get(name, name.replace("_", " ")) for name in names) + " |"
            yield "|---" * len(names) + "|"
            for row in rows:
                yield "| " + " | ".join(_cell(row.get(name)) for name in names) + " |"
        versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        yield ""
        yield f"`{record.command}`, {record.date}, commit {record.commit}; {record.machine}; {versions}."


def _alike(rows: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield runs of rows that tell of the same: a question is no move, though both are of one benchmark."""
    held: list[Any] = []
    for row in rows:
        if held and ("question" in row) != ("question" in held[0]):
            yield held
            held = []
        held.append(row)
    if held:
        yield held


def _cell(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def into(page: str, records: Sequence[Record]) -> str:
    """Return a page with the tables of each benchmark between its marks."""

    def section(found: re.Match[str]) -> str:
        mine = [each for each in records if each.benchmark.partition(":")[0] == found[2]]
        return found[1] + "\n".join(tables(mine)) + "\n" + found[3]

    return _SECTION.sub(section, page)


def kept() -> list[Record]:
    """Return the records that are kept for this page; the rivals' on a real Airflow have one of their own."""
    return read(path for path in sorted(KEPT.glob("*.json")) if not path.name.startswith("rivals"))


def sections(page: str) -> list[str]:
    """Return the names of a page's benchmarks."""
    return [found[2] for found in _SECTION.finditer(page)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.table", description=__doc__)
    parser.add_argument("records", type=Path, nargs="*", help="by default those that are kept")
    parser.add_argument("--into", type=Path, help="a page with the marks; else to standard output")
    chosen = parser.parse_args(arguments)
    records = read(chosen.records) if chosen.records else kept()
    if chosen.into is None:
        print("\n".join(tables(records)))
    else:
        chosen.into.write_text(into(chosen.into.read_text(encoding="utf-8"), records), encoding="utf-8")


if __name__ == "__main__":
    main()
