# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Turn the records of a run of the matrix into the tables of docs/compatibility.md::

    python -m tests.matrix.table [--into docs/compatibility.md]

Every version and every count is a record's; what stands beside them in words is below.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.matrix.rows import ROOT, ROWS, row_named
from tests.matrix.suite import ENGINE_PART, lacking

Record = dict[str, Any]
RECORDS = ROOT / "tests" / "data" / "matrix"
BEGIN, END = "<!-- matrix: begin -->\n", "<!-- matrix: end -->\n"
#: What a thing of Airflow's gives the users of this provider, and what they have where it is missing.
FEATURES = {
    "cli": (
        "`airflow jimeng ...` (the provider's `cli` key)",
        "`python -m airflow_provider_jimeng ...`, the same commands",
    ),
    "form": (
        "the connection form comes from the provider's metadata, no hook is imported for it",
        "the form comes from the hook: the same fields",
    ),
    "retry_policy": (
        "`RetryPolicy`",
        "retries as set; an error that no retry helps still fails at once",
    ),
    "task_state": (
        "Airflow's task state store",
        "nothing is missed: what was paid for is in the ledger on every release",
    ),
    "async_connection": (
        "a trigger reads its connection on the loop",
        "it is read in a thread that asks through the loop",
    ),
    "on_kill": (
        "a trigger is told of a kill",
        "nothing is missed: no trigger here cancels anything",
    ),
    "external_views": ("views of plugins in the UI", "none"),
    "async_operator": (
        "`async` tasks (`@task async def`)",
        "the hook's `aget_result` in triggers; tasks use `get_result`",
    ),
}


def read(folder: Path = RECORDS) -> list[Record]:
    """Return the records that there are, in the order of the rows."""
    files = [folder / f"{row.name}.json" for row in ROWS]
    return [json.loads(path.read_text(encoding="utf-8")) for path in files if path.is_file()]


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield the lines: what was run on what, and what each minor release of Airflow has."""
    yield (
        "| row | Airflow | SQLAlchemy | common-compat | Python | passed | failed | left out "
        "| on real components: passed, failed | not run yet |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for record in records:
        versions = record["versions"]
        unit = [each for part, each in record["parts"].items() if part != ENGINE_PART]
        engine = record["parts"].get(ENGINE_PART)
        cells = [
            record["row"],
            versions["airflow"],
            versions["sqlalchemy"],
            versions["common_compat"],
            record["python"],
            sum(each["passed"] for each in unit),
            sum(len(each["failed"]) for each in unit),
            sum(len(each["skipped"]) for each in unit),
            f"{engine['passed']}, {len(engine['failed'])}" if engine else "-",
            ", ".join(sorted(lacking(row_named(record["row"]), record["parts"]))) or "-",
        ]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"
    yield ""
    for record in records:
        folders = ", ".join(part for part in record["parts"] if part != ENGINE_PART)
        yield f"- {record['row']}: {folders}"
    yield ""
    yield from _features(records)


def _features(records: Sequence[Record]) -> Iterator[str]:
    seen: dict[str, dict[str, bool]] = {}
    for record in records:
        minor = ".".join(record["versions"]["airflow"].split(".")[:2])
        seen.setdefault(minor, {}).update(record["features"])
    yield "| | " + " | ".join(seen) + " | where it is missing |"
    yield "|---" * (len(seen) + 2) + "|"
    for name, (what, instead) in FEATURES.items():
        has = ["yes" if features[name] else "no" for features in seen.values()]
        yield f"| {what} | {' | '.join(has)} | {instead if 'no' in has else '-'} |"


def left_out(records: Sequence[Record]) -> Iterator[str]:
    """Yield a line per reason for which tests were left out somewhere, with where."""
    where: dict[str, set[str]] = {}
    for record in records:
        for part in record["parts"].values():
            for each in part["skipped"]:
                where.setdefault(each["reason"], set()).add(record["row"])
    for reason, rows in sorted(where.items()):
        yield f"- {reason} ({', '.join(sorted(rows))})"


def into(page: str, records: Sequence[Record]) -> str:
    """Return a page with the tables and the list of what was left out between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    missing = list(left_out(records))
    lines = [
        *tables(records),
        "",
        *(["Tests that were left out, and where:", "", *missing] if missing else []),
    ]
    return before + BEGIN + "\n".join(lines).rstrip() + "\n" + END + after


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix.table", description=__doc__)
    parser.add_argument("--into", type=Path, help="a page with the two marks; else to standard output")
    chosen = parser.parse_args(arguments)
    records = read()
    if chosen.into is None:
        print("\n".join([*tables(records), "", *left_out(records)]))
    else:
        chosen.into.write_text(into(chosen.into.read_text(encoding="utf-8"), records), encoding="utf-8")


if __name__ == "__main__":
    main()
