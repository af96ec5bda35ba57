# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The money-safe submit: one content, at most one paid task.

``ensure`` makes one pass and never sleeps for long: it returns the task in hand, or what to wait for.
Whoever calls it (operator, hook, bulk run) decides how to wait.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.build import encode_body
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.client.wire import steady_seconds
from airflow_provider_jimeng.exceptions import (
    JimengCredentialError,
    JimengError,
    JimengLedgerError,
    JimengNotSentError,
    JimengProtocolError,
    JimengSpendLimitError,
)
from airflow_provider_jimeng.ledger.records import (
    DEFAULT_EXPECTED_SECONDS,
    Claimed,
    ClaimRequest,
    Found,
    MustWait,
    Refused,
    TaskRecord,
)
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.bookkeeping import Bookkeeper
from airflow_provider_jimeng.lifecycle.clock import through_suspension
from airflow_provider_jimeng.lifecycle.counting import submit_refused
from airflow_provider_jimeng.lifecycle.decide import Step, decide, is_to_be_replaced
from airflow_provider_jimeng.lifecycle.ensured import Ensured, InHand, Waiting
from airflow_provider_jimeng.lifecycle.outcomes import refusal_error, stopped_error, unknown_error
from airflow_provider_jimeng.lifecycle.release import release_unknown
from airflow_provider_jimeng.lifecycle.revive import is_still_lost, revive
from airflow_provider_jimeng.lifecycle.settle import Ended, is_overdue, settle_holders, settle_seen_over
from airflow_provider_jimeng.lifecycle.shielded import shielded
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT, Wanted
from airflow_provider_jimeng.policy.submit import (
    Reaction,
    SubmitKind,
    SubmitOutcome,
    judge_submit,
    of_the_account,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from airflow_provider_jimeng.api.models import Observation
    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.lifecycle.wanted import Superseded

log = logging.getLogger(__name__)

#: Each turn answers a lost race; more in a row than this is a bug, not bad luck.
_TURNS = 8
#: Signing again (clock) and refreshing credentials are new sends; one of them is enough.
_SENDS = 2
#: How long a process stays for an answer that is late, at most, before it tells of an unknown.
_LATE_SECONDS = 120.0
#: How long a task that is interrupted in the middle of a submit stays for its outcome; a send's deadline
#: where that is longer.
_STAY_SECONDS = 60.0
#: How many claims may come too late to be sent, before a try fails over it.
_LATE_CLAIMS = 2


@dataclass(slots=True)
class Submitter:
    """
    Brings one content to *a task exists for it*, through the ledger.

    :param refresh: returns fresh settings where the credentials are temporary, ``None`` where they are not.
    :param watched: ids of the tasks that the caller polls itself, which a full house need not ask about.
    :param seen_over: tasks that a trigger saw over, and whose slots may be free for this content.
    :param admit: called before each claim; raises where this ledger may not pay.
    :param present: returns a body as the vendor can use it, its private inputs presigned; never kept.
    :param stopping: tells that the task was told to stop (SIGTERM): nothing is claimed or sent any more.
    """

    ledger: Ledger
    client: SyncClient
    settings: AccountSettings
    refresh: Callable[[], AccountSettings | None] = lambda: None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = through_suspension
    jitter: Callable[[], float] = random.random
    budget: int | None = None
    watched: Callable[[], Collection[str]] = tuple
    seen_over: Collection[Ended] = ()
    admit: Callable[[], None] = lambda: None
    present: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    stopping: Callable[[], bool] = lambda: False
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    _interrupted: bool = False

    @property
    def _book(self) -> Bookkeeper:
        return Bookkeeper(self.ledger, self.sleep, self.clock, self.jitter)

    def ensure(
        self,
        wanted: Wanted,
        *,
        waiter: str,
        supersede: Superseded | None = None,
        lost: TaskRecord | None = None,
    ) -> Ensured:
        """
        Adopt the content's task, or claim a slot and submit it.

        :param waiter: who holds the ticket: the same over all tries of a task instance, so that a retry keeps
            its place in the queue.
        :param supersede: a finished row that the user chose to pay for again.
        :param lost: a row that the caller has just proven lost (:func:`~.lifecycle.revive.revive`), and that
            the vendor is not asked about again.
        :raises JimengUnknownSubmitError: the outcome of this or an earlier submit is not known.
        :raises JimengStoppedError: it would have to be submitted, and the task was told to stop.
        :raises JimengError: by reaction, see :mod:`airflow_provider_jimeng.exceptions`.
        """
        settled, late = False, 0
        if self.seen_over:
            settle_seen_over(self.ledger, self.client, wanted.scope, self.seen_over)
        for _ in range(_TURNS):
            record = self.ledger.latest(wanted.key)
            if record is not None and is_still_lost(record, lost):
                lost = record
            elif record is not None and record.state is TaskState.EXPIRED:
                back = revive(self.ledger, self.client, record, sleep=self.sleep)
                if back.wait is not None:
                    return Waiting("given_up", retry_after=back.wait)
                supersede = supersede if back.record is record else None
                lost = record = back.record
            if not is_to_be_replaced(record, supersede):
                decision = decide(
                    record,
                    policies=wanted.policies,
                    attempts=self.ledger.attempts_in(wanted.key, wanted.provenance.attempt_scope),
                    now=self.ledger.now(),
                )
                if decision.step is Step.FAIL and decision.error is not None:
                    self.ledger.drop_ticket(wanted.scope, waiter)
                    raise decision.error
                if decision.step is Step.TAKE and record is not None:
                    self.ledger.drop_ticket(wanted.scope, waiter)
                    return InHand(record, reused=True)
                if decision.step is Step.WAIT:
                    flying = record is not None and record.state is TaskState.INTENT
                    return Waiting("in_flight" if flying else "quarantine", retry_after=decision.wait)
                if decision.step is Step.RELEASE and record is not None:
                    release_unknown(self.ledger, record)
                    continue
            if self.stopping():
                raise stopped_error(wanted.key)
            request = self._claim_request(wanted, waiter, record, supersede)
            self.admit()
            # Before the claim: what can't be presigned or encoded must not hold a slot.
            body = encode_body(self.present(wanted.body))
            started = self.clock()
            claim = self.ledger.claim(request)
            if isinstance(claim, Claimed):
                outcome = shielded(
                    partial(self._begin_and_send, claim.record, started, wanted, body),
                    stay=max(_STAY_SECONDS, self.settings.submit_deadline),
                    withdraw=self._withdraw,
                )
                if isinstance(outcome, JimengNotSentError):
                    # Whoever stood still, this process or one that held the ledger's locks: claim afresh.
                    if (late := late + 1) > _LATE_CLAIMS:
                        raise outcome
                elif outcome is not None:
                    return outcome
                # Throttled: the next claim tells the shared cool-down and keeps a place in the queue. What
                # the user chose to pay for again stands again, and is still to be paid for again.
                continue
            if isinstance(claim, Found):
                continue
            if isinstance(claim, Refused):
                self.ledger.drop_ticket(wanted.scope, waiter)
                raise JimengSpendLimitError(
                    f"Nothing was submitted or paid this time: {claim.message}", content_key=wanted.key
                ).because(claim.reason)
            if not settled and self._settle(claim):
                settled = True
                continue
            return Waiting(
                claim.reason,
                claim.ticket_id,
                # A slot may come free long before it is expected to, and is idle until its ticket looks.
                claim.retry_after_seconds if claim.reason == "cooldown" else None,
                limit=claim.limit,
                in_use=claim.in_use,
                lost=lost,
            )
        raise JimengLedgerError(
            f"The ledger's row of this content changed {_TURNS} times while it was being claimed; nothing "
            "was submitted and nothing was paid by this try",
            content_key=wanted.key,
        )

    def _claim_request(
        self, wanted: Wanted, waiter: str, record: TaskRecord | None, supersede: Superseded | None
    ) -> ClaimRequest:
        return ClaimRequest(
            content_key=wanted.key,
            scope=wanted.scope,
            inputs=wanted.inputs,
            variant=wanted.variant,
            force_new=wanted.force_new,
            provenance=wanted.provenance,
            owner=self.owner,
            waiter=waiter,
            configured_limit=self.settings.limit_for(wanted.scope.req_key),
            send_deadline=self.settings.submit_deadline,
            expected_seconds=self.ledger.typical_seconds(wanted.scope) or DEFAULT_EXPECTED_SECONDS,
            max_attempts=wanted.policies.max_attempts,
            daily_submit_limit=self.settings.daily_submit_limit,
            budget=self.budget,
            expected_latest=None if record is None else record.id,
            expected_revision=None if record is None else record.revision,
            supersede=(record is not None and record.state is TaskState.EXPIRED)
            or is_to_be_replaced(record, supersede),
            validators=wanted.validators,
        )

    def _settle(self, claim: MustWait) -> bool:
        if claim.reason != "slots":
            return False
        mine, now = self.watched(), self.ledger.now()
        # The first in the queue asks for all; that it may be dead itself is why the others ask late.
        others = [
            each
            for each in claim.holders
            if each.task_id not in mine and (claim.ahead == 0 or is_overdue(each, now))
        ]
        return settle_holders(self.ledger, self.client, others) > 0

    def _begin_and_send(
        self, record: TaskRecord, started: float, wanted: Wanted, body: bytes
    ) -> Ensured | JimengNotSentError | None:
        """Return what came of an intent: ``None`` was throttled, an error came too late to be sent."""
        before = self.clock()
        try:
            begun = self._begin(record, started)
        except JimengNotSentError as error:
            return error
        return self._send(begun, wanted, body, before)

    def _send(self, record: TaskRecord, wanted: Wanted, body: bytes, before: float) -> Ensured | None:
        """
        Send a begun intent and write down what came of it.

        :param before: by the clock, a moment before the intent's permission to send was written.
        """
        for send in range(_SENDS):
            if send:
                before = self.clock()
                record = self._begin(record, before)
            outcome = judge_submit(self._submit_once(record, body, before), now=time.time())
            if outcome.kind is SubmitKind.CREATED and outcome.task_id is not None:
                kept = self._book.keep_id(record, outcome.task_id, outcome.request_id)
                return InHand(kept, reused=False)
            if outcome.kind is SubmitKind.UNKNOWN:
                # A connection that broke can't answer any more; one that was only slow still may.
                slow = outcome.http_status is None and self.clock() - before >= 0.9 * record.send_deadline
                return self._unknown(record, outcome, wanted, slow=slow)
            submit_refused(record.scope, outcome)
            if send + 1 < _SENDS and self._may_send_again(outcome):
                continue
            self._not_created(record, outcome, wanted)
            return None
        raise JimengProtocolError("a send ended without an outcome", content_key=wanted.key)

    def _begin(self, record: TaskRecord, started: float) -> TaskRecord:
        """Take the right to send, or give the intent up while it is certain that nothing was sent."""
        try:
            begun = self.ledger.begin_send(record)
        except JimengLedgerError as error:
            reason = "the intent was no longer this owner's when it came to sending"
            self._book.give_up(record, reason, unheard=True)
            raise JimengNotSentError(
                f"Nothing was sent and nothing was paid: {error.message}", content_key=record.content_key
            ) from error
        age = self.clock() - started
        if age >= record.send_deadline:
            self._book.give_up(begun, "the owner woke up after its deadline and sent nothing")
            raise JimengNotSentError(
                f"This process stood still for {age:.0f} s before sending, longer than submit_deadline "
                f"({record.send_deadline:.0f} s): nothing was sent and nothing was paid",
                content_key=record.content_key,
            )
        return begun

    def _submit_once(self, record: TaskRecord, body: bytes, before: float) -> Observation:
        def keep_late(observation: Observation) -> None:
            late = judge_submit(observation)
            if late.kind is SubmitKind.CREATED and late.task_id is not None:
                self._book.keep_id(record, late.task_id, late.request_id)

        try:
            return self.client.submit(
                body,
                on_late=keep_late,
                # Others count from the permission's commit; a process that stood still since must not send.
                started=steady_seconds() - (self.clock() - before),
                withdrawn=self._is_withdrawn,
            )
        except BaseException as error:
            # Whatever it was, the bytes may be out.
            self._book.unknown(record, f"the send was interrupted ({type(error).__name__})", None, None)
            raise

    def _withdraw(self) -> None:
        self._interrupted = True

    def _is_withdrawn(self) -> bool:
        return self._interrupted or self.stopping()

    def _may_send_again(self, outcome: SubmitOutcome) -> bool:
        if outcome.reaction is Reaction.SIGN_AGAIN:
            return True
        # Not only a token that has run out: a secrets backend may have rotated the key itself.
        if outcome.reaction is not Reaction.REFRESH and outcome.error is not JimengCredentialError:
            return False
        if self._is_withdrawn():
            # The connection may be slow to read, and the refusal is written down by nobody meanwhile.
            return False
        try:
            fresh = self.refresh()
            if fresh is None or fresh.credentials == self.settings.credentials:
                return False
            self.settings, self.client = fresh, SyncClient(fresh)
        except JimengError as error:
            # The refusal is certain, and has to be written down whatever becomes of the connection.
            log.warning("Nothing can be sent with the connection as it is now (%s).", error)
            return False
        return True

    def _unknown(self, record: TaskRecord, outcome: SubmitOutcome, wanted: Wanted, *, slow: bool) -> Ensured:
        self._book.unknown(record, outcome.message, outcome.code, outcome.request_id)
        patience = min(_LATE_SECONDS, 2 * record.send_deadline)
        late = self._book.late_row(record, patience) if slow else None
        if late is not None:
            return InHand(late, reused=False)
        if wanted.policies.on_unknown_submit == RESUBMIT:
            return Waiting("quarantine", retry_after=record.resubmit_age_seconds)
        raise unknown_error(record, outcome)

    def _not_created(self, record: TaskRecord, outcome: SubmitOutcome, wanted: Wanted) -> None:
        self._book.not_created(record, outcome)
        if of_the_account(outcome):
            self._note_misconfigured(wanted, outcome)
        if outcome.throttled is None:
            raise stopped_error(wanted.key) if self.stopping() else refusal_error(outcome, wanted.key)
        log.info(
            "The vendor refused a submit for now (%s): all claims of the account cool down.", outcome.code
        )
        self.ledger.note_refused(
            wanted.scope,
            kind="rate" if outcome.throttled == "rate" else "concurrency",
            retry_after=outcome.retry_after,
            jitter=self.jitter(),
        )

    def _note_misconfigured(self, wanted: Wanted, outcome: SubmitOutcome) -> None:
        try:
            self.ledger.note_misconfigured(wanted.scope, reason=outcome.message, jitter=self.jitter())
        except JimengLedgerError as error:
            log.warning("The circuit breaker of this account could not be told of a refusal: %s", error)
