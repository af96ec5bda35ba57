# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Two thousand waits in one event loop, as in a triggerer whose capacity was raised::

    python -m tests.benchmarks.waits [--waits 2000] [--records FILE]

Ours (one session per loop, shared by all who wait) beside a session per poll, and beside ``requests`` in
``asyncio.to_thread``. What the machine does: a loop that does nothing tells what it does to a loop, and
``aiohttp`` alone (one session, the same bytes each time, the answer is read and thrown away) the least that a
question can cost on it. Each is a process of its own, in turns; the vendor is another.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from airflow_provider_jimeng.api.models import MOTION_IMITATION, Credentials, Endpoint
from airflow_provider_jimeng.client.settings import AccountSettings
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.emulator.config import EmulatorConfig

from tests.benchmarks.record import Row, keep, parser_of
from tests.engine.vendor import Vendor

WHO = {
    "ours": "ours",
    "session": "a session per poll",
    "thread": "requests in to_thread",
    "bare": "aiohttp alone",
    "nobody": "an empty loop",
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the record."""
    parser = parser_of("waits", __doc__)
    parser.add_argument("--waits", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between two polls of a wait")
    parser.add_argument("--seconds", type=float, default=15.0, help="that each measures, after its start")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--who", nargs="+", choices=sorted(WHO), default=list(WHO))
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as cleanup:
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        vendor = Vendor(slots=chosen.waits, seconds=3600.0, jitter=0.0, log=home / "vendor.log")
        cleanup.callback(vendor.stop)
        vendor.wait()
        tasks = submit(vendor.url, chosen.waits)
        environment = environment_of(vendor.url, home, qps=2 * chosen.waits / chosen.interval)
        found: dict[str, list[dict[str, Any]]] = {who: [] for who in chosen.who}
        for _ in range(chosen.rounds):
            for who in chosen.who:
                command = [sys.executable, "-m", "tests.benchmarks.waiters", who]
                command += [f"--interval={chosen.interval}", f"--seconds={chosen.seconds}"]
                given = json.dumps(tasks)
                done = subprocess.run(
                    command, input=given, env=environment, stdout=subprocess.PIPE, text=True, check=True
                )
                found[who].append(json.loads(done.stdout.splitlines()[-1]))
                print(who, found[who][-1], file=sys.stderr, flush=True)
    rows = [row_of(who, told) for who, told in found.items()]
    keep("waits", rows, chosen.records, versions=("aiohttp", "requests", "apache-airflow"))
    return 0


def row_of(who: str, told: list[dict[str, Any]]) -> Row:
    """Return the medians of the rounds."""
    if failed := [each for one in told for each in one["failed"]]:
        raise RuntimeError(f"{who}: {failed}")
    row: dict[str, Any] = {"who": WHO[who], "rounds": len(told)}
    for name in told[0]:
        values = [one[name] for one in told]
        if name != "failed":
            row[name] = None if None in values else median(values)
    return row


def submit(url: str, count: int) -> list[str]:
    """Make so many tasks at the vendor's that run for an hour; return their ids."""
    config = EmulatorConfig()
    settings = AccountSettings(
        "bench",
        "bench",
        Credentials(config.access_key, config.secret_key),
        Endpoint(url),
        submit_qps=100_000.0,
    )
    client, found = SyncClient(settings), []
    for number in range(count):
        body = {
            "req_key": MOTION_IMITATION,
            "image_url": f"{url}/media/{number}.png",
            "video_url": f"{url}/media/template.mp4",
        }
        answer = client.submit(json.dumps(body).encode(), on_late=lambda _: None)
        found.append(str(answer.data["task_id"]))  # type: ignore[union-attr,index]
    return found


def environment_of(url: str, home: Path, *, qps: float) -> dict[str, str]:
    """Return the environment of an Airflow process with a connection to the vendor."""
    config = EmulatorConfig()
    connection = {
        "conn_type": "volcengine",
        "login": config.access_key,
        "password": config.secret_key,
        "host": url,
        "extra": {"query_qps": qps},
    }
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(connection),
        "NO_PROXY": "*",
    }


if __name__ == "__main__":
    raise SystemExit(main())
