# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Makes a ledger of any size, to measure commands on: ``python -m tests.cli.million URL [ROWS]``.

Rows are as a year of use leaves them: four accounts of very different size, two req_keys, fifty DAGs; most
are landed, some failed, a few are open, unknown or in doubt.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.schema import digest, landings, limits, tasks
from airflow_provider_jimeng.ledger.store import Ledger

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

ENDPOINT = "visual.volcengineapi.com/cn-north-1"
REQ_KEYS = ("jimeng_dream_actor_m1_gen_video_cv", "jimeng_dreamactor_m20_gen_video")
#: Account and its share of the rows, in per mille.
ACCOUNTS = (("acme-main", 900), ("acme-test", 90), ("studio", 9), ("rare", 1))
#: State and its share of the rows, per 10,000.
STATES = (
    ("landed", 9500),
    ("failed", 300),
    ("rejected", 140),
    ("expired", 30),
    ("released", 26),
    ("unknown", 2),
    ("succeeded", 2),
)
LIVE = ("landed", "succeeded", "unknown", "submitted", "intent")
DAY = 86400.0
BATCH = 5000


def row_number(number: int, total: int, now: float, dice: random.Random) -> dict[str, Any]:
    """Return a row; the last few are open, the rest is spread over a year."""
    (account,) = dice.choices([name for name, _ in ACCOUNTS], [share for _, share in ACCOUNTS])
    (state,) = dice.choices([name for name, _ in STATES], [share for _, share in STATES])
    if number >= total - 40:
        account, state = "acme-main", "submitted"
    created = now - 365 * DAY * (1 - number / total) - 5.0
    key = hashlib.sha256(f"content {number}".encode()).hexdigest()
    sent = state not in ("rejected",)
    done = state in ("landed", "failed", "expired", "succeeded")
    dag = f"dag_{dice.randrange(50)}"
    image = f"https://media.example.com/campaign-{number % 97}/portrait-{number}.png"
    video = f"https://media.example.com/templates/dance-{number % 31}.mp4"
    return {
        "content_key": key,
        "live_key": key if state in LIVE else None,
        "attempt": 1,
        "state": state,
        "revision": 4,
        "account": account,
        "endpoint": ENDPOINT,
        "req_key": REQ_KEYS[dice.random() < 0.2],
        "inputs": f'{{"image_url":"{image}","video_url":"{video}"}}',
        "variant": 0,
        "force_new": None,
        "owner": f"{dice.getrandbits(128):032x}",
        "dag_id": dag,
        "run_id": f"scheduled__2026-01-{1 + number % 28:02d}T00:00:00+00:00",
        "airflow_task_id": "imitate",
        "map_index": number % 1000,
        "try_number": 1,
        "attempt_digest": digest(f"{dag}/{number // 1000}/imitate/{number % 1000}"),
        "task_id": str(7_000_000_000_000_000_000 + number) if sent and state != "unknown" else None,
        "task_digest": digest(str(7_000_000_000_000_000_000 + number)) if sent else None,
        "request_id": f"{dice.getrandbits(160):040x}",
        "code": 10000 if done else None,
        "message": "",
        "new_attempt_allowed": False,
        "possibly_billed": state in ("unknown", "expired", "released"),
        "extra": False,
        "superseded": False,
        "origin_id": None,
        "created_at": created,
        "sent_at": created,
        "send_count": 1,
        "send_token": f"{dice.getrandbits(128):032x}",
        "send_deadline": 60.0,
        "expected_seconds": 180.0,
        "submitted_at": created + 1 if sent else None,
        "finished_at": created + 180 if done else None,
        "landed_at": created + 190 if state == "landed" else None,
        "elapsed": 180.0 if done else None,
        "processing_seconds": 170.0 + dice.random() * 20 if done else None,
        "validators": None,
        "note": "",
    }


def landing_of(row: dict[str, Any]) -> dict[str, Any]:
    uri = f"s3://results/{row['dag_id']}/{row['content_key'][:16]}.mp4"
    return {
        "content_key": row["content_key"],
        "attempt": 1,
        "uri": uri,
        "uri_digest": digest(uri),
        "size": 2_000_000,
        "etag": row["content_key"][:32],
        "sha256": row["content_key"],
        "content_type": "video/mp4",
        "landed_at": row["landed_at"],
    }


def limit_rows() -> Iterator[dict[str, Any]]:
    for account, _ in ACCOUNTS:
        for endpoint, req_key in [("", ""), *((ENDPOINT, each) for each in REQ_KEYS)]:
            yield {
                "account": account,
                "endpoint": endpoint,
                "req_key": req_key,
                "configured": 50,
                "proven": 10,
                "refusals": 0,
                "cooldown_streak": 0,
                "note": "",
            }


def make(url: str, total: int) -> None:
    """Fill an empty ledger with rows."""
    now = Ledger(url).now()
    database, dice = database_for(url), random.Random(1)

    def begin(conn: Connection) -> None:
        conn.execute(insert(limits), list(limit_rows()))

    database.write(begin)
    for start in range(0, total, BATCH):
        rows = [row_number(number, total, now, dice) for number in range(start, min(start + BATCH, total))]
        landed = [landing_of(row) for row in rows if row["state"] == "landed"]

        def put(conn: Connection, rows: Any = rows, landed: Any = landed) -> None:
            conn.execute(insert(tasks), rows)
            conn.execute(insert(landings), landed)

        database.write(put)


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
