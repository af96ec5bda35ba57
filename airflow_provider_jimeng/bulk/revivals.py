# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Paid tasks that are only asked about: they need no slot, and no leave to submit.

What was given up, whether a line asks for it or none, and what may be another account's. Asking is free, so
neither a budget nor a timeout ends it: the proof that a task is lost does. That takes a good while, in which
a slot would be idle: only what is to be paid for again waits for one, afterwards.
"""

from __future__ import annotations

import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.content import Content, first_due, outcome_of
from airflow_provider_jimeng.bulk.items import Outcome
from airflow_provider_jimeng.exceptions import JimengError, JimengLedgerError, JimengTaskExpiredError
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.revive import Revived, given_up_error
from airflow_provider_jimeng.policy.backoff import backoff_delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.bulk.tools import Tools
    from airflow_provider_jimeng.ledger.records import TaskRecord

_AT_ONCE = 8


class Revivals:
    """
    Asks about contents at the pace that each answer names. Used by the run's own thread.

    :param post: takes what is to be done in the run's thread.
    :param answered: takes ``None`` once the ledger has answered, and its error where it did not.
    :param go_on: takes a content that has a task, or a result.
    :param pay_again: takes a content that is lost, and returns whether it is to be paid for again.
    :param settle: takes a content that stays lost, or about which nothing can be asked, and why.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        post: Callable[[Callable[[], None]], None],
        answered: Callable[[JimengLedgerError | None], None],
        go_on: Callable[[Content], None],
        pay_again: Callable[[Content], bool],
        settle: Callable[[Content, Outcome, JimengError | str], None],
    ) -> None:
        self._tools = tools
        self._post, self._answered, self._go_on, self._settle = post, answered, go_on, settle
        self._pay_again = pay_again
        #: What is to be asked about, now or later.
        self.waiting: deque[Content] = deque()
        self._under_way = 0
        self._pool: ThreadPoolExecutor | None = None

    def add(self, content: Content) -> None:
        """Queue a content whose task is to be asked about."""
        self.waiting.append(content)

    def idle(self, now: float) -> bool:
        """Return whether no question is under way, and none is due."""
        return not self._under_way and all(each.not_before > now for each in self.waiting)

    def close(self) -> None:
        """Wait for what is under way."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, now: float) -> None:
        """Ask what is due."""
        while self._under_way < _AT_ONCE and (content := first_due(self.waiting, now)) is not None:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="jimeng-bulk-revive")
            self._under_way += 1
            self._pool.submit(self._ask, content)

    def _ask(self, content: Content) -> None:
        outcome: Revived | BaseException
        try:
            record = self._row(content)
            ask = record.state is TaskState.EXPIRED or (
                content.doubtful and record.state in (TaskState.SUBMITTED, TaskState.SUCCEEDED)
            )
            outcome = self._tools.ask(record) if ask else Revived(record)
        except BaseException as error:
            outcome = error
        self._post(lambda: self._on_answer(content, outcome))

    def _row(self, content: Content) -> TaskRecord:
        """Return the row as it is now: somebody else may have asked, or paid again."""
        ledger, seen = self._tools.ledger, content.record
        found = standing = ledger.latest(content.key)
        if content.stray and seen is not None:
            found = ledger.get(seen.id)
        if found is None or standing is None:
            raise JimengLedgerError("The ledger's row of a paid task is gone", content_key=content.key)
        if found.state is TaskState.EXPIRED and standing.id != found.id:
            # Nobody may take it back any more.
            raise _paid_again_error(found, standing)
        return found

    def _on_answer(self, content: Content, outcome: Revived | BaseException) -> None:
        self._under_way -= 1
        now = time.monotonic()
        if isinstance(outcome, Revived):
            self._answered(None)
            content.calm()
            content.record = outcome.record
            if outcome.wait is not None:
                content.not_before = now + max(0.2, outcome.wait)
                self.add(content)
            elif outcome.record.state is TaskState.EXPIRED:
                if not self._pay_again(content):
                    error = given_up_error(outcome.record, time.time())
                    self._settle(content, Outcome.EXPIRED, error)
            else:
                content.supersede, content.doubtful = None, False
                self._go_on(content)
        elif isinstance(outcome, JimengLedgerError):
            if not isinstance(outcome, LostRace):
                self._answered(outcome)
            content.trouble(
                now,
                backoff_delay(content.troubles, base=0.5, cap=30.0, jitter=random.random()),  # noqa: S311 - jitter may be guessed
            )
            self.add(content)
        elif isinstance(outcome, JimengError):
            lost = content.record is not None and content.record.state is TaskState.EXPIRED
            self._settle(content, Outcome.EXPIRED if lost else outcome_of(outcome), outcome)
        else:
            raise outcome


def _paid_again_error(lost: TaskRecord, standing: TaskRecord) -> JimengTaskExpiredError:
    return JimengTaskExpiredError(
        "This task was given up, and may have been billed once. Its content was asked for anew since then: "
        f"attempt {standing.attempt} stands for it (task {standing.task_id}, {standing.state}), and there is "
        "nothing to pay",
        task_id=lost.task_id,
        content_key=lost.content_key,
    )
