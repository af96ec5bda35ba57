# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Ours and the rivals on one Airflow, one after the other::

    python -m tests.benchmarks.rivals --json tests/data/bench/rivals-first.json --rounds first
    python -m tests.benchmarks.rivals --only worker,deferrable --items 8 --few 8
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.bulk_engine import Load
from tests.benchmarks.rivals.contenders import BY_KEY, CONTENDERS
from tests.benchmarks.rivals.rounds import ROUNDS, Rounds, warm_up
from tests.benchmarks.rivals.site import ROOT, Settings, Site
from tests.benchmarks.rivals.table import tables

VERSIONS = ("apache-airflow", "volcengine", "SQLAlchemy", "requests")


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for, and print its tables."""
    chosen = _parser().parse_args(arguments)
    settings = Settings(chosen.slots, chosen.seconds, chosen.jitter, chosen.heartbeat)
    record: dict[str, Any] = {**_about(chosen), "rows": []}
    with contextlib.ExitStack() as cleanup:
        # Whatever fails, what was measured before is kept.
        cleanup.callback(_keep, record, chosen.json)
        home = chosen.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        site = cleanup.enter_context(Site(home, settings))
        _say(f"Airflow is up after {site.airflow.boot_seconds:.0f} s")
        warm_up(site, chosen.only)
        _say("warm")
        for contender in chosen.only:
            load = Load()
            try:
                told = Rounds(site, contender, items=chosen.items, few=chosen.few).play(chosen.rounds)
            finally:
                load.stop()
            for name, found in told.items():
                record["rows"].append({"who": contender.key, "round": name, **found, "load": load.median})
                _say(json.dumps(record["rows"][-1]))
    return 0


def _keep(record: dict[str, Any], path: Path | None) -> None:
    print(tables([record]))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rivals", description=__doc__)
    parser.add_argument("--items", type=int, default=40, help="of the first round")
    parser.add_argument("--few", type=int, default=16, help="items of the rounds that only count money")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a task at the vendor")
    parser.add_argument("--jitter", type=float, default=0.1)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--heartbeat", type=int, default=5, help="[workers] min_heartbeat_interval")
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, help="comma-separated")
    parser.add_argument("--only", type=_contenders, default=CONTENDERS, help="comma-separated keys")
    parser.add_argument("--keep", type=Path, help="keep Airflow's home here")
    parser.add_argument("--json", type=Path, help="write the record here")
    return parser


def _rounds(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(ROUNDS):
        raise argparse.ArgumentTypeError(f"no such round: {sorted(unknown)}")
    return names


def _contenders(text: str) -> tuple[Any, ...]:
    try:
        return tuple(BY_KEY[name] for name in text.split(","))
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no such contender: {error}") from error


def _about(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what a reader needs to know to run it again."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    names = ("items", "few", "seconds", "jitter", "slots", "heartbeat")
    settings = {name: getattr(chosen, name) for name in names}
    given = [f"--{name} {value:g}" for name, value in settings.items()]
    given += [f"--rounds {','.join(chosen.rounds)}", f"--only {','.join(each.key for each in chosen.only)}"]
    return {
        "benchmark": "rivals",
        "commit": commit.stdout.strip(),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {"python": platform.python_version(), **versions},
        "command": " ".join(["python -m tests.benchmarks.rivals", *given]),
        "settings": settings,
    }


def _say(text: str) -> None:
    print(f"{dt.datetime.now(dt.UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
