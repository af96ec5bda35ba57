# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Triggers: they watch, and do nothing else.

They poll the vendor and read the ledger; they never submit, download or write, hold no secret, and may run
twice at once or be restarted at any moment from their arguments, which Airflow stores in plain text.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from airflow_provider_jimeng.api.models import FailureKind, TransportFailure
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.hooks import metrics
from airflow_provider_jimeng.hooks.jimeng import JimengHook, epoch_of, iso
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    decide_poll,
    next_poll_delay,
    worth_telling,
)
from airflow_provider_jimeng.triggers.connections import connections
from airflow_provider_jimeng.triggers.holders import seen_over, watched_here
from airflow_provider_jimeng.triggers.outcomes import DEADLINE as DEADLINE, FINISHED as FINISHED, TURN as TURN
from airflow_provider_jimeng.triggers.references import TaskReference, reference_of
from airflow_provider_jimeng.triggers.settling import hold_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from airflow_provider_jimeng.api.models import Observation
    from airflow_provider_jimeng.client.aio import AsyncClient
    from airflow_provider_jimeng.client.settings import AccountSettings
else:
    # A worker makes this trigger, and never asks with it.
    (AsyncClient,) = late("airflow_provider_jimeng.client.aio", "AsyncClient")

log = logging.getLogger(__name__)

#: How often a trigger that can't read its connection looks again: the task is paid for, so it never gives up.
CONNECTION_RETRY_SECONDS = 30.0

_OUTCOMES = {
    PollKind.SUCCEEDED: "succeeded",
    PollKind.FAILED: "failed",
    PollKind.EXPIRED: "expired",
    PollKind.DEADLINE: "deadline",
}


async def settings_of(conn_id: str, deadline: float | None = None) -> AccountSettings | None:
    """
    Read the connection, for as long as it takes.

    Trouble with credentials while a paid task runs is never that task's failure.

    :param deadline: epoch seconds at which to give it up and return ``None``.
    """
    told = False
    while deadline is None or time.time() < deadline:
        try:
            settings = await JimengHook(conn_id).aget_settings()
        except Exception as error:
            if not told:
                log.error("The connection %r can't be read (%s); waiting for it.", conn_id, error)
                told = True
            left = CONNECTION_RETRY_SECONDS if deadline is None else deadline - time.time()
            await asyncio.sleep(max(0.0, min(CONNECTION_RETRY_SECONDS, left)))
        else:
            connections().note(conn_id, settings)
            return settings
    return None


def event_to_tell(payload: dict[str, Any]) -> TriggerEvent:
    """Return the one event that a trigger of this provider ends with."""
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]


def leave_out(trigger: BaseTrigger, later: Mapping[str, Any]) -> None:
    """
    Leave out arguments that this release does not know, as a later one writes them.

    While an installation is upgraded, a worker may be newer than the triggerer. A trigger only watches, and
    the leg after it decides anew, so to watch a little less exactly costs nothing; to fail costs a try.
    """
    if later:
        log.warning(
            "%s leaves out arguments that it does not know: %s. A later release has written them: upgrade "
            "airflow-provider-jimeng for the triggerer.",
            type(trigger).__name__,
            ", ".join(sorted(later)),
        )


class JimengTaskTrigger(BaseTrigger):
    """
    Wait for tasks of the vendor's, and tell once.

    :param tasks: task references: dicts with at least ``task_id`` and ``req_key``.
    :param volcengine_conn_id: the connection; its secrets stay out of the trigger's row.
    :param deadline: ISO 8601 UTC time at which the wait ends without a verdict; the wall clock, so that a
        move to another triggerer does not start it anew.
    :param poll_interval: seconds between two queries of a task; ``None`` adapts to the expected processing
        time.
    :param wait_for: ``all`` tasks, or ``any`` one of them.
    :param later: arguments of a later release, see :func:`leave_out`.
    """

    def __init__(
        self,
        tasks: Sequence[Mapping[str, Any]],
        volcengine_conn_id: str = JimengHook.default_conn_name,
        deadline: str | None = None,
        poll_interval: float | None = None,
        wait_for: str = "all",
        **later: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        leave_out(self, later)
        self.tasks = [reference_of(task, "tasks") for task in tasks]
        self.volcengine_conn_id = volcengine_conn_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.wait_for = wait_for
        self._told_trouble = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments: references and a connection id, no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "tasks": [task.to_dict() for task in self.tasks],
                "volcengine_conn_id": self.volcengine_conn_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "wait_for": self.wait_for,
            },
        )

    def _hold(self) -> float:
        # dag.test() has no scheduler that could be overtaken, and sets no task instance.
        return 0.0 if self.task_instance is None else hold_seconds()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until all tasks, or any of them, are over or the deadline has passed; yield one event."""
        quiet_until = time.monotonic() + self._hold()
        settings = await settings_of(self.volcengine_conn_id, epoch_of(self.deadline))
        if settings is None:
            yield event_to_tell({"status": DEADLINE, "tasks": self._unasked(), "deadline": self.deadline})
            return
        self._client = AsyncClient(settings)
        if self.task_instance is not None:
            await asyncio.to_thread(metrics.watch_from_triggerer)
        watches = [asyncio.create_task(self._watch(task)) for task in self.tasks]
        watched_here.update(task.task_id for task in self.tasks)
        try:
            until = asyncio.FIRST_COMPLETED if self.wait_for == "any" else asyncio.ALL_COMPLETED
            if watches:
                await asyncio.wait(watches, return_when=until)
            # Whatever ends meanwhile is told as well.
            await asyncio.sleep(max(0.0, quiet_until - time.monotonic()))
            told = [watch.result() for watch in watches if watch.done()]
        finally:
            watched_here.subtract(task.task_id for task in self.tasks)
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
        status = DEADLINE if told and all(one["outcome"] == DEADLINE for one in told) else FINISHED
        yield event_to_tell({"status": status, "tasks": told, "deadline": self.deadline})

    async def _watch(self, task: TaskReference) -> dict[str, Any]:
        state, settings = PollState(), PollSettings()
        started = time.time()
        told: str | None = None
        asked_to_wait, asked = 0.0, False
        while True:
            age = time.time() - (task.submitted_epoch or started)
            await asyncio.sleep(self._delay(age, task, settings, asked_to_wait, asked))
            asked = True
            observation, trouble = await self._ask(task)
            state, decision = decide_poll(
                state,
                observation,
                now=time.time(),
                submitted_at=task.submitted_epoch,
                deadline=epoch_of(self.deadline),
                settings=settings,
            )
            if decision.kind in _OUTCOMES:
                return self._verdict(task, state, decision)
            word = worth_telling(decision)
            if word is not None and word != told:
                self.log.warning("Task %s is still waited for: %s", task.task_id, word)
            told = word
            asked_to_wait = CONNECTION_RETRY_SECONDS if trouble else decision.retry_after or 0.0
            if decision.refresh or trouble:
                await self._renew()

    async def _ask(self, task: TaskReference) -> tuple[Observation, bool]:
        """Return what the vendor says; and whether it could not be asked from here, with these settings."""
        try:
            return await self._client.query(task.req_key, task.task_id), False
        except JimengError as error:
            # A CA bundle or a proxy that only this container lacks; the workers have submitted with them.
            if not self._told_trouble:
                self._told_trouble = True
                self.log.error("The vendor can't be asked from here (%s); the tasks go on, waiting.", error)
            return TransportFailure(FailureKind.NOT_SENT, str(error)), True

    async def _renew(self) -> None:
        """Read the connection anew: a secrets backend may have rotated the keys since this trigger began."""
        settings = await settings_of(self.volcengine_conn_id, epoch_of(self.deadline))
        if settings is not None and self._client.settings.goes_on_as(settings):
            self._client = AsyncClient(settings)

    def _delay(
        self, age: float, task: TaskReference, settings: PollSettings, at_least: float, asked: bool
    ) -> float:
        regular = next_poll_delay(
            age=age,
            expected=task.expected_seconds,
            poke_interval=self.poll_interval,
            settings=settings,
            jitter=random.random(),  # noqa: S311 - jitter may be guessed
            asked=asked,
        )
        delay = max(regular, at_least)
        deadline = epoch_of(self.deadline)
        return delay if deadline is None else max(0.05, min(delay, deadline - time.time()))

    def _unasked(self) -> list[dict[str, Any]]:
        """Return what there is to tell of tasks about which nothing could be asked."""
        nothing = PollDecision(PollKind.DEADLINE, message="the connection could not be read")
        return [self._verdict(task, PollState(), nothing) for task in self.tasks]

    def _verdict(self, task: TaskReference, state: PollState, decision: PollDecision) -> dict[str, Any]:
        outcome = _OUTCOMES[decision.kind]
        if decision.kind in (PollKind.SUCCEEDED, PollKind.FAILED):
            seen_over.add(task.task_id, state)
        self.log.info("Task %s: %s.", task.task_id, outcome)
        return {
            "task_id": task.task_id,
            "req_key": task.req_key,
            "outcome": outcome,
            "code": decision.code,
            "message": decision.message,
            "request_id": decision.request_id,
            "poll": state.to_dict(),
            "seen_at": iso(time.time()),
        }

    async def on_kill(self) -> None:
        """
        Tell which tasks go on without a watcher.

        Airflow also calls this when a triggerer wakes from a pause, and after the next try has begun, so
        nothing is cancelled here: the vendor's tasks are paid for, and the next try re-attaches to them.
        """
        self.log.warning(
            "No longer watched from here: %s. They go on at the vendor and stay in the ledger.",
            ", ".join(task.task_id for task in self.tasks),
        )
