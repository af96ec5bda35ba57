# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How well a bulk run on a real Airflow keeps the paid slots busy; the emulator counts.

    python -m tests.benchmarks.bulk_engine --mode worker --items 200 --seconds 20 --slots 10
    python -m tests.benchmarks.bulk_engine --mode mixed --slots 4

Scheduler, dag-processor, api-server and triggerer are processes of their own, Airflow and the ledger are on a
PostgreSQL that goes away at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import math
import os
import platform
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from airflow_provider_jimeng.emulator.config import EmulatorConfig

from tests.benchmarks.slots import figures
from tests.engine.airflow_stack import AirflowStack
from tests.engine.vendor import Vendor
from tests.postgres import Databases, PostgresServer

DAGS = Path(__file__).parent / "dags"
MODES = ("worker", "deferred", "mixed")


def main(arguments: list[str] | None = None) -> int:
    """Run one configuration and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bulk_engine", description=__doc__)
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--items", type=int, default=200, help="lines of each manifest")
    parser.add_argument("--singles", type=int, default=50, help="mapped single items beside it (mixed)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a task at the vendor")
    parser.add_argument("--jitter", type=float, default=0.1)
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--query-qps", type=float, default=20.0)
    parser.add_argument("--learned", action="store_true", help="leave max_concurrency unset")
    parser.add_argument(
        "--heartbeat", type=int, default=5, help="[workers] min_heartbeat_interval; Airflow's own is 5"
    )
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--timeout", type=float, default=3600.0)
    parser.add_argument("--keep", type=Path, help="keep Airflow's home here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as cleanup:
        home = chosen.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        home.mkdir(parents=True, exist_ok=True)
        told = measure(chosen, home, cleanup)
    print(table(told))
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if told["landed"] == told["wanted"] and not told["paid_twice"] else 1


def table(told: dict[str, Any]) -> str:
    """Return the figures a line each, and how the slots were shared over time."""
    names = {
        "accepted": "accepted submits",
        "landed": "landed",
        "paid_twice": "paid twice",
        "most_in_use": "most slots in use",
        "utilisation": "slot utilisation",
        "idle_median": "idle seconds, median",
        "idle_p95": "idle seconds, 95th percentile",
        "refused_share": "refused submits per item",
        "queries_per_item": "queries per item",
        "noticed_median": "done to noticed, median s",
        "tries": "tries",
        "worker_held": "worker held",
        "load_median": "load of the machine, median",
    }
    lines = [f"{words:32} {told[name]}" for name, words in names.items()]
    shared = [f"{name:32} {counts}" for name, counts in told["share_per_run"].items()]
    return "\n".join([*lines, "accepted in each tenth of the span:", *shared])


def measure(chosen: argparse.Namespace, home: Path, cleanup: contextlib.ExitStack) -> dict[str, Any]:
    """Start everything, run, and return the figures."""
    server = PostgresServer()
    cleanup.callback(server.stop)
    databases = Databases(server.start().url)
    vendor = Vendor(slots=chosen.slots, seconds=chosen.seconds, jitter=chosen.jitter, log=home / "vendor.log")
    cleanup.callback(vendor.stop)
    vendor.wait()
    stack = AirflowStack(
        home / "airflow",
        databases.create("metadata"),
        DAGS,
        env={
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": connection(chosen, vendor.url),
            "AIRFLOW__JIMENG__LEDGER_URL": databases.create("ledger"),
            # The emulator leaves inputs alone, and so serves none.
            "AIRFLOW__JIMENG__PROBE": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": chosen.log_level,
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": str(chosen.heartbeat),
        },
    )
    cleanup.enter_context(stack)
    print(f"Airflow is up after {stack.boot_seconds:.0f} s", file=sys.stderr, flush=True)
    loads = Load()
    cleanup.callback(loads.stop)
    runs, items = start(chosen, stack, vendor, home)
    outcomes = {dag: stack.api.wait_for_run(dag, run, seconds=chosen.timeout) for dag, run in runs.items()}
    book = vendor.book()
    told = figures(book, slots=chosen.slots, items=items).to_dict()
    told["wanted"], told["landed"] = items, sum(1 for _ in (home / "results").glob("*/*.mp4"))
    told["states"] = {dag: run["state"] for dag, run in outcomes.items()}
    told["tries"] = {dag: tries(stack, dag, run) for dag, run in runs.items()}
    told["worker_held"] = {dag: held(stack, dag, run) for dag, run in runs.items() if dag != "bench_mapped"}
    told["refused_codes"] = book["refused"]
    told["share_per_run"] = shares(book)
    told["mode"], told["learned"] = chosen.mode, chosen.learned
    told["seconds"], told["slots"] = chosen.seconds, chosen.slots
    told["heartbeat"] = chosen.heartbeat
    told["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    told["load_median"] = loads.median
    summary = home / "results" / f"bench_{chosen.mode}" / "summary.json"
    if summary.exists():
        told["summary"] = json.loads(summary.read_text())
    return told


def tries(stack: AirflowStack, dag: str, run: str) -> int:
    """Return the most tries of a task: each beyond the first was one that Airflow failed."""
    return max(int(each["try_number"]) for each in stack.api.task_instances(dag, run))


def held(stack: AirflowStack, dag: str, run: str) -> dict[str, float]:
    """Return the legs of a run, and the share of its time for which they held a worker."""
    began: dt.datetime | None = None
    first = last = None
    legs, seconds = 0, 0.0
    for file in sorted(stack.home.glob(f"logs/dag_id={dag}/run_id={run}/*/attempt=*.log")):
        for line in file.read_text().splitlines() if "trigger" not in file.name else ():
            told = json.loads(line)
            when = dt.datetime.fromisoformat(told["timestamp"])
            if told["event"].startswith("::group::Pre Execute"):
                began, first, legs = when, first or when, legs + 1
            elif told["event"].startswith("::group::Post Execute") and began is not None:
                seconds, began, last = seconds + (when - began).total_seconds(), None, when
    span = (last - first).total_seconds() if first and last else 0.0
    return {"legs": legs, "share": round(seconds / span, 4) if span else math.nan}


def connection(chosen: argparse.Namespace, url: str) -> str:
    """Return the Airflow connection to the emulator."""
    config = EmulatorConfig()
    extra: dict[str, Any] = {"query_qps": chosen.query_qps}
    if not chosen.learned:
        extra["max_concurrency"] = chosen.slots
    return json.dumps(
        {
            "conn_type": "volcengine",
            "login": config.access_key,
            "password": config.secret_key,
            "host": url,
            "extra": extra,
        }
    )


def start(
    chosen: argparse.Namespace, stack: AirflowStack, vendor: Vendor, home: Path
) -> tuple[dict[str, str], int]:
    """Trigger the runs; return them, and how many items they have."""
    dags = [f"bench_{chosen.mode}"]
    if chosen.mode == "mixed":
        dags = ["bench_worker", "bench_deferred", "bench_mapped"]
    runs: dict[str, str] = {}
    total = 0
    for dag in dags:
        stack.api.wait_for_dag(dag)
        stack.api.unpause(dag)
    for dag in dags:
        count = chosen.singles if dag == "bench_mapped" else chosen.items
        total += count
        folder = home / "results" / dag
        lines = [
            {
                "image": f"{vendor.url}/media/{dag}-{number}.png",
                "video": f"{vendor.url}/media/{dag}.mp4",
            }
            for number in range(count)
        ]
        if dag == "bench_mapped":
            items = [
                {"image_url": each["image"], "video_url": each["video"], "output": str(folder / f"{at}.mp4")}
                for at, each in enumerate(lines)
            ]
            runs[dag] = stack.api.trigger(dag, {"items": items})
            continue
        manifest = home / f"{dag}.jsonl"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        runs[dag] = stack.api.trigger(dag, {"manifest": str(manifest), "output": str(folder)})
    return runs, total


def shares(book: dict[str, Any]) -> dict[str, list[int]]:
    """Return the tasks that each run had accepted in each tenth of the span."""
    tasks = sorted(book["tasks"].values(), key=lambda each: each["submitted_at"])
    first, last = tasks[0]["submitted_at"], tasks[-1]["submitted_at"]
    found: dict[str, list[int]] = {}
    for each in tasks:
        video = each["content"].get("video_url") or ""
        tenth = min(9, int(10 * (each["submitted_at"] - first) / max(last - first, 1e-9)))
        found.setdefault(video.rpartition("/")[2], [0] * 10)[tenth] += 1
    return found


class Load:
    """Samples how busy the machine was, since other work beside a run spoils its figures."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(5.0):
            self._samples.append(os.getloadavg()[0])

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self._thread.join()

    @property
    def median(self) -> float | None:
        """The median of the one-minute load."""
        ordered = sorted(self._samples)
        return round(ordered[len(ordered) // 2], 2) if ordered else None


if __name__ == "__main__":
    raise SystemExit(main())
