# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Operators and sensors leg by leg, as Airflow runs them, without Airflow's processes.

Each leg is a new operator in a new DAG, as in a worker that has just parsed the file. What a leg leaves to
the next goes through JSON: the trigger's arguments, its event, the XCom. What a worker loses with its process
is lost here too.
"""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator, ExecutorSafeguard
from airflow.sdk.execution_time.context import OutletEventAccessors, set_current_context
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.hooks import patience, renewal
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle import bookkeeping, submit as submitting
from airflow_provider_jimeng.operators.jimeng import (
    JimengLandResultOperator,
    JimengMotionImitationOperator,
    JimengSubmitTaskOperator,
)
from airflow_provider_jimeng.policy import giving_up, slots as slot_policy
from airflow_provider_jimeng.policy.polling import PollSettings
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor
from airflow_provider_jimeng.triggers import holders, settling, slots as slot_trigger, watch

from tests.airflow_versions import moved

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord

AirflowRescheduleException = moved(
    "AirflowRescheduleException", "airflow.sdk.exceptions", "airflow.exceptions"
)
TaskDeferralError = moved("TaskDeferralError", "airflow.sdk.exceptions", "airflow.exceptions")
#: A trigger that is still at it after this long is stuck.
TRIGGER_SECONDS = 30.0
_LEGS = 40


@dataclass(frozen=True, slots=True)
class Output:
    """Stands for ``upstream.output`` in an operator's arguments."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """What a deferring leg leaves behind: all that the next one and the triggerer know."""

    classpath: str
    kwargs: str
    method: str
    timeout: dt.timedelta | None
    #: What the next leg's method is given beside the event, as JSON.
    handed_on: str = "{}"

    def trigger(self) -> Any:
        """Create the trigger anew from its stored arguments."""
        module, _, name = self.classpath.rpartition(".")
        return getattr(import_module(module), name)(**json.loads(self.kwargs))


@dataclass(frozen=True, slots=True)
class Rescheduled:
    """A poke that asks to be run again."""

    at: dt.datetime


class FakeTaskInstance:
    """As much of a task instance as operators look at."""

    def __init__(self, run: DagRun, task_id: str, map_index: int) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = run.dag_id, run.run_id, task_id, map_index
        self.try_number = 1
        self.max_tries = 0
        self.start_date: dt.datetime | None = None
        self.first_reschedule: dt.datetime | None = None
        self._run = run

    def xcom_pull(
        self, task_ids: Any = None, key: str = "return_value", default: Any = None, **_: Any
    ) -> Any:
        found = self._run.xcom.get((task_ids or self.task_id, key))
        return default if found is None else json.loads(found)

    def xcom_push(self, key: str, value: Any) -> None:
        self._run.xcom[(self.task_id, key)] = json.dumps(value)

    def get_first_reschedule_date(self, context: Any) -> dt.datetime | None:
        return self.first_reschedule


@dataclass
class DagRun:
    """A DAG run: an id under which attempts are counted, and the XCom of its tasks as JSON."""

    run_id: str = "run-1"
    dag_id: str = "dag"
    conf: Mapping[str, Any] = field(default_factory=dict)
    xcom: dict[tuple[str, str], str] = field(default_factory=dict)
    start_date: dt.datetime | None = None

    def instance(
        self, kind: Callable[..., Any], task_id: str = "task", *, map_index: int = -1, **arguments: Any
    ) -> Instance:
        """Return a task instance that has not run yet."""
        return Instance(self, kind, task_id, map_index, arguments)

    def task(self, kind: Callable[..., Any], task_id: str = "task", **arguments: Any) -> Any:
        """Run a task to its end, retries included; return its XCom, or raise what failed it."""
        return self.instance(kind, task_id, **arguments).finish()


class Instance:
    """
    One task instance, over all its tries.

    :ivar story: every leg's end: ``Deferred``, ``Rescheduled``, an exception, or ``{"returned": ...}``.
    :ivar events: what the triggers told, after JSON.
    """

    def __init__(
        self, run: DagRun, kind: Callable[..., Any], task_id: str, map_index: int, arguments: dict[str, Any]
    ) -> None:
        self.run, self.kind, self.arguments = run, kind, arguments
        self.ti = FakeTaskInstance(run, task_id, map_index)
        self.story: list[Any] = []
        self.events: list[dict[str, Any]] = []
        self.outlet_events: Any = None
        self.operator: Any = None

    @property
    def errors(self) -> list[BaseException]:
        return [each for each in self.story if isinstance(each, BaseException)]

    @property
    def deferrals(self) -> list[Deferred]:
        return [each for each in self.story if isinstance(each, Deferred)]

    def _built(self) -> BaseOperator:
        with DAG(dag_id=self.run.dag_id, schedule=None):
            arguments = {
                name: EmptyOperator(task_id=value.task_id).output if isinstance(value, Output) else value
                for name, value in self.arguments.items()
            }
            operator: BaseOperator = self.kind(task_id=self.ti.task_id, **arguments)
        return operator

    def leg(self, deferred: Deferred | None = None, event: Any = None) -> Any:
        """Run one leg; return a ``Deferred``, a ``Rescheduled`` or the XCom value; raise what it raised."""
        operator = self.operator = self._built()
        if self.ti.try_number == 1:
            self.ti.max_tries = operator.retries or 0
        self.outlet_events = OutletEventAccessors()
        context: Any = {
            "ti": self.ti,
            "task_instance": self.ti,
            "task": operator,
            "dag": operator.dag,
            "run_id": self.run.run_id,
            "dag_run": SimpleNamespace(
                run_id=self.run.run_id, conf=dict(self.run.conf), start_date=self.run.start_date
            ),
            "params": {},
            "outlet_events": self.outlet_events,
        }
        try:
            with set_current_context(context):
                value = contextvars.copy_context().run(self._execute, operator, context, deferred, event)
        except TaskDeferred as stop:
            classpath, kwargs = stop.trigger.serialize()
            left = Deferred(
                classpath,
                json.dumps(kwargs),
                stop.method_name,
                _delta(stop.timeout),
                json.dumps(stop.kwargs or {}),
            )
            self.story.append(left)
            return left
        except AirflowRescheduleException as stop:
            self.ti.first_reschedule = self.ti.first_reschedule or dt.datetime.now(dt.UTC)
            self.story.append(Rescheduled(stop.reschedule_date))
            return self.story[-1]
        except BaseException as error:
            self.story.append(error)
            raise
        self.ti.xcom_push("return_value", value)
        self.story.append({"returned": value})
        return json.loads(json.dumps(value))

    def _execute(self, operator: Any, context: Any, deferred: Deferred | None, event: Any) -> Any:
        ExecutorSafeguard.tracker.set(operator)
        operator.render_template_fields(context)
        if deferred is None:
            return operator.execute(context)
        told = {"error": event} if deferred.method == "__fail__" else {"event": event}
        told = {**json.loads(deferred.handed_on), **told}
        return operator.resume_execution(deferred.method, told, context)

    def watch(self, deferred: Deferred) -> dict[str, Any]:
        """Run a deferral's trigger to its event, on an event loop of its own."""
        try:
            event = asyncio.run(first_event(deferred.trigger()))
        except Exception as error:
            # Airflow loses the type: the task sees a failed deferral, which is retried.
            self.story.append(error)
            raise TaskDeferralError("Trigger failure") from error
        told: dict[str, Any] = json.loads(json.dumps(event))
        self.events.append(told)
        return told

    def a_try(self, between: Callable[[Deferred], None] | None = None) -> Any:
        """Run one try to its end."""
        outcome = self.leg()
        for _ in range(_LEGS):
            if isinstance(outcome, Deferred):
                if between is not None:
                    between(outcome)
                outcome = self.leg(outcome, self.watch(outcome))
            elif isinstance(outcome, Rescheduled):
                left = (outcome.at - dt.datetime.now(dt.UTC)).total_seconds()
                threading.Event().wait(max(0.0, left))
                outcome = self.leg()
            else:
                return outcome
        raise AssertionError(f"no end after {_LEGS} legs: {self.story}")

    def finish(self, between: Callable[[Deferred], None] | None = None) -> Any:
        """Run tries until one succeeds, one can't be retried, or the operator's retries are used up."""
        first = self.ti.try_number
        while True:
            try:
                return self.a_try(between)
            except (AirflowFailException, AirflowSkipException):
                raise
            except Exception:
                if self.ti.try_number - first >= self.operator.retries:
                    raise
            self.again()

    def clear(self) -> Instance:
        """Prepare another try, as a person's clear does: with all its retries anew."""
        self.ti.max_tries = self.ti.try_number + (self._built().retries or 0)
        return self.again()

    def again(self) -> Instance:
        """Prepare another try, as a retry does: the XCom is gone, the try number grows."""
        for key in [key for key in self.run.xcom if key[0] == self.ti.task_id]:
            del self.run.xcom[key]
        self.ti.try_number += 1
        self.ti.first_reschedule = None
        return self


async def first_event(trigger: Any, seconds: float = TRIGGER_SECONDS) -> Any:
    """Return the payload of a trigger's first event, and end the trigger."""
    events = trigger.run()
    try:
        async with asyncio.timeout(seconds):
            return (await anext(events)).payload
    finally:
        await events.aclose()


def _delta(timeout: Any) -> dt.timedelta | None:
    return dt.timedelta(seconds=timeout) if isinstance(timeout, (int, float)) else timeout


def walk(value: Any) -> Iterator[Any]:
    """Yield every value in a JSON value."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from walk(each)
    else:
        yield value


def sensor_before_landing(**arguments: Any) -> JimengTaskSensor:
    """Make a sensor in a DAG that lands its result, as that DAG's file does."""
    sensor = JimengTaskSensor(**arguments)
    JimengLandResultOperator(task_id="land", task=sensor.output, output="/not/run/by/this/leg.mp4")
    return sensor


def quick(monkeypatch: pytest.MonkeyPatch, **numbers: float) -> None:
    """Let waits run at a test's pace: the same rules, with smaller numbers (see ``PollSettings``)."""
    pace = {
        "grace_seconds": 0.6,
        "lasting_seconds": 0.25,
        "min_delay": 0.05,
        "hold_base": 0.1,
        "hold_cap": 0.2,
        "retry_cap": 0.2,
        **numbers,
    }
    usual = PollSettings.__init__.__defaults__
    names = list(PollSettings.__dataclass_fields__)
    changed = tuple(pace.get(name, value) for name, value in zip(names, usual or (), strict=True))
    monkeypatch.setattr(PollSettings.__init__, "__defaults__", changed)
    monkeypatch.setattr(slot_policy, "COOL_DOWN_SECONDS", 0.3)
    for name, seconds in (("PROOF_SECONDS", 0.6), ("DOUBT_SECONDS", 0.3), ("ALIVE_SECONDS", 0.3)):
        monkeypatch.setattr(giving_up, name, seconds)
    monkeypatch.setattr(slot_trigger, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(settling, "hold_seconds", lambda: 0.0)
    monkeypatch.setattr(watch, "FRESH_SECONDS", 0.05)
    # A leg that waited for a late answer would be two deadlines longer; the tests of that set it themselves.
    monkeypatch.setattr(submitting, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(bookkeeping, "CERTAIN_SECONDS", 5.0)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.1)


class Bench:
    """
    A vendor, a connection to it, a ledger, and a folder for results.

    :ivar emu: the judge of what was paid.
    """

    def __init__(self, emu: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.emu, self.folder, self.patch = emu, folder, monkeypatch
        self.ledger_file = folder / "ledger.db"
        self.ledger_url = f"sqlite:///{self.ledger_file}"
        monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", self.ledger_url)
        # Most tests are not about inputs, and name some that nobody serves.
        monkeypatch.setenv("AIRFLOW__JIMENG__PROBE", "False")
        self.ledger = Ledger(self.ledger_url)
        self.image, self.video = emu.media_url("character.png"), emu.media_url("template.mp4")
        self.output = str(folder / "out" / "result.mp4")
        self.connect()

    def connect(self, conn_id: str = "volcengine_default", **extra: Any) -> None:
        """Write the connection; ``login`` and ``password`` may be given too."""
        config = self.emu.config
        values = {
            "conn_type": "volcengine",
            "login": extra.pop("login", config.access_key),
            "password": extra.pop("password", config.secret_key),
            "host": extra.pop("host", self.emu.url),
            "extra": {
                "account": "tests",
                "max_concurrency": 2,
                "submit_qps": 50,
                "query_qps": 50,
                "connect_timeout": 2,
                "read_timeout": 5,
                "submit_deadline": 5,
                **extra,
            },
        }
        self.patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(values))

    @property
    def accepted(self) -> int:
        return int(self.emu.ledger()["totals"]["accepted"])

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.emu.ledger()["refused"])

    @property
    def queries(self) -> int:
        return int(self.emu.ledger()["totals"]["queries"])

    def rows(self) -> list[TaskRecord]:
        """Every attempt at every content, oldest first."""
        self.ledger.now()
        with sqlite3.connect(self.ledger_file) as database:
            numbers = [row[0] for row in database.execute("SELECT id FROM jimeng_tasks ORDER BY id")]
        database.close()
        return [row for number in numbers if (row := self.ledger.get(number)) is not None]

    def states(self) -> list[str]:
        """The states of every attempt, oldest first."""
        return [str(row.state) for row in self.rows()]

    def alter(self, statement: str, *values: Any) -> None:
        """Change the ledger behind the product's back: let time pass, lose a row."""
        with sqlite3.connect(self.ledger_file) as database:
            database.execute(statement, values)
        database.close()

    def submit(self, run: DagRun | None = None, **arguments: Any) -> Any:
        """Run a submit operator as a task."""
        urls = {} if "body" in arguments else {"image_url": self.image, "video_url": self.video}
        return (run or DagRun()).task(JimengSubmitTaskOperator, "submit", **{**urls, **arguments})

    def wait(
        self, task: Any, run: DagRun | None = None, *, before_landing: bool = False, **arguments: Any
    ) -> Any:
        """
        Run a sensor as a task.

        :param before_landing: a landing operator comes after it in the DAG, as in most.
        """
        kind = sensor_before_landing if before_landing else JimengTaskSensor
        return (run or DagRun()).task(kind, "wait", task=task, **arguments)

    def land(self, task: Any, run: DagRun | None = None, **arguments: Any) -> Any:
        """Run a landing operator as a task."""
        arguments.setdefault("output", self.output)
        return (run or DagRun()).task(JimengLandResultOperator, "land", task=task, **arguments)

    def blocks(self, run: DagRun | None = None, *, output: str | None = None, **arguments: Any) -> Any:
        """Run submit, sensor and landing one after the other, joined by their XCom."""
        run = run or DagRun()
        waiting = {"deferrable": arguments["deferrable"]} if "deferrable" in arguments else {}
        self.submit(run, **arguments)
        self.wait(Output("submit"), run, before_landing=True, **waiting)
        return self.land(Output("wait"), run, output=output or self.output)

    def imitation(self, run: DagRun | None = None, **arguments: Any) -> Instance:
        """Return an instance of the all-in-one operator."""
        given = {"image_url": self.image, "video_url": self.video, "output": self.output, **arguments}
        return (run or DagRun()).instance(JimengMotionImitationOperator, "imitate", **given)

    def imitate(self, run: DagRun | None = None, **arguments: Any) -> Any:
        """Run the all-in-one operator as a task."""
        return self.imitation(run, **arguments).finish()


@pytest.fixture
def emu() -> Iterator[Emulator]:
    """Yield a vendor with two slots and tasks of 0.2 s."""
    with Emulator(EmulatorConfig(concurrency=2, duration=0.2, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def bench(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Yield the emulator with a connection, a ledger and a folder, at a test's pace."""
    quick(monkeypatch)
    made = Bench(emu, tmp_path, monkeypatch)
    yield made
    # The vendor's ids are its own for ever; an emulator's begin anew with it.
    holders.seen_over.clear()
    made.ledger.close()
    engine._registry.databases.pop(made.ledger_url, None)
