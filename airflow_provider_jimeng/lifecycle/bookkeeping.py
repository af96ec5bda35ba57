# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What came of a send, told to the ledger for as long as it takes.

What is certain is not thrown away because the ledger blinks: an id that the vendor gave is told until it is
heard, and that nothing was created is told for some minutes, because a row that nobody closes becomes an
*unknown*, which stops the task for good over nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.counting import submit_accepted, submit_unknown
from airflow_provider_jimeng.policy.backoff import backoff_delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.policy.submit import SubmitOutcome

log = logging.getLogger(__name__)

#: For how long it is told that nothing was created, while the ledger is silent: as long as a task bears that.
CERTAIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Bookkeeper:
    """
    Writes down what came of one send.

    :param clock: seconds that never go back.
    :param jitter: spreads the repetitions of many tasks that the same ledger is away from.
    """

    ledger: Ledger
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    jitter: Callable[[], float]

    def keep_id(self, record: TaskRecord, task_id: str, request_id: str | None) -> TaskRecord:
        """
        Record an obtained task id; it is never refused and never dropped.

        It is logged before it is committed, and the commit is repeated until the ledger answers: from the
        moment the vendor gave the id, forgetting it is the only way to lose money.
        """
        log.info(
            "The vendor accepted content %s as task %s (request %s).", record.content_key, task_id, request_id
        )
        attempt = 0
        while True:
            try:
                kept = self.ledger.record_created(record, task_id, request_id)
                submit_accepted(record.scope)
                return kept
            except JimengLedgerError as error:
                delay = backoff_delay(attempt, base=0.5, cap=30.0, jitter=self.jitter())
                log.error(
                    "Task %s is paid for but not in the ledger yet (%s); trying to record it again in %.1f "
                    "s. If this process dies first: `ledger adopt %s %s`.",
                    task_id,
                    error.message,
                    delay,
                    record.content_key,
                    task_id,
                )
                self.sleep(delay)
                attempt += 1

    def not_created(self, record: TaskRecord, outcome: SubmitOutcome) -> None:
        """
        Record that the vendor created nothing.

        :raises LostRace: the row stands elsewhere.
        :raises JimengLedgerError: the ledger was silent for too long; the row becomes an unknown.
        """
        self._until_heard(
            record,
            f"nothing was created ({outcome.message})",
            lambda: self.ledger.record_rejected(
                record, code=outcome.code, message=outcome.message, request_id=outcome.request_id
            ),
        )

    def give_up(self, record: TaskRecord, reason: str, *, unheard: bool = False) -> None:
        """
        Say that nothing was sent, whatever others have made of the intent meanwhile.

        :param unheard: whether the ledger was asked to permit a send and was not heard to: the permission may
            stand in the row, and was never used.
        """
        try:
            self._until_heard(record, reason, lambda: self._close_unsent(record, reason, unheard=unheard))
        except JimengLedgerError as error:
            log.warning(
                "Content %s: %s, and the ledger could not be told (%s).", record.content_key, reason, error
            )

    def _close_unsent(self, record: TaskRecord, reason: str, *, unheard: bool) -> None:
        current = self.ledger.get(record.id)
        if current is None or current.owner != record.owner:
            return
        if current.state is TaskState.INTENT or (unheard and _only_permitted(record, current)):
            self.ledger.record_rejected(current, code=None, message=reason, request_id=None)
        elif current.state is TaskState.UNKNOWN and current.send_count <= record.send_count:
            self.ledger.release(current.id, reason=reason, by=record.attempt_scope)

    def _until_heard(self, record: TaskRecord, what: str, tell: Callable[[], object]) -> None:
        until = self.clock() + CERTAIN_SECONDS
        attempt = 0
        while True:
            try:
                tell()
                return
            except LostRace:
                raise
            except JimengLedgerError as error:
                if self.clock() >= until:
                    raise
                delay = backoff_delay(attempt, base=0.5, cap=15.0, jitter=self.jitter())
                log.warning(
                    "Content %s: %s, and the ledger does not know it yet (%s); telling it again in %.1f s.",
                    record.content_key,
                    what,
                    error.message,
                    delay,
                )
                self.sleep(delay)
                attempt += 1

    def unknown(self, record: TaskRecord, message: str, code: int | None, request_id: str | None) -> None:
        """Record that nobody knows what came of it; a ledger that does not hear finds that out by itself."""
        try:
            self.ledger.record_unknown(record, message=message, code=code, request_id=request_id)
        except JimengLedgerError as error:
            # The row stays an intent, which the next claim makes an unknown once its deadline has passed.
            log.error(
                "The outcome of the submit of content %s is not known (%s), and the ledger could not be "
                "told: %s",
                record.content_key,
                message,
                error,
            )
        submit_unknown(record.scope)

    def late_row(self, record: TaskRecord, seconds: float) -> TaskRecord | None:
        """
        Stay for an answer that is late: its id is kept by this process, and is lost if it ends first.

        :param seconds: for how long, at most.
        """
        until = self.clock() + seconds
        while True:
            try:
                row = self.ledger.get(record.id)
            except JimengLedgerError:
                row = None
            if row is not None and row.task_id is not None:
                return row
            if self.clock() >= until:
                return None
            self.sleep(0.5)


def _only_permitted(record: TaskRecord, current: TaskRecord) -> bool:
    """
    Return whether one send was permitted since, and the row was taken for an unknown, and nothing else was.

    A permission is given to the revision that a claim handed out, and a claim hands an intent to its owner
    only. So it is this owner's own, of the call whose answer it did not hear.
    """
    steps = (current.send_count - record.send_count, current.revision - record.revision)
    return current.state is TaskState.UNKNOWN and steps == (1, 2)
