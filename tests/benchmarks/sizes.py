# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Time and memory against the size of a manifest: it is checked, and its lines are looked up in a ledger::

    python -m tests.benchmarks.sizes [--lines 1000 10000 100000 1000000] [--records FILE]

Each figure is of a process of its own, so that its memory is its own, and the most that it had at once.
*Check* reads every line and finds equal ids; *plan* checks, gives each line its identity, and asks a ledger
that knows none of them. Beside them, what a script does: ``json.loads`` of every line into a list.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import MOTION_IMITATION, Credentials
from airflow_provider_jimeng.bulk.manifest import open_manifest
from airflow_provider_jimeng.bulk.plan import plan
from airflow_provider_jimeng.client.settings import AccountSettings
from airflow_provider_jimeng.hooks.storage import resolve_target
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle.wanted import Policies, Request, Wanted, want

from tests.benchmarks.bulk_scale import write_manifest
from tests.benchmarks.record import Row, keep, parser_of

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import Item


def checked(file: str) -> int:
    """Check a manifest's form."""
    manifest = open_manifest(file, resolve=resolve_target, default_req_key=MOTION_IMITATION)
    try:
        assert not manifest.check()
        return manifest.total
    finally:
        manifest.close()


def planned(file: str) -> int:
    """Check it, and look every line up."""
    settings = AccountSettings("bench", "bench", Credentials("AKBENCH", "secret"))
    manifest = open_manifest(file, resolve=resolve_target, default_req_key=MOTION_IMITATION)
    policies, nobody = Policies(), Provenance()

    def wanted(item: Item) -> Wanted:
        request = Request(item.image, item.video, item.req_key)
        return want(request, settings=settings, provenance=nobody, policies=policies)

    try:
        assert not manifest.check()
        ledger = Ledger(f"sqlite:///{file}.db")
        return int(plan(manifest.lines(), ledger=ledger, settings=settings, want=wanted)["new"])
    finally:
        manifest.close()


def listed(file: str) -> int:
    """Do what a script does."""
    with open(file) as lines:
        return len([json.loads(line) for line in lines])


WORK: dict[str, Callable[[str], int]] = {"check": checked, "plan": planned, "json.loads into a list": listed}


def child(what: str, file: str) -> None:
    """Work, and tell how long it took and how much memory it had at the most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    lines = WORK[what](file)
    told = SimpleNamespace(
        lines=lines,
        seconds=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        # Linux counts in KiB.
        peak_mb=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6,
    )
    print(json.dumps(vars(told)))


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the record."""
    parser = parser_of("sizes", __doc__)
    parser.add_argument("--lines", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "FILE"), help="work here, for the parent")
    chosen = parser.parse_args(arguments)
    if chosen.child:
        child(*chosen.child)
        return 0
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for lines in chosen.lines:
            file = write_manifest(Path(folder) / "manifest.jsonl", lines, "https://media.example.com")
            for what in WORK:
                command = [sys.executable, "-m", "tests.benchmarks.sizes", "--child", what, str(file)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
                rows.append({"who": what if what not in ("check", "plan") else "ours", "what": what, **told})
                print(rows[-1], file=sys.stderr, flush=True)
    keep("sizes", rows, chosen.records)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
