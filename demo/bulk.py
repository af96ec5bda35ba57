# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The bulk run of the demo: a manifest as one task, a report that adds up, and the same again for nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.terminal import DemoError
from demo.vendor import BULK_NEW
from demo.verify import Film, decode

if TYPE_CHECKING:
    from demo.home import Home
    from demo.story import Story

BULK = "example_jimeng_bulk_manifest"
#: Lines of the example's own manifest; five of their pairs were paid for by the mapped DAG.
COUNT = 16
#: One line whose image nobody serves: it must cost nothing and stop nothing.
INVALID = 1


@dataclass(frozen=True, slots=True)
class BulkRound:
    """
    What one bulk run brought.

    :param films: the landed files by id, decoded.
    :param digests: their sha256 by id.
    :param accepted: submits that the vendor accepted in this run, by its own book.
    """

    summary: Mapping[str, Any]
    films: Mapping[str, Film]
    digests: Mapping[str, str]
    accepted: int
    reason: str


def conf(home: Home, media_url: str) -> dict[str, Any]:
    """Return the run's parameters: the example's lines, one that repeats a line, and one that is broken."""
    video = f"{media_url}/template-01-wave.mp4"
    return {
        "count": COUNT,
        "output": str(home.results / "bulk"),
        "more": [
            {"id": "the-same-again", "image": f"{media_url}/character-01-amber.png", "video": video},
            {"id": "nobody-is-there", "image": f"{media_url}/nobody.png", "video": video},
        ],
    }


def run(story: Story) -> BulkRound:
    """
    Run the manifest and hold the report against the files and the vendor's book.

    :raises DemoError: something does not add up.
    """
    home = story.home
    story.wait(f"DAG {BULK}", partial(story.airflow.has_dag, BULK))
    before = _accepted(story)
    run_id = story.airflow.trigger(BULK, conf(home, story.vendor.media_url))
    story.follow(BULK, run_id)
    return _harvest(
        story.airflow.returned(BULK, run_id, "imitate"), home.results / "bulk", _accepted(story) - before
    )


def _accepted(story: Story) -> int:
    return int(story.vendor.ledger()["totals"]["accepted"])


def _harvest(summary: Mapping[str, Any], folder: Path, accepted: int) -> BulkRound:
    lines = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    told = {name: summary[name] for name in ("landed", "reused", "invalid", "failed", "unknown", "skipped")}
    found = {name: sum(line["outcome"] == name for line in lines) for name in told}
    if told != found or len(lines) != summary["total"]:
        raise DemoError(f"the summary says {told}, the report's lines say {found}")
    if summary["submits"] != accepted:
        raise DemoError(f"the report tells of {summary['submits']} submits, the vendor of {accepted}")
    if summary["invalid"] != INVALID or summary["landed"] + summary["reused"] != len(lines) - INVALID:
        raise DemoError(f"not every line came to what it should: {told}")
    if not (folder / "report.html").is_file():
        raise DemoError(f"there is no gallery in {folder}")
    good = [line for line in lines if line["uri"]]
    films = {line["id"]: decode(Path(line["uri"])) for line in good}
    reason = next(line["error"] for line in lines if line["outcome"] == "invalid")
    return BulkRound(summary, films, {line["id"]: line["sha256"] for line in good}, accepted, reason)


def report(told: BulkRound, home: Home) -> None:
    """Say what came of it."""
    summary = told.summary
    print(
        f"\n  {summary['total']} lines: {summary['landed']} landed, {summary['reused']} known already, "
        f"{summary['invalid']} invalid.\n"
        f"  Submits that the vendor accepted: {told.accepted}.\n"
        f"  The invalid one: {told.reason}\n"
        f"  The gallery: {home.shown(Path(summary['gallery_uri']))}"
    )


def compare(first: BulkRound, second: BulkRound) -> None:
    """
    Hold the second run against the first: the same files, byte for byte, and nothing paid.

    :raises DemoError: it was not so.
    """
    if second.accepted or second.summary["landed"]:
        raise DemoError(f"the second time the vendor accepted {second.accepted} submits; it must be none")
    if second.digests != first.digests:
        raise DemoError("the second bulk run left other files, or other bytes, than the first")


__all__ = ["BULK", "BULK_NEW", "BulkRound", "compare", "conf", "report", "run"]
