# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The submits of a run: each in a thread of its own, so that a slow answer delays no other slot's refill."""

from __future__ import annotations

import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.content import Content, first_due, left_out, outcome_before_submit
from airflow_provider_jimeng.bulk.items import Outcome
from airflow_provider_jimeng.bulk.paying_again import look_before_paying_again
from airflow_provider_jimeng.bulk.revivals import Revivals
from airflow_provider_jimeng.bulk.window import Window
from airflow_provider_jimeng.client.discretion import forget_locals
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengError,
    JimengInputStoreError,
    JimengLandingError,
    JimengLedgerError,
    JimengNotSentError,
    JimengSpendLimitError,
    JimengStoppedError,
    JimengThrottledError,
)
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.lifecycle.decide import is_to_be_replaced
from airflow_provider_jimeng.lifecycle.ensured import InHand, Waiting
from airflow_provider_jimeng.lifecycle.revive import may_come_back
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT
from airflow_provider_jimeng.policy.backoff import backoff_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from airflow_provider_jimeng.bulk.patience import Patience
    from airflow_provider_jimeng.bulk.progress import Progress
    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.ledger.records import Scope
    from airflow_provider_jimeng.lifecycle.ensured import Ensured

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 32
#: How often a run looks whether an open breaker lets one submit try, and for how long.
_BREAKER_LOOK_SECONDS, _BREAKER_PATIENCE_SECONDS = 3.0, 180.0
#: For how long a task that was proven lost is believed to be, while it waits for a slot to be paid for again.
_PROOF_HOLDS_SECONDS = 300.0


class Submits:
    """
    Submits contents as the ledger's slots allow, and says what came of each. Used by the run's own thread.

    :param post: takes what is to be done in the run's thread.
    :param watching: the tasks that the run polls, by id.
    :param go_on: takes a content that has a task.
    :param settle: takes a content that will have none, and why.
    """

    def __init__(
        self,
        tools: Tools,
        terms: Terms,
        progress: Progress,
        patience: Patience,
        *,
        post: Callable[[Callable[[], None]], None],
        watching: Mapping[str, Content],
        go_on: Callable[[Content], None],
        settle: Callable[[Content, Outcome, JimengError | str], None],
    ) -> None:
        self._tools, self._terms, self._progress, self._patience = tools, terms, progress, patience
        self._post, self._watching, self._go_on, self._settle = post, watching, go_on, settle
        #: Why nothing is submitted any more.
        self.stopped = terms.stopped
        #: Whether that was a store in trouble, which passes without anybody's doing.
        self.store_away = False
        #: Lines that failed since the store of their inputs did not answer.
        self.inputs_away = 0
        #: Contents whose input the vendor refused; asking again is in vain.
        self.refused: dict[str, JimengError] = {}
        self._windows: dict[Scope, Window] = {}
        self._hold_until = 0.0
        self._broken_since: float | None = None
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="jimeng-bulk-submit")
        #: Paid tasks that are asked about, whether anything is submitted or not.
        self.revivals = Revivals(
            tools,
            post=lambda do: self._post(do),
            answered=lambda error: patience.calm() if error is None else patience.bear(error),
            go_on=go_on,
            pay_again=self._pay_again,
            settle=settle,
        )

    @property
    def windows(self) -> Collection[Window]:
        """A window per req_key."""
        return self._windows.values()

    @property
    def pending(self) -> list[Content]:
        """What waits for its submit."""
        return [content for window in self.windows for content in window.pending]

    @property
    def pending_count(self) -> int:
        """How many contents wait for their submit."""
        return sum(len(each.pending) for each in self.windows)

    @property
    def trying(self) -> int:
        """How many submits are under way."""
        return sum(each.trying for each in self.windows)

    @property
    def full(self) -> bool:
        """Whether as many tasks are at the vendor, or on their way there, as this run may have."""
        most = self._terms.max_in_flight
        return most is not None and self._mine_at_vendor() + self.trying >= most

    def _mine_at_vendor(self) -> int:
        mine = self._terms.mine
        return sum(each.record is not None and mine.made(each.record) for each in self._watching.values())

    @property
    def limit(self) -> int | None:
        """The slots, as far as they are known."""
        limits = [each.limit for each in self.windows]
        known = self._tools.account_now.max_concurrency
        if not limits and isinstance(known, int):
            return known
        return sum(each for each in limits if each is not None) if limits and all(limits) else None

    def add(self, content: Content, *, first: bool = False) -> None:
        """Queue a content; ``first`` where it has waited before. What was given up is asked about first."""
        if may_come_back(content.record, time.time()):
            self._ask_about(content)
            return
        pending = self._window(content).pending
        if first:
            pending.appendleft(content)
        else:
            pending.append(content)

    def _ask_about(self, content: Content) -> None:
        content.given_up, content.lost = True, None
        self.revivals.add(content)

    def _pay_again(self, content: Content) -> bool:
        record, policies = content.record, content.wanted.policies
        chosen = policies.on_missing_output == RESUBMIT or is_to_be_replaced(record, content.supersede)
        if self.stopped is not None or content.stray or not chosen:
            return False
        content.lost, content.lost_at = record, time.monotonic()
        self._window(content).pending.append(content)
        return True

    def freed(self, content: Content) -> None:
        """A slot has come free: fill it."""
        self._window(content).freed()
        self.refill()

    def idle(self, now: float) -> bool:
        """Return whether nothing is under way, and nothing could be begun."""
        return not self.trying and now >= self._hold_until and self.revivals.idle(now)

    def close(self) -> None:
        """Wait for what is under way: it brings home the ids of paid tasks, within its deadline."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.revivals.close()

    def stop(self, why: str) -> None:
        """Submit nothing any more; what runs is still harvested."""
        if self.stopped is None:
            log.warning("Nothing more is submitted: %s. What runs at the vendor is still harvested.", why)
            self.stopped = why

    def stop_for_the_store(self, error: JimengError) -> None:
        """Submit nothing any more, since the outputs' store was in trouble for longer than it is borne."""
        self.store_away = self.store_away or self.stopped is None
        self.stop(f"the store of the outputs is in trouble ({error.message})")

    def _window(self, content: Content) -> Window:
        scope = content.wanted.scope
        if scope not in self._windows:
            self._windows[scope] = Window(scope, self._tools.account_now.limit_for(scope.req_key))
        return self._windows[scope]

    def refill(self) -> None:
        """Begin as many submits as may be granted, and the questions that need no leave."""
        now = time.monotonic()
        self.revivals.start(now)
        if self.stopped is not None or now < self._hold_until:
            return
        account = self._tools.account_now
        for window in self.windows:
            window.renumber(account.limit_for(window.scope.req_key))
        at_once = min(_MOST_AT_ONCE, max(2, int(20 * self._tools.settings.submit_qps)))
        for window in self.windows:
            while window.may_try() and window.trying < at_once:
                if self.full:
                    return
                content = first_due(window.pending, now)
                if content is None:
                    break
                self._pool.submit(self._submit, content, window, window.tried())

    def _submit(self, content: Content, window: Window, frees: int) -> None:
        outcome: InHand | Waiting | BaseException
        try:
            outcome = self._ensured(content)
        except BaseException as error:
            outcome = error
        self._post(lambda: self._on_submitted(content, window, frees, outcome))

    def _ensured(self, content: Content) -> Ensured:
        ensure = partial(
            self._tools.ensure,
            supersede=content.supersede,
            budget=self._terms.budget,
            watched=lambda: tuple(self._watching),
        )
        if not content.given_up:
            return ensure(content.wanted)
        # First a pass that may not pay: what somebody else has paid for by now is brought home, wherever to.
        fresh = time.monotonic() - content.lost_at <= 2 * _PROOF_HOLDS_SECONDS
        ensure = partial(ensure, lost=content.lost if fresh else None)
        try:
            return ensure(content.wanted, stopping=lambda: True)
        except JimengStoppedError:
            if self._tools.stopping():
                raise
        return ensure(look_before_paying_again(self._tools, content))

    def _on_submitted(
        self, content: Content, window: Window, frees: int, outcome: InHand | Waiting | BaseException
    ) -> None:
        window.ended()
        if isinstance(outcome, InHand):
            self._patience.calm()
            content.record, content.supersede, self._broken_since = outcome.record, None, None
            content.given_up, content.lost = False, None
            content.calm()
            self._tools.away.answered(content.wanted, "submit")
            if outcome.reused:
                window.freed()
            else:
                window.accepted()
                self._progress.accepted += 1
            self._go_on(content)
            if not outcome.reused and self._watching.get(outcome.record.task_id or "") is not content:
                # Somebody else saw its end first, and nothing will tell of a free slot.
                window.freed()
        elif isinstance(outcome, Waiting):
            self._patience.calm()
            content.calm()
            self._put_back(content, window, frees, outcome)
        elif isinstance(outcome, JimengError):
            window.freed()
            self._on_refusal(content, window, outcome)
        else:
            raise outcome

    def _put_back(self, content: Content, window: Window, frees: int, waiting: Waiting) -> None:
        now = time.monotonic()
        if waiting.reason == "given_up":
            # Somebody else's task, given up in the meantime: a question to the vendor, at its own pace.
            content.not_before = now + max(0.2, waiting.retry_after or 1.0)
            self._ask_about(content)
            window.freed()
            return
        if waiting.reason in ("in_flight", "quarantine"):
            # Somebody else's submit of the same content, or one of unknown outcome that has to age.
            content.not_before = now + max(0.2, min(waiting.retry_after or 1.0, 2.0))
            window.pending.append(content)
            window.freed()
            return
        # It came to the claim: past the breaker, and past the store of its inputs.
        self._broken_since = None
        self._tools.away.answered(content.wanted, "submit")
        content.lost = None if content.lost is None else waiting.lost
        if waiting.reason == "cooldown":
            self._progress.refused += 1
        window.pending.appendleft(content)
        window.must_wait(waiting, now, frees)

    def _on_refusal(self, content: Content, window: Window, error: JimengError) -> None:
        if (
            isinstance(error, JimengSpendLimitError)
            and error.reason == "breaker"
            and self._waits_for_repair()
        ):
            window.pending.appendleft(content)
        elif isinstance(error, JimengSpendLimitError) and error.reason != "attempts":
            self.stop(error.message)
            window.pending.appendleft(content)
        elif isinstance(error, JimengConfigurationError):
            asked = error.code is not None or error.http_status is not None
            self.stop(f"the vendor refuses this account's submits ({error})" if asked else error.message)
            window.pending.appendleft(content)
        elif isinstance(error, JimengStoppedError):
            # The run leaves at its next turn; what a later try submits has no fate yet.
            window.pending.appendleft(content)
        elif isinstance(error, (JimengNotSentError, JimengThrottledError, JimengLedgerError)):
            if isinstance(error, JimengLedgerError) and not isinstance(error, LostRace):
                self._patience.bear(error)
            self._wait_out(content, error)
            window.pending.appendleft(content)
        elif isinstance(error, JimengInputStoreError) and self._tools.away.bears(
            content.wanted, "submit", self._terms.input_patience
        ):
            # It could not be presigned, before the claim. Other inputs may be elsewhere.
            content.trouble(
                time.monotonic(),
                backoff_delay(content.troubles, base=0.5, cap=30.0, jitter=random.random()),  # noqa: S311 - jitter may be guessed
            )
            window.pending.append(content)
        elif isinstance(error, JimengLandingError) and error.retry_helps:
            # The note beside the outputs could not be read, before the claim: nothing was sent. It would be
            # the same with every other content, and to give them up for it would empty the whole manifest.
            if self._is_tired_of(content, self._terms.landing_patience):
                self.stop_for_the_store(error)
            else:
                self._wait_out(content, error)
            window.pending.appendleft(content)
        else:
            if error.code is not None:
                # A manifest may hold very many of these, and each traceback a request.
                forget_locals(error)
                self.refused[content.key] = error.with_traceback(None)
            if isinstance(error, JimengInputStoreError) and error.retry_helps:
                self.inputs_away += len(content.items)
            self._settle(content, outcome_before_submit(error, content), error)

    def _is_tired_of(self, content: Content, patience: float) -> bool:
        return bool(content.troubles) and time.monotonic() - content.trouble_since > patience

    def _waits_for_repair(self) -> bool:
        """Wait a while for a breaker that another run's refusals opened; what is at the vendor goes on."""
        now = time.monotonic()
        if self._broken_since is None:
            self._broken_since = now
            log.warning("The account's circuit breaker is open: submits wait for it to close.")
        self._hold_until = max(self._hold_until, now + _BREAKER_LOOK_SECONDS)
        return now - self._broken_since < _BREAKER_PATIENCE_SECONDS

    def _wait_out(self, content: Content, error: JimengError) -> None:
        """Leave a content, and all submits, alone for a while: nothing was sent, and nothing is lost."""
        now = time.monotonic()
        delay = backoff_delay(content.troubles, base=0.5, cap=60.0, jitter=random.random())  # noqa: S311 - jitter may be guessed
        if not content.troubles:
            log.warning("A submit has to wait: %s", error)
        content.trouble(now, delay)
        self._hold_until = max(self._hold_until, content.not_before)

    def skip_if_stopped(self) -> None:
        """Give up what waits for its submit, once nothing is submitted any more."""
        if self.stopped is None:
            return
        for window in self.windows:
            while window.pending:
                content = window.pending.popleft()
                if may_come_back(content.record, time.time()):
                    # It was paid for, and asking is free, whatever stopped the run.
                    self._ask_about(content)
                else:
                    self._settle(content, Outcome.SKIPPED, left_out(content.record, self.stopped))

    def look(self) -> None:
        """See whether it is this run's turn, where it waits for one."""
        now = time.monotonic()
        self._ask_again(now)
        for window in self.windows:
            if window.ticket is None or not window.pending or window.allowance > 0 or now < window.look_at:
                continue
            try:
                view = self._tools.ledger.slot_view(window.scope, window.configured)
            except JimengLedgerError as error:
                self._patience.bear(error)
                window.look_at = now + 1.0
                continue
            self._patience.calm()
            window.looked(view, self._watching, now)
            self.refill()

    def _ask_again(self, now: float) -> None:
        """Renew old proofs while their contents wait for a slot: the vendor may have found a task since."""
        for window in self.windows:
            for content in tuple(window.pending):
                old = content.lost is not None and now - content.lost_at > _PROOF_HOLDS_SECONDS
                # An answer would hide for how long its store has been in trouble: its next try asks itself.
                if old and not content.troubles:
                    window.pending.remove(content)
                    self._ask_about(content)
