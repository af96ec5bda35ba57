# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Turn the records of the rivals into the tables of docs/comparison.md::

    python -m tests.benchmarks.rivals.table tests/data/bench/rivals-*.json --into docs/comparison.md

Pure but for the reading: every number is a record's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.rivals.contenders import CONTENDERS, Contender

Record = dict[str, Any]
Row = dict[str, Any]
BEGIN, END = "<!-- rivals: begin -->\n", "<!-- rivals: end -->\n"


def tables(records: Sequence[Record]) -> str:
    """Return both tables, without one that no record has rows of; of two records the later one counts."""
    rows = {
        (row["round"], row["who"]): row
        for record in sorted(records, key=lambda each: each["date"])
        for row in record["rows"]
    }
    parts = [list(_busy(rows)), list(_money(rows))]
    return "\n\n".join("\n".join(lines) for lines in parts if len(lines) > 2) + "\n"


def _busy(rows: dict[tuple[str, str], Row]) -> Iterator[str]:
    yield from _head(
        "",
        "slot utilisation",
        "idle slot, median / p95 s",
        "refused submits",
        "queries per item",
        "done to noticed, median / p95 s",
        "done to file, median s",
        "wall time, s",
        "paid twice",
        "load",
    )
    for each in _there(rows, "first"):
        row = rows["first", each.key]
        yield _line(
            each.words,
            f"{row['utilisation']:.1%}".replace("%", " %"),
            f"{row['idle_median']:.1f} / {row['idle_p95']:.1f}",
            row["refused"],
            f"{row['queries_per_item']:.1f}",
            f"{row['noticed_median']:.1f} / {row['noticed_p95']:.1f}",
            f"{row['landed_median']:.1f}",
            f"{row['wall']:.0f}",
            f"{row['paid_again']} of {row['items']}",
            row["load"],
        )


def _money(rows: dict[tuple[str, str], Row]) -> Iterator[str]:
    yield from _head(
        "",
        "nothing went wrong",
        "cleared, files there",
        "new run, another folder",
        "workers killed once: paid twice",
        "lost or not made",
        "run",
    )
    there = [each for each in CONTENDERS if any((name, each.key) in rows for name in ("elsewhere", "killed"))]
    for each in there:
        yield _line(
            each.words,
            *(_again(rows.get((name, each.key))) for name in ("first", "again", "elsewhere", "killed")),
            _lost(rows.get(("killed", each.key))),
            _run(rows.get(("killed", each.key))),
        )


def _again(row: Row | None) -> str:
    return "-" if row is None else f"{row['paid_again']} of {row['items']}"


def _lost(row: Row | None) -> str:
    if row is None:
        return "-"
    told = f" ({row['unknown']} told as *unknown*)" if row["unknown"] else ""
    return f"{row['items'] - row['landed']}{told}"


def _run(row: Row | None) -> str:
    return "-" if row is None else f"{row['state']}, {row['wall']:.0f} s"


def _there(rows: dict[tuple[str, str], Row], name: str) -> list[Contender]:
    return [each for each in CONTENDERS if (name, each.key) in rows]


def _head(*cells: str) -> Iterator[str]:
    yield _line(*cells)
    yield "|" + "---|" * len(cells)


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the records of files, in their order."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def into(page: str, records: Sequence[Record]) -> str:
    """Return a page with the tables between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables(records)}\n{END}{after}"


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rivals.table", description=__doc__)
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, help="a page with the two marks; else to standard output")
    chosen = parser.parse_args(arguments)
    records = read(chosen.records)
    if chosen.into is None:
        print(tables(records))
    else:
        chosen.into.write_text(into(chosen.into.read_text(encoding="utf-8"), records), encoding="utf-8")


if __name__ == "__main__":
    main()
