# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Turn records into the tables of docs/reliability.md::

    python -m tests.engine.chaos.table RECORDS... --into docs/reliability.md

Pure but for the reading: every number is counted from the records, and a record that is wrong is shown.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.engine.chaos.cases import MEANING, SIGNALS, TASK, VICTIMS, Work
from tests.engine.chaos.points import MEANING as POINTS, Point

Record = dict[str, Any]
_HEAD = (
    "executor",
    "triggerers",
    "blows",
    "runs struck",
    "items",
    "accepted submits",
    "runs that paid twice",
    "landed",
    "unknown, told as that",
    "runs that a person cleared",
    "runs in which anything was wrong",
)


def read(paths: Iterable[Path]) -> list[Record]:
    """Return the records of files of JSON lines, in their order."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield the lines: the whole, the tasks' own processes by point, and the installation's parts."""
    yield from _whole(records)
    yield ""
    yield "**The task's own process, struck at a point of its way**"
    yield ""
    yield from _grid(
        [each for each in records if each["victim"] == TASK],
        "point",
        {point.value: f"{POINTS[point]} (`{point.value}`)" for point in Point},
    )
    yield ""
    yield "**A part of the installation, while the runs were held at points of their way**"
    yield ""
    yield from _grid(
        [each for each in records if each["victim"] != TASK], "victim", {name: name for name in VICTIMS}
    )


def _whole(records: Sequence[Record]) -> Iterator[str]:
    yield f"| {' | '.join(_HEAD)} |"
    yield "|---" * len(_HEAD) + "|"
    groups: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for each in records:
        groups[each["executor"], each["triggerers"]].append(each)
    for (executor, triggerers), found in sorted(groups.items()):
        runs = _runs(found)
        fates = _fates(runs)
        twice = sum(each["most_accepted"] > 1 for each in runs)
        lost = sum(bool(each["wrong"]) for each in runs)
        cells = [
            executor,
            triggerers,
            len({each["blow"] for each in found}),
            len(runs),
            sum(each["items"] for each in runs),
            sum(each["accepted"] for each in runs),
            twice,
            fates["landed"],
            fates["unknown"],
            sum(bool(each["cleared"]) for each in runs),
            lost,
        ]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def _runs(records: Iterable[Record]) -> list[Record]:
    """Return a record per run: a run that was struck three times has three."""
    return list({each["run"]: each for each in records}.values())


def _fates(records: Iterable[Record]) -> Counter[str]:
    fates: Counter[str] = Counter()
    for each in records:
        fates.update(each["fates"])
    return fates


def _grid(records: Sequence[Record], by: str, names: dict[str, str]) -> Iterator[str]:
    yield f"| {by} | signal | " + " | ".join(MEANING[work] for work in Work) + " | work went on after |"
    yield "|---|---|" + "---|" * (len(Work) + 1)
    for key, words in names.items():
        for name in SIGNALS:
            found = [each for each in records if each[by] == key and each["signal"] == name]
            if not found:
                continue
            cells = [_cell([each for each in found if each["work"] == work.value]) for work in Work]
            waits = [each["went_on"] for each in found if each["went_on"] is not None]
            went_on = f"{median(waits):.1f} s, at most {max(waits):.1f} s" if waits else "-"
            yield f"| {words} | {name} | " + " | ".join(cells) + f" | {went_on} |"


def _cell(found: Sequence[Record]) -> str:
    if not found:
        return "-"
    runs = _runs(found)
    fates = _fates(runs)
    most = max(each["most_accepted"] for each in runs)
    told = f"{len(found)}: {fates['landed']} landed"
    if fates["unknown"]:
        told += f", {fates['unknown']} unknown"
    told += f", at most {most} submit" + ("s" if most != 1 else "")
    wrong = [words for each in runs for words in each["wrong"]]
    return told + ("; **" + "; ".join(wrong) + "**" if wrong else "")


BEGIN, END = "<!-- chaos: begin -->\n", "<!-- chaos: end -->\n"


def into(page: str, records: Sequence[Record]) -> str:
    """Return a page with the tables between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join(tables(records)) + "\n" + END + after


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.chaos.table", description=__doc__)
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, help="a page with the two marks; else to standard output")
    chosen = parser.parse_args(arguments)
    records = read(chosen.records)
    if chosen.into is None:
        print("\n".join(tables(records)))
    else:
        chosen.into.write_text(into(chosen.into.read_text(encoding="utf-8"), records), encoding="utf-8")


if __name__ == "__main__":
    main()
