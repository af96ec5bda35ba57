# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How a bulk run fares with its size: ten thousand items through the operator, then the same again for nothing.

    python -m tests.benchmarks.bulk_scale --items 10000 --slots 100 --seconds 1

The operator runs with a task's context in this process, so that its memory can be watched; the emulator is a
process of its own. Also: a manifest of a hundred thousand lines, checked and looked up in the ledger.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.bulk_engine import connection
from tests.engine.vendor import Vendor


class Memory:
    """This process's resident memory over time, in MB."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.curve: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._began = time.monotonic()
        self.base = self.now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self) -> float:
        """Return the memory now."""
        return float(self._process.memory_info().rss) / 1e6

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self.curve.append((time.monotonic() - self._began, self.now()))

    def stop(self) -> dict[str, Any]:
        """Stop watching; return the base, the peak over it, and the curve in twenty steps."""
        self._ended.set()
        self._thread.join()
        seen = [megabytes for _, megabytes in self.curve] or [self.now()]
        step = max(1, len(self.curve) // 20)
        return {
            "base_mb": round(self.base, 1),
            "peak_over_base_mb": round(max(seen) - self.base, 1),
            "curve": [(round(at), round(megabytes - self.base, 1)) for at, megabytes in self.curve[::step]],
        }


def main(arguments: list[str] | None = None) -> int:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bulk_scale", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=100_000, help="of the manifest that is only looked up")
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as cleanup:
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        vendor = Vendor(slots=chosen.slots, seconds=chosen.seconds, jitter=0.1, log=home / "vendor.log")
        cleanup.callback(vendor.stop)
        vendor.wait()
        chosen.query_qps, chosen.learned = 400.0, False
        account = json.loads(connection(chosen, vendor.url))
        account["extra"]["submit_qps"] = 400.0
        os.environ.update(
            {
                "AIRFLOW_HOME": str(home / "airflow"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(account),
                "AIRFLOW__JIMENG__LEDGER_URL": f"sqlite:///{home}/ledger.db",
                "AIRFLOW__JIMENG__PROBE": "False",
            }
        )
        told = measure(chosen, vendor, home)
    text = json.dumps(told, indent=1)
    print(text)
    if chosen.json:
        chosen.json.write_text(text + "\n")
    return 0


def measure(chosen: argparse.Namespace, vendor: Vendor, home: Path) -> dict[str, Any]:
    """Return the figures of a first run, a second run, and a look at many lines."""
    from airflow_provider_jimeng.cli.main import main as command
    from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

    from tests.legs import DagRun

    manifest = write_manifest(home / "manifest.jsonl", chosen.items, vendor.url)
    arguments = {"manifest": str(manifest), "output": str(home / "out"), "on_input_changed": "reuse"}
    told: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "items": chosen.items,
        "slots": chosen.slots,
    }
    for name in ("first", "second"):
        before = vendor.book(tasks=False)["totals"]["accepted"]
        memory, began = Memory(), time.monotonic()
        summary = DagRun(name).task(JimengBatchOperator, "imitate", **arguments)
        seconds = time.monotonic() - began
        told[name] = {
            "seconds": round(seconds, 1),
            "accepted": vendor.book(tasks=False)["totals"]["accepted"] - before,
            "memory": memory.stop(),
            **{key: summary[key] for key in ("total", "landed", "reused", "failed", "submits")},
        }
        print(name, told[name], file=sys.stderr, flush=True)
    many = write_manifest(home / "many.jsonl", chosen.lines, vendor.url)
    memory, began = Memory(), time.monotonic()
    command(["plan", str(many), "--json"])
    told["plan"] = {
        "lines": chosen.lines,
        "seconds": round(time.monotonic() - began, 1),
        "memory": memory.stop(),
    }
    return told


def write_manifest(path: Path, count: int, url: str) -> Path:
    """Write a manifest of so many different lines."""
    with path.open("w") as file:
        for number in range(count):
            line = {"image": f"{url}/media/{number}.png", "video": f"{url}/media/{number % 100}.mp4"}
            file.write(json.dumps({"id": f"item-{number:06d}", **line, "sku": f"A-{number}"}) + "\n")
    return path


if __name__ == "__main__":
    raise SystemExit(main())
