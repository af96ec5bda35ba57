# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Processes that submit, one step at a time, at a ledger that is real and a vendor that is a model."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import update

from airflow_provider_jimeng.api.models import (
    Credentials,
    Endpoint,
    FailureKind,
    Observation,
    TransportFailure,
)
from airflow_provider_jimeng.api.parsing import parse_answer
from airflow_provider_jimeng.client.settings import AccountSettings
from airflow_provider_jimeng.exceptions import JimengError, JimengLedgerError
from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
from airflow_provider_jimeng.ledger.schema import limits, tasks, waiters
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle.submit import Submitter
from airflow_provider_jimeng.lifecycle.wanted import Policies, Request, Wanted, want

DEADLINE = 60.0
SETTINGS = AccountSettings(
    "test",
    "account",
    Credentials("ak", "sk"),
    Endpoint("http://127.0.0.1:9"),
    submit_deadline=DEADLINE,
    max_concurrency=2,
)
SENT = TransportFailure(FailureKind.NO_ANSWER, "no answer")
UNSENT = TransportFailure(FailureKind.NOT_SENT, "no connection")


class Killed(BaseException):
    """SIGKILL: from here on the process does nothing any more."""


@dataclass(slots=True)
class VendorTask:
    task_id: str
    content: str
    row_id: int
    sent_at: float
    code: int | None = None

    @property
    def failed(self) -> bool:
        return self.code not in (None, 10000)


@dataclass(slots=True)
class Vendor:
    """
    Accepts whatever arrives, unless it is told to refuse.

    :ivar wrong: acceptances that should never have been asked for.
    :ivar allowed: by content, how many further tasks a person took the risk of.
    """

    patient: frozenset[str]
    tasks: dict[str, VendorTask] = field(default_factory=dict)
    allowed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def receive(self, content: str, row_id: int, sent_at: float, refusal: int | None) -> bytes:
        if refusal is not None:
            return json.dumps({"code": refusal, "data": None, "message": "no", "request_id": "r"}).encode()
        running = [each for each in self.tasks.values() if each.content == content and not each.failed]
        if len(running) > self.allowed[content]:
            waited = sent_at - max(each.sent_at for each in running)
            if content not in self.patient or waited < 3 * DEADLINE - 2:
                self.wrong.append(f"{content}: paid {len(running) + 1} times, {waited:.0f} s apart")
        # Odd, so that a float can't hold it.
        task_id = str(7392616336519610001 + 2 * len(self.tasks))
        self.tasks[task_id] = VendorTask(task_id, content, row_id, sent_at)
        data = {"task_id": task_id}
        return json.dumps({"code": 10000, "data": data, "message": "Success", "request_id": "r"}).encode()

    def tell(self, task_id: str) -> bytes:
        task = self.tasks[task_id]
        data: dict[str, Any] = {"status": "generating" if task.code is None else "done"}
        if task.code == 10000:
            data["video_url"] = "https://v.test/a.mp4"
        return json.dumps({"code": task.code or 10000, "data": data, "request_id": "r"}).encode()


class Process:
    """
    One pass of a submitter for one content, which stops before everything that another can see.

    :ivar at: what it is about to do; ``None`` where it has ended.
    :ivar seen: ids that it got to see.
    """

    def __init__(self, world: World, content: str, name: str) -> None:
        self.world, self.content, self.name = world, content, name
        self.at: str | None = "start"
        self.dead = False
        self.seen: set[str] = set()
        self.row_id = 0
        self.sent_at = 0.0
        self.result: Any = None
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._command = "go"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def step(self, command: str) -> None:
        """Let it do what it is at, or have that go wrong; returns when it is at the next thing."""
        assert self.at is not None
        self._command = command
        self._turn.release()
        self._back.acquire()

    def pause(self, at: str) -> str:
        self.at = at
        self._back.release()
        self._turn.acquire()
        if self._command == "kill":
            self.dead = True
            raise Killed
        return self._command

    def hear(self, body: bytes) -> Observation:
        """Read an answer; an id in it is this process's to keep from now on."""
        answer = parse_answer(200, {}, body)
        if answer.data is not None and "task_id" in answer.data:
            self.seen.add(answer.data["task_id"])
        return answer

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if self._command != "kill":
                self.result = self.submitter().ensure(self.world.wanted(self.content), waiter=self.name)
        except JimengError as error:
            self.result = error
        except Killed:
            pass
        except BaseException as error:
            self.world.vendor.wrong.append(f"{self.name} broke: {error!r}")
        finally:
            self.at = None
            self._back.release()

    def submitter(self) -> Submitter:
        return Submitter(
            _SteppedLedger(self),  # type: ignore[arg-type]
            _Line(self),  # type: ignore[arg-type]
            SETTINGS,
            sleep=self.world.pass_time,
            clock=lambda: self.world.clock,
            jitter=lambda: 0.5,
        )


class _SteppedLedger:
    """The ledger as one process has it: it may fall silent before or after it did what it was asked."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        process = self._process

        def call(*arguments: Any, **named: Any) -> Any:
            if process.dead:
                # What handlers of exceptions would still do is not done by a process that was killed.
                return arguments[0] if arguments else None
            # A late answer comes to a thread of its own, when the pass is over.
            command = process.pause(name) if process.at is not None else "go"
            if command == "silent":
                raise JimengLedgerError("the ledger is silent")
            found = getattr(process.world.ledger, name)(*arguments, **named)
            if name == "begin_send":
                process.row_id, process.sent_at = found.id, process.world.clock
            if command == "forgotten":
                raise JimengLedgerError("the ledger did it, and fell silent")
            return found

        return call


class _Line:
    """The client as one process has it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def submit(
        self,
        body: bytes,
        *,
        on_late: Callable[[Observation], None],
        started: float | None = None,
        withdrawn: Callable[[], bool] | None = None,
    ) -> Observation:
        process, vendor = self._process, self._process.world.vendor
        began = process.world.clock
        command = process.pause("send")
        if command == "unsent" or process.world.clock - began >= DEADLINE:
            return UNSENT
        if command == "vanishes":
            process.pause("answer")
            return SENT
        refusal = int(command) if command.isdigit() else None
        body = vendor.receive(process.content, process.row_id, process.sent_at, refusal)
        command = process.pause("answer")
        if command == "lost":
            return SENT
        if command == "late":
            process.world.late.append(Late(process, on_late, body))
            return SENT
        if command == "cut":
            return parse_answer(200, {}, body[: len(body) // 2])
        return process.hear(body)

    def query(self, req_key: str, task_id: str) -> Observation:
        return parse_answer(200, {}, self._process.world.vendor.tell(task_id))


@dataclass(slots=True)
class Late:
    """An answer on its way to a process that no longer waits for it."""

    process: Process
    on_late: Callable[[Observation], None]
    body: bytes

    def arrive(self) -> None:
        if not self.process.dead:
            self.on_late(self.process.hear(self.body))


class World:
    """
    Everything that outlives a process.

    :ivar clock: seconds that passed; the ledger's rows age with them.
    """

    def __init__(self, url: str, policies: Mapping[str, Policies]) -> None:
        self.url, self.policies = url, policies
        self.ledger = Ledger(url)
        self.clock = 0.0
        resubmitted = frozenset(each for each, how in policies.items() if how.on_unknown_submit == "resubmit")
        self.vendor = Vendor(resubmitted)
        self.processes: list[Process] = []
        self.late: list[Late] = []

    @property
    def alive(self) -> list[Process]:
        return [each for each in self.processes if each.at is not None]

    def wanted(self, content: str) -> Wanted:
        return want(
            Request(f"https://media.test/{content}.png", "https://media.test/v.mp4"),
            settings=SETTINGS,
            provenance=Provenance("dag", "run", content),
            policies=self.policies[content],
        )

    def rows(self) -> list[TaskRecord]:
        return [row for content in self.policies for row in self.ledger.history(self.wanted(content).key)]

    def begin(self, content: str) -> None:
        self.processes.append(Process(self, content, f"{content}-{len(self.processes)}"))

    def pass_time(self, seconds: float) -> None:
        """Let everything have happened earlier, by the ledger's clock."""
        self.clock += seconds
        for table, names in (
            (tasks, ("created_at", "sent_at", "submitted_at", "finished_at")),
            (limits, ("cooldown_until", "probe_after", "called_at")),
            (waiters, ("created_at", "called_at")),
        ):
            values = {name: table.c[name] - seconds for name in names}
            self._write(update(table).values(values))

    def _write(self, statement: Any) -> None:
        database_for(self.url).write(lambda conn: conn.execute(statement))

    def restart(self) -> None:
        """Open the ledger anew, as the next process of a worker does."""
        self.ledger.close()
        self.ledger = Ledger(self.url)

    def finish(self) -> None:
        """Let every process that lives come to its end, and every answer arrive."""
        for process in self.processes:
            while process.at is not None:
                process.step("go")
        for late in self.late:
            late.arrive()
        self.late.clear()

    def kill_all(self) -> None:
        for process in self.alive:
            while process.at is not None:
                process.step("kill")
        self.ledger.close()
