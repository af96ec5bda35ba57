# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The worker's side of waiting for a task, shared by sensor and operators: confirm, record, answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengProtocolError,
    JimengStoppedError,
)
from airflow_provider_jimeng.hooks.defaults import DEFAULT_CONNECTION
from airflow_provider_jimeng.hooks.jimeng import JimengHook, epoch_of
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.asking import (
    ask_about,
    is_true_for_strangers,
    unknown_to_this_key,
)
from airflow_provider_jimeng.lifecycle.harvest import (
    Watched,
    failure_of,
    harvest,
    harvest_doubt,
    record_verdict,
)
from airflow_provider_jimeng.lifecycle.revive import Revived, revive
from airflow_provider_jimeng.lifecycle.settle import Ended
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    next_poll_delay,
    worth_telling,
)

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord


log = logging.getLogger(__name__)

_BAD_ENDS = frozenset({PollKind.FAILED, PollKind.EXPIRED})
#: How often a wait looks whether its task was told to stop.
_NAP_SECONDS = 0.5


@dataclass(slots=True)
class Watcher:
    """
    Waits for one task on the worker, or confirms there what a trigger saw.

    :param record: the ledger's row, ``None`` for a task that the ledger does not know.
    :param stopping: tells that the task was told to stop (SIGTERM), which ends a wait on the worker.
    """

    hook: JimengHook
    watched: Watched
    record: TaskRecord | None
    expected: float | None = None
    state: PollState | None = None
    stopping: Callable[[], bool] | None = None

    def ask(self, *, seen_at: float | None = None) -> PollDecision:
        """
        Query once; a verdict is in the ledger before it is returned.

        :param seen_at: epoch seconds at which a trigger saw the end.
        :raises JimengConfigurationError: the vendor denies the task, and would deny it to a stranger, too.
        """
        self.state, decision = harvest(self.hook.client, self.watched, now=time.time(), state=self.state)
        self._write_down(decision, seen_at)
        return decision

    def _write_down(self, decision: PollDecision, seen_at: float | None = None) -> None:
        if self.record is None:
            return
        if self._may_be_a_strangers(self.record, decision):
            raise unknown_to_this_key(self.record)
        self.record = record_verdict(
            self.hook.ledger, self.record, decision, state=self.state, seen_at=seen_at
        )

    def _may_be_a_strangers(self, record: TaskRecord, decision: PollDecision) -> bool:
        """Return whether an end of a task that runs may only be one because its account is another's."""
        if record.state is not TaskState.SUBMITTED or decision.kind not in _BAD_ENDS:
            return False
        settings, scope = self.hook.settings, record.scope
        if settings.is_called(scope.account) and settings.endpoint_name == scope.endpoint:
            return False
        return not is_true_for_strangers(record, self.state or PollState(), decision, now=time.time())

    def confirm(self, told: Mapping[str, Any] | None) -> PollDecision:
        """
        Query once where a trigger saw the end of a task; its own count of strange answers is carried on.

        The worker's own answer decides: an event may be stale, and the result's URL is never part of one.
        """
        if told is not None and isinstance(told.get("poll"), Mapping):
            self.state = PollState.from_dict(told["poll"])
        return self.ask(seen_at=epoch_of(told.get("seen_at")) if told is not None else None)

    def dispel_doubt(
        self, decision: PollDecision, sleep: Callable[[float], None] = time.sleep
    ) -> PollDecision:
        """Ask on while the answer is one that only counts when it lasts; some seconds, and bounded."""
        self.state, decision = harvest_doubt(
            self.hook.client, self.watched, self.state or PollState(), decision, now=time.time, sleep=sleep
        )
        self._write_down(decision)
        return decision

    def wait(
        self, *, poke_interval: float | None, sleep: Callable[[float], None] = time.sleep
    ) -> PollDecision:
        """
        Query until the task is over or the deadline has passed.

        :raises JimengStoppedError: this task was told to stop; the vendor's goes on, and is found again.
        """
        began, asked_to_wait = time.time(), 0.0
        told: str | None = None
        while True:
            age = time.time() - (self.watched.submitted_at or began)
            delay = max(self.delay(age, poke_interval), asked_to_wait)
            if self.watched.deadline is not None:
                delay = max(0.05, min(delay, self.watched.deadline - time.time()))
            self.pause(delay, sleep)
            decision = self.ask()
            if decision.final:
                return decision
            word = worth_telling(decision)
            if word is not None and word != told:
                log.warning("Task %s is still waited for: %s", self.watched.task_id, word)
            told = word
            asked_to_wait = decision.retry_after or 0.0

    def pause(self, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """
        Wait a while, on the worker.

        :raises JimengStoppedError: this task was told to stop.
        """
        if self.stopping is None:
            sleep(seconds)
            return
        while seconds > 0:
            if self.stopping():
                raise JimengStoppedError(
                    "This task was told to stop while it waited. The vendor's task goes on and is known to "
                    "the ledger: a later try finds it, and pays nothing",
                    task_id=self.watched.task_id,
                )
            nap = min(seconds, _NAP_SECONDS)
            sleep(nap)
            seconds -= nap

    def delay(self, age: float, poke_interval: float | None) -> float:
        """Return the seconds until the next query."""
        return next_poll_delay(
            age=age,
            expected=self.expected,
            poke_interval=poke_interval,
            settings=PollSettings(),
            jitter=time.time() % 1.0,
        )

    def finish(self, decision: PollDecision) -> PollDecision:
        """
        Return a success, raise anything else.

        :raises JimengError: by reaction, see :mod:`airflow_provider_jimeng.exceptions`.
        """
        if decision.kind is PollKind.SUCCEEDED:
            return decision
        since = self.watched.submitted_at
        raise failure_of(
            decision,
            task_id=self.watched.task_id,
            content_key=self.record.content_key if self.record is not None else None,
            may_come_back=since is not None and time.time() - since < TASK_LIFETIME_SECONDS,
        )


def connection_for(given: str, named: str | None, task_id: str, req_key: str) -> str:
    """
    Return the connection to ask about a task with.

    The one that was given; where that is the default, which is to say that none was given, the one that the
    task's reference names. One that was renamed or deleted since is done without if the given one's account
    has the task.

    :param named: as the reference has it.
    :raises JimengConfigurationError: the named connection can't be read, and the given one is another
        account's.
    """
    if named is None or given != DEFAULT_CONNECTION or named == given:
        return given
    try:
        _ = JimengHook(named).settings
    except JimengConfigurationError as error:
        if not _has(given, task_id, req_key):
            raise
        log.warning("%s Going on with %r, which is the same account.", error.message, given)
        return given
    return named


def _has(conn_id: str, task_id: str, req_key: str) -> bool:
    """Return whether the ledger has a task under a connection's account."""
    hook = JimengHook(conn_id)
    try:
        scope = hook.settings.scope(req_key)
    except JimengConfigurationError:
        return False
    return hook.ledger.by_task_id(task_id, scope) is not None


def row_of(
    hook: JimengHook,
    task_id: str,
    req_key: str,
    *,
    content_key: str | None = None,
    conn_id: str | None = None,
) -> TaskRecord | None:
    """
    Return the ledger's row of a task; ``None`` if the ledger knows of none.

    A row of another account is the row all the same where the connection is the one that submitted: its key
    was rotated, and nothing told that the account is the same one.

    :param content_key: as the task's reference has it, where the ledger knew the task.
    :param conn_id: the connection that the reference names.
    :raises JimengConfigurationError: the task is another account's than the connection's, which can't ask
        about it: it would be told that there is none.
    :raises JimengLedgerError: the ledger can't be read, which is not the same; a retry re-attaches.
    """
    scope = hook.settings.scope(req_key)
    record = hook.ledger.by_task_id(task_id, scope)
    if record is not None or content_key is None:
        return record
    record = hook.ledger.by_task_id(task_id)
    if record is None or record.content_key != content_key:
        return None
    theirs, ours = (f"account {each.account!r} at {each.endpoint}" for each in (record.scope, scope))
    if hook.volcengine_conn_id == conn_id:
        log.warning(
            "The connection %r was %s when this task was submitted, and is %s.", conn_id, theirs, ours
        )
        return record
    raise _another_accounts(hook, record)


def _another_accounts(hook: JimengHook, record: TaskRecord) -> JimengConfigurationError:
    scope = hook.settings.scope(record.scope.req_key)
    theirs, ours = (f"account {each.account!r} at {each.endpoint}" for each in (record.scope, scope))
    return JimengConfigurationError(
        f"This task was submitted as {theirs}; the connection {hook.volcengine_conn_id!r} is {ours}, which "
        "can't ask about it. The task stays paid and known, and nothing was asked: give volcengine_conn_id "
        "the connection that it was submitted with",
        task_id=record.task_id,
        content_key=record.content_key,
    )


def known_to_this_account(hook: JimengHook, record: TaskRecord) -> Revived:
    """
    Return a paid task that the connection may ask about, taken back if it was given up and is there.

    :raises JimengConfigurationError: it is another account's, or may be and the vendor does not know it.
    :raises JimengProtocolError: whose it is can't be told now; nothing is lost, and a retry asks again.
    """
    account, settings = record.scope.account, hook.settings
    if not settings.may_ask_about(account, record.scope.endpoint):
        raise _another_accounts(hook, record)
    if record.state is TaskState.SUBMITTED and not settings.is_called(account):
        back = ask_about(hook.ledger, hook.client, record)
        if back.wait is not None:
            raise JimengProtocolError(
                "Whether the vendor knows this task by the connection's new key can't be told now. Nothing "
                "is lost: a retry asks again, and submits nothing",
                task_id=record.task_id,
                content_key=record.content_key,
            )
        return back
    return revive(hook.ledger, hook.client, record)


def ended_in(event: Mapping[str, Any] | None) -> list[Ended]:
    """Return the tasks that a trigger saw over, and whose slots it called this leg for."""
    return [
        Ended(
            str(each.get("task_id")),
            PollState.from_dict(each["poll"]) if isinstance(each.get("poll"), Mapping) else None,
            epoch_of(each.get("seen_at")),
        )
        for each in (event or {}).get("over") or ()
        if isinstance(each, Mapping)
    ]


def raise_if_failed(record: TaskRecord) -> None:
    """
    Raise the verdict that the ledger keeps of a task; the vendor forgets it after twelve hours.

    :raises JimengTaskFailedError: the vendor's verdict was a bad one.
    """
    if record.state is TaskState.FAILED:
        verdict = PollDecision(
            PollKind.FAILED,
            record.code,
            record.message,
            record.request_id,
            new_attempt=record.new_attempt_allowed,
        )
        raise failure_of(verdict, task_id=record.task_id or "", content_key=record.content_key)
