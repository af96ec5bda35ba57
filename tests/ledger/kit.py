# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A ledger to work at: short ways to put rows where a test needs them, and to let their time pass."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import event, select, update

from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.records import (
    Claimed,
    ClaimRequest,
    Found,
    MustWait,
    Provenance,
    Refused,
    Scope,
    TaskRecord,
)
from airflow_provider_jimeng.ledger.schema import limits, tasks, waiters
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.store import Ledger

SHA = "5" * 64


def unique(prefix: str = "") -> str:
    return prefix + uuid.uuid4().hex


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that announces itself to nobody: time passing, another process's state."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        pause.wait(0.01)


class Bench:
    """A ledger and a scope of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ledger = Ledger(url)
        self.scope = Scope(unique("account-"), "vendor.example/cn-north-1", "model")

    def request(self, content_key: str | None = None, **changes: Any) -> ClaimRequest:
        key = content_key or unique()
        plain = ClaimRequest(
            content_key=key,
            scope=self.scope,
            inputs='{"image_url":"https://a.example/1.png"}',
            provenance=Provenance("dag", "run", "task", 3, 1),
            owner=unique(),
            waiter=unique("waiter-"),
            configured_limit=2,
        )
        return replace(plain, **changes)

    def claimed(self, content_key: str | None = None, **changes: Any) -> TaskRecord:
        answer = self.ledger.claim(self.request(content_key, **changes))
        assert isinstance(answer, Claimed), answer
        return answer.record

    def must_wait(self, content_key: str | None = None, **changes: Any) -> MustWait:
        answer = self.ledger.claim(self.request(content_key, **changes))
        assert isinstance(answer, MustWait), answer
        return answer

    def found(self, content_key: str | None = None, **changes: Any) -> TaskRecord:
        answer = self.ledger.claim(self.request(content_key, **changes))
        assert isinstance(answer, Found), answer
        return answer.record

    def refused(self, content_key: str | None = None, **changes: Any) -> Refused:
        answer = self.ledger.claim(self.request(content_key, **changes))
        assert isinstance(answer, Refused), answer
        return answer

    def sent(self, content_key: str | None = None, **changes: Any) -> TaskRecord:
        return self.ledger.begin_send(self.claimed(content_key, **changes))

    def submitted(self, content_key: str | None = None, **changes: Any) -> TaskRecord:
        return self.ledger.record_created(self.sent(content_key, **changes), unique("id-"), "request")

    def succeeded(self, content_key: str | None = None, **changes: Any) -> TaskRecord:
        return self.ledger.record_succeeded(self.submitted(content_key, **changes), code=10000)

    def landed(self, content_key: str | None = None, **changes: Any) -> TaskRecord:
        record = self.succeeded(content_key, **changes)
        self.ledger.record_landing(record, uri=f"/out/{unique()}.mp4", size=1, sha256=SHA)
        return self.now(record)

    def unknown(self, content_key: str | None = None, **changes: Any) -> TaskRecord:
        return self.ledger.record_unknown(self.sent(content_key, **changes), message="no answer")

    def in_state(self, state: TaskState) -> TaskRecord:
        """Put a row of a new content into a state, by legal moves only."""
        ledger = self.ledger
        if state is TaskState.INTENT:
            return self.sent()
        if state is TaskState.FAILED:
            return ledger.record_failed(self.submitted(), message="no")
        if state is TaskState.EXPIRED:
            return ledger.record_expired(self.submitted(), message="gone")
        if state is TaskState.REJECTED:
            return ledger.record_rejected(self.sent(), message="busy")
        if state is TaskState.RELEASED:
            return ledger.release(self.unknown().id, reason="test", by="me")
        ways: dict[TaskState, Callable[[], TaskRecord]] = {
            TaskState.SUBMITTED: self.submitted,
            TaskState.SUCCEEDED: self.succeeded,
            TaskState.LANDED: self.landed,
            TaskState.UNKNOWN: self.unknown,
        }
        return ways[state]()

    def now(self, record: TaskRecord) -> TaskRecord:
        """Return a row as it stands now."""
        row = self.ledger.get(record.id)
        assert row is not None
        return row

    # -- time and evidence -------------------------------------------------------------------------------

    def age(self, record: TaskRecord, seconds: float) -> None:
        """Let everything about a row have happened earlier, by the database's clock."""
        past = {
            name: tasks.c[name] - seconds for name in ("created_at", "sent_at", "submitted_at", "finished_at")
        }
        self.write(update(tasks).where(tasks.c.id == record.id).values(**past))

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the scope's limits and tickets."""
        here = (limits.c.account == self.scope.account,)
        names = ("cooldown_until", "probe_after", "called_at")
        self.write(update(limits).where(*here).values({name: limits.c[name] - seconds for name in names}))
        moved = {name: waiters.c[name] - seconds for name in ("created_at", "called_at")}
        self.write(update(waiters).where(waiters.c.account == self.scope.account).values(**moved))

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Yield a list of what is asked of the database while it is open."""
        engine, seen = database_for(self.url)._engine, []

        def note(conn: Any, cursor: Any, statement: str, *_: object) -> None:
            if not statement.startswith("BEGIN"):
                seen.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(engine, "before_cursor_execute", note)

    def write(self, statement: Any) -> None:
        database_for(self.url).write(lambda conn: conn.execute(statement))

    def rows(self) -> list[Any]:
        query = select(tasks).where(tasks.c.account == self.scope.account).order_by(tasks.c.id)
        return database_for(self.url).read(lambda conn: list(conn.execute(query)))

    def tickets(self) -> list[Any]:
        query = select(waiters).where(waiters.c.account == self.scope.account).order_by(waiters.c.id)
        return database_for(self.url).read(lambda conn: list(conn.execute(query)))

    def limits_row(self) -> Any:
        here = (limits.c.account == self.scope.account, limits.c.req_key == self.scope.req_key)
        return database_for(self.url).read(lambda conn: conn.execute(select(limits).where(*here)).one())
