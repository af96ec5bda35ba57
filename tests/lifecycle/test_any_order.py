# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Whatever happens in whatever order: one accepted submit per content by itself, and no lost id."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event

from airflow_provider_jimeng.api.models import FailureKind, Observation, TransportFailure
from airflow_provider_jimeng.api.parsing import parse_answer
from airflow_provider_jimeng.exceptions import JimengUnknownSubmitError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle import submit
from airflow_provider_jimeng.lifecycle.harvest import record_verdict
from airflow_provider_jimeng.lifecycle.wanted import Policies
from airflow_provider_jimeng.policy.poll import PollSettings, PollState, decide_poll

from tests.lifecycle.world import DEADLINE, Process, World

POLICIES = {"once": Policies(), "again": Policies(on_unknown_submit="resubmit")}
EXAMPLES, STEPS = 50, 40
#: What may go wrong where; everything else just goes on, or the process is killed.
TROUBLES: dict[str, tuple[str, ...]] = {
    "send": ("unsent", "vanishes", "50429", "50430", "50400", "50411", "50500"),
    "answer": ("lost", "late", "cut"),
    "begin_send": ("silent", "forgotten"),
    "claim": ("silent", "forgotten"),
    "record_created": ("silent", "forgotten"),
    "record_unknown": ("silent", "forgotten"),
    "record_rejected": ("silent", "forgotten"),
}
STOPS = ("claim", "begin_send", "send", "answer", "answer", "record_created", "record_unknown")
#: Before a try: none, past a send's deadline, and past the time after which an unknown may be sent again.
PAUSES = (0.0, 0.0, DEADLINE + 1, DEADLINE + 1, 2 * DEADLINE)
MOST_AT_ONCE = 4
#: Answers to a query that say nothing about the task.
NOISE = (
    (0, b""),
    (502, b"<html>"),
    (200, b""),
    (429, b'{"code": 50429, "data": null}'),
    (500, b'{"code": 50500, "data": null}'),
    (401, b'{"ResponseMetadata": {"Error": {"CodeN": 100009, "Code": "InvalidAccessKey"}}}'),
    (400, b'{"code": 50215, "data": null}'),
    (200, b'{"code": 10000, "data": {"status": "not_found"}}'),
    (200, b'{"code": 10000, "data": {"status": "done"}}'),
)
#: What came of all examples, so that one sees that something did.
seen: Counter[str] = Counter()
TEMPLATE: dict[str, Path] = {}


def _fast(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.execute("PRAGMA synchronous = OFF")


def _make_template(folder: Path) -> None:
    """Make a ledger's tables once, for all examples to copy."""
    TEMPLATE["file"] = folder / "ledger.db"
    made = Ledger.open(f"sqlite:///{TEMPLATE['file']}")
    with made._database._engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    made.close()


def _an_empty_ledger(folder: Path) -> str:
    shutil.copy(TEMPLATE["file"], folder / "ledger.db")
    return f"sqlite:///{folder}/ledger.db"


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(_an_empty_ledger(self.folder), POLICIES)
        event.listen(self.world.ledger._database._engine, "connect", _fast)
        self.waits: dict[int, PollState] = {}

    # -- processes

    @initialize(content=st.sampled_from(sorted(POLICIES)))
    def begin_with_one(self, content: str) -> None:
        self.world.begin(content)

    @rule(
        data=st.data(),
        after=st.sampled_from(PAUSES),
        content=st.sampled_from(sorted(POLICIES)),
        stop=st.sampled_from(STOPS),
    )
    def a_try_comes_as_far_as_this(self, data: st.DataObject, after: float, content: str, stop: str) -> None:
        """Begin a process, or take one that waits, and have something happen where it comes to."""
        if after:
            self.world.pass_time(after)
        waiting = [each for each in self.world.alive if each.content == content]
        if len(self.world.alive) < MOST_AT_ONCE and (not waiting or data.draw(st.booleans())):
            self.world.begin(content)
            waiting = self.world.processes[-1:]
        if not waiting:
            return
        process = data.draw(st.sampled_from(waiting))
        while process.at not in (None, stop, "answer"):
            process.step("go")
        if process.at is not None:
            happens = data.draw(st.sampled_from(("stop", "go", "kill", *TROUBLES[process.at])))
            if happens != "stop":
                process.step(happens)

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), steps=st.integers(1, 14))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        process = self._one_of(data)
        for _ in range(steps):
            if process.at is not None:
                process.step("go")

    @precondition(lambda self: any(each.at in TROUBLES for each in self.world.alive))
    @rule(data=st.data())
    def meet_trouble(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from([each for each in self.world.alive if each.at in TROUBLES]))
        process.step(data.draw(st.sampled_from(TROUBLES[str(process.at)])))

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self._one_of(data).step("kill")

    @precondition(lambda self: self.world.late)
    @rule(data=st.data())
    def a_late_answer_arrives(self, data: st.DataObject) -> None:
        late = data.draw(st.sampled_from(self.world.late))
        if late.process.at is None:
            self.world.late.remove(late)
            late.arrive()

    @rule()
    def restart(self) -> None:
        self.world.restart()

    # -- time, the vendor, people

    @rule(seconds=st.sampled_from([1.0, DEADLINE / 2, 400.0, 13 * 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: any(each.code is None for each in self.world.vendor.tasks.values()))
    @rule(data=st.data(), code=st.sampled_from([10000, 10000, 50411, 50511]))
    def a_task_ends(self, data: st.DataObject, code: int) -> None:
        running = [each for each in self.world.vendor.tasks.values() if each.code is None]
        data.draw(st.sampled_from(running)).code = code

    @rule(data=st.data(), noise=st.none() | st.sampled_from(NOISE), times=st.integers(1, 4))
    def a_task_is_asked_about(self, data: st.DataObject, noise: Any, times: int) -> None:
        rows = [row for row in self.world.rows() if row.state is TaskState.SUBMITTED]
        if not rows:
            return
        row = data.draw(st.sampled_from(rows))
        status, body = noise or (200, self.world.vendor.tell(row.task_id or ""))
        answer: Observation = parse_answer(status, {}, body)
        if status == 0:
            answer = TransportFailure(FailureKind.NO_ANSWER, "silence")
        for turn in range(times):
            state, decision = decide_poll(
                self.waits.get(row.id, PollState()),
                answer,
                now=self.world.ledger.now() + 20.0 * turn,
                submitted_at=row.submitted_at,
                deadline=None,
                settings=PollSettings(),
            )
            self.waits[row.id] = state
            row = record_verdict(self.world.ledger, row, decision)

    @rule(data=st.data())
    def a_person_releases_an_unknown(self, data: st.DataObject) -> None:
        unknown = [row for row in self.world.rows() if row.state is TaskState.UNKNOWN]
        if unknown:
            row = data.draw(st.sampled_from(unknown))
            self.world.ledger.release(row.id, reason="not on the bill", by="me")
            self.world.vendor.allowed[self._content_of(row.content_key)] += 1

    @rule(data=st.data())
    def a_person_adopts_an_id(self, data: st.DataObject) -> None:
        kept = {row.task_id for row in self.world.rows()}
        found = [each for each in self.world.vendor.tasks.values() if each.task_id not in kept]
        if found:
            task = data.draw(st.sampled_from(found))
            row = self.world.ledger.get(task.row_id)
            if row is not None and row.state in (TaskState.UNKNOWN, TaskState.RELEASED):
                self.world.ledger.adopt(row.id, task.task_id, by="me")

    # -- what always holds

    @invariant()
    def nothing_is_paid_twice_by_itself(self) -> None:
        assert self.world.vendor.wrong == []

    @invariant()
    def the_ledger_never_says_of_a_task_that_it_was_not_created(self) -> None:
        for task in self.world.vendor.tasks.values():
            row = self.world.ledger.get(task.row_id)
            assert row is not None
            assert row.state is not TaskState.REJECTED
            assert row.send_count > 0

    def teardown(self) -> None:
        try:
            self.world.finish()
            seen["accepted"] += len(self.world.vendor.tasks)
            seen["killed"] += sum(each.dead for each in self.world.processes)
            seen["unknown"] += sum(
                isinstance(each.result, JimengUnknownSubmitError) for each in self.world.processes
            )
            self.nothing_is_paid_twice_by_itself()
            self.the_ledger_never_says_of_a_task_that_it_was_not_created()
            kept = {row.task_id for row in self.world.rows()}
            for process in self.world.processes:
                assert process.dead or process.seen <= kept, "an id that its owner saw is lost"
            if not any(each.dead for each in self.world.processes):
                heard = {task_id for each in self.world.processes for task_id in each.seen}
                assert heard <= kept
        finally:
            self.world.kill_all()
            engine._registry.databases.pop(self.world.url, None)
            shutil.rmtree(self.folder)

    # -- small things

    def _one_of(self, data: st.DataObject) -> Process:
        return data.draw(st.sampled_from(self.world.alive))

    def _content_of(self, key: str) -> str:
        return next(content for content in POLICIES if self.world.wanted(content).key == key)


@pytest.mark.timeout(600)  # where it fails, the shortest story of the failure is sought for a while
def test_any_order_of_events_pays_once_and_loses_no_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _make_template(tmp_path)
    # A process stays for late answers; here they come when hypothesis says, and not while it stays.
    monkeypatch.setattr(submit, "_LATE_SECONDS", 1.0)
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.filter_too_much,
                HealthCheck.data_too_large,
            ],
        ),
    )
    assert seen["accepted"] > EXAMPLES // 2, seen
    assert seen["killed"], seen
    assert seen["unknown"], seen
