# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A bulk run: a small sliding window over a manifest.

One thread owns all of the run's state and does nothing that may take long. Reading ahead, submits, questions
and landings run in threads of their own and tell it what came of them; a verdict is written to the ledger
before anything else, and its slot is refilled in the same turn of the loop.

All progress is in the ledger: what this object remembers may be lost at any moment, at the cost of time.
"""

from __future__ import annotations

import logging
import queue
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.content import Content, fate_of, outcome_of
from airflow_provider_jimeng.bulk.items import Fate, Item, Outcome
from airflow_provider_jimeng.bulk.landing_pool import LandingResult, land
from airflow_provider_jimeng.bulk.pace import Pace
from airflow_provider_jimeng.bulk.poller import Poller, Seen
from airflow_provider_jimeng.bulk.progress import Progress
from airflow_provider_jimeng.bulk.scout import Scout, Settled
from airflow_provider_jimeng.bulk.window import Window
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengError,
    JimengLandingError,
    JimengLedgerError,
    JimengMissingOutputError,
    JimengNotSentError,
    JimengSpendLimitError,
    JimengThrottledError,
)
from airflow_provider_jimeng.ledger.records import LostRace, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.harvest import Watched, record_verdict
from airflow_provider_jimeng.lifecycle.submit import InHand, Waiting
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT
from airflow_provider_jimeng.policy.backoff import backoff_delay
from airflow_provider_jimeng.policy.poll import PollKind

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import BadLine
    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.ledger.records import Scope

log = logging.getLogger(__name__)

_MOST_SUBMITS_AT_ONCE = 32
#: Contents in memory at once, as a multiple of what is read ahead; most of them wait for a store in trouble.
_IN_MEMORY = 5
_TICK_SECONDS = 0.25
#: The vendor's URLs live an hour.
_URL_SECONDS = 2700.0
_PAID = frozenset({TaskState.SUCCEEDED, TaskState.LANDED})


@dataclass(frozen=True, slots=True)
class Parked:
    """
    What a leg leaves to wait for.

    :param open: tasks at the vendor.
    :param scope: whose slots a claim waits for, with ``content_key`` and ``ticket``, if one does.
    :param wait: seconds until asking again makes sense where nobody wakes the run.
    :param shared: others hold slots of the same account, which may come free without any task of this run's
        ending.
    :param after_line: lines up to this one are done with.
    """

    open: tuple[TaskRecord, ...]
    scope: Scope | None
    content_key: str | None
    ticket: int | None
    wait: float | None
    shared: bool
    after_line: int


class Run:
    """
    Brings every line of a manifest to a fate, or a leg of that.

    :param lines: of the manifest, in order; good and bad ones.
    :param total: how many there are.
    :param done: how many were done with before these.
    """

    def __init__(
        self, tools: Tools, terms: Terms, lines: Iterator[Item | BadLine], total: int, done: int = 0
    ) -> None:
        self._tools, self._terms = tools, terms
        self.progress = Progress(total, tools.gauge)
        #: Why nothing is submitted any more.
        self.stopped: str | None = None
        #: Lines whose paid result could not be stored yet.
        self.unlanded = 0
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._contents: dict[str, Content] = {}
        self._windows: dict[Scope, Window] = {}
        self._paces: dict[str, Pace] = {}
        self._watching: dict[str, Content] = {}
        self._to_land: deque[Content] = deque()
        self._landing = 0
        self._refused: dict[str, JimengError] = {}
        # Contents this run paid for whose first line has its fate: a part of the key, for memory's sake.
        self._told: set[int] = set()
        self._hold_until = 0.0
        self._ledger_trouble: float | None = None
        self._last_line = self.progress.before = done
        self._submits = ThreadPoolExecutor(_MOST_SUBMITS_AT_ONCE, thread_name_prefix="jimeng-bulk-submit")
        self._landers = ThreadPoolExecutor(terms.landers, thread_name_prefix="jimeng-bulk-land")
        self._poller = Poller(tools.query_client, lambda seen: self._events.put(lambda: self._on_seen(seen)))
        self._scout = Scout(
            tools, terms, lines, stopped=lambda: self.stopped, wake=lambda: self._events.put(_nothing)
        )

    # -- the loop ----------------------------------------------------------------------------------------

    def run(self, *, leg: bool = False) -> Parked | None:
        """
        Work until every line has its fate.

        :param leg: return what to wait for as soon as there is nothing to do but to wait.
        :raises JimengLedgerError: the ledger was silent for longer than the run's patience.
        :raises JimengInputError: the manifest can't be read any further.
        """
        try:
            while True:
                self._check_deadline()
                self._refill()
                self._take()
                self._skip_if_stopped()
                self._refill()
                self._look()
                self._start_landings()
                self._tell()
                if self._scout.over and not self._contents:
                    self._tell(final=True)
                    return None
                if leg and self._is_idle():
                    return self._park()
                self._await_event()
        finally:
            self._close()

    def _close(self) -> None:
        self._scout.close()
        self._poller.close()
        self._landers.shutdown(wait=False, cancel_futures=True)
        # A submit under way brings home the id of a paid task, and is bounded by its deadline.
        self._submits.shutdown(wait=True, cancel_futures=True)
        self._landers.shutdown(wait=True)

    def _await_event(self) -> None:
        try:
            event = self._events.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            return
        event()

    def _tell(self, *, final: bool = False) -> None:
        limits = [each.limit for each in self._windows.values()]
        known = sum(each for each in limits if each is not None) if all(limits) else None
        self.progress.tell(open_tasks=self._open, limit=known, final=final)

    @property
    def _open(self) -> int:
        return len(self._watching) + sum(each.trying for each in self._windows.values())

    def _check_deadline(self) -> None:
        if self._terms.deadline is not None and time.time() >= self._terms.deadline:
            self._stop("the run's timeout passed")

    def _stop(self, why: str) -> None:
        if self.stopped is None:
            log.warning("Nothing more is submitted: %s. What runs at the vendor is still harvested.", why)
            self.stopped = why

    # -- reading -----------------------------------------------------------------------------------------

    def _take(self) -> None:
        ahead = self._terms.ahead
        while (
            sum(len(each.pending) for each in self._windows.values()) < ahead
            and len(self._contents) < _IN_MEMORY * ahead
            and (found := self._scout.take()) is not None
        ):
            if isinstance(found, Settled):
                self._last_line = found.line.line
                self._settle_line(found.fate, found.line, found.own)
                continue
            self._last_line = found.content.items[0].line
            self._add(found.content, needs_submit=found.needs_submit)

    def _add(self, content: Content, *, needs_submit: bool) -> None:
        if (error := self._refused.get(content.key)) is not None:
            self._settle(content, outcome_of(error), error)
        elif (known := self._contents.get(content.key)) is not None:
            known.items.extend(content.items)
        elif needs_submit:
            self._contents[content.key] = content
            self._window(content).pending.append(content)
        else:
            self._contents[content.key] = content
            self._go_on(content)

    def _window(self, content: Content) -> Window:
        scope = content.wanted.scope
        if scope not in self._windows:
            self._windows[scope] = Window(scope, self._tools.settings.limit_for(scope.req_key))
        return self._windows[scope]

    def _pace(self, content: Content) -> Pace:
        scope = content.wanted.scope
        if scope.req_key not in self._paces:
            expected = self._tools.ledger.typical_seconds(scope)
            qps = self._tools.settings.query_qps
            self._paces[scope.req_key] = Pace(expected, qps, self._terms.poll_interval)
        return self._paces[scope.req_key]

    # -- submits -----------------------------------------------------------------------------------------

    def _refill(self) -> None:
        now = time.monotonic()
        if self.stopped is not None or now < self._hold_until:
            return
        qps = self._tools.settings.submit_qps
        at_once = min(_MOST_SUBMITS_AT_ONCE, max(2, int(20 * qps)))
        most = self._terms.max_in_flight
        for window in self._windows.values():
            while (window.may_try() and window.trying < at_once and (most is None or self._open < most)) and (
                content := _first_due(window.pending, now)
            ) is not None:
                self._submits.submit(self._submit, content, window, window.tried())

    def _submit(self, content: Content, window: Window, frees: int) -> None:
        outcome: InHand | Waiting | BaseException
        try:
            outcome = self._tools.ensure(
                content.wanted,
                supersede=content.supersede,
                budget=self._terms.budget,
                watched=lambda: tuple(self._watching),
            )
        except BaseException as error:
            outcome = error
        self._events.put(lambda: self._on_submitted(content, window, frees, outcome))

    def _on_submitted(
        self, content: Content, window: Window, frees: int, outcome: InHand | Waiting | BaseException
    ) -> None:
        window.ended()
        if isinstance(outcome, InHand):
            self._ledger_trouble = None
            content.record, content.supersede = outcome.record, None
            content.calm()
            if outcome.reused:
                window.freed()
            else:
                window.accepted()
                self.progress.accepted += 1
            self._go_on(content)
        elif isinstance(outcome, Waiting):
            self._ledger_trouble = None
            self._put_back(content, window, frees, outcome)
        elif isinstance(outcome, JimengError):
            window.freed()
            self._on_refusal(content, window, outcome)
        else:
            raise outcome

    def _put_back(self, content: Content, window: Window, frees: int, waiting: Waiting) -> None:
        now = time.monotonic()
        if waiting.reason in ("in_flight", "quarantine"):
            # Somebody else's submit of the same content, or one of unknown outcome that has to age.
            content.not_before = now + max(0.2, min(waiting.retry_after or 1.0, 2.0))
            window.pending.append(content)
            window.freed()
            return
        if waiting.reason == "cooldown":
            self.progress.refused += 1
        window.pending.appendleft(content)
        window.must_wait(waiting, now, frees)

    def _on_refusal(self, content: Content, window: Window, error: JimengError) -> None:
        if isinstance(error, JimengSpendLimitError) and error.reason != "attempts":
            self._stop(error.message)
            window.pending.appendleft(content)
        elif isinstance(error, JimengConfigurationError):
            self._stop(f"the vendor refuses this account's submits ({error})")
            window.pending.appendleft(content)
        elif isinstance(error, (JimengNotSentError, JimengThrottledError, JimengLedgerError)):
            if isinstance(error, JimengLedgerError) and not isinstance(error, LostRace):
                self._bear(error)
            self._wait_out(content, error)
            window.pending.appendleft(content)
        else:
            if error.code is not None:
                self._refused[content.key] = error
            self._settle(content, outcome_of(error), error)

    def _wait_out(self, content: Content, error: JimengError) -> None:
        """Leave a content, and all submits, alone for a while: nothing was sent, and nothing is lost."""
        now = time.monotonic()
        delay = backoff_delay(content.troubles, base=0.5, cap=60.0, jitter=random.random())
        if not content.troubles:
            log.warning("A submit has to wait: %s", error)
        content.trouble(now, delay)
        self._hold_until = max(self._hold_until, content.not_before)

    def _bear(self, error: JimengLedgerError) -> None:
        """
        Wait for a silent ledger, but not for ever.

        :raises JimengLedgerError: for too long.
        """
        now = time.monotonic()
        self._ledger_trouble = now if self._ledger_trouble is None else self._ledger_trouble
        if now - self._ledger_trouble > self._terms.ledger_patience:
            raise error

    def _skip_if_stopped(self) -> None:
        if self.stopped is None:
            return
        for window in self._windows.values():
            while window.pending:
                self._settle(window.pending.popleft(), Outcome.SKIPPED, self.stopped)

    def _look(self) -> None:
        """See whether it is this run's turn, where it waits for one."""
        now = time.monotonic()
        for window in self._windows.values():
            if window.ticket is None or not window.pending or window.allowance > 0 or now < window.look_at:
                continue
            try:
                view = self._tools.ledger.slot_view(window.scope, window.configured)
            except JimengLedgerError as error:
                self._bear(error)
                window.look_at = now + 1.0
                continue
            self._ledger_trouble = None
            window.looked(view, self._watching.keys(), now)
            self._refill()

    # -- verdicts ----------------------------------------------------------------------------------------

    def _go_on(self, content: Content) -> None:
        """Do what comes next for a content that has a row."""
        record = content.record
        if record is None:
            self._window(content).pending.append(content)
        elif record.state is TaskState.SUBMITTED and record.task_id is not None:
            self._watch(content, record, record.task_id)
        elif record.state in _PAID and content.supersede is None:
            self._to_land.append(content)
        else:
            # A verdict that allows a new attempt, or one to tell of: the next look at the ledger decides.
            self._window(content).pending.appendleft(content)

    def _watch(self, content: Content, record: TaskRecord, task_id: str) -> None:
        if task_id not in self._watching:
            try:
                age = max(0.0, self._tools.ledger.now() - (record.submitted_at or record.created_at))
                pace = self._pace(content)
            except JimengLedgerError:
                age, pace = 0.0, Pace()
            self._watching[task_id] = content
            self._poller.watch(Watched(task_id, record.scope.req_key, record.submitted_at), pace, age)

    def _on_seen(self, seen: Seen) -> None:
        content = self._watching[seen.task_id]
        record = content.record
        if record is None:
            raise JimengLedgerError("a task without a row was watched", task_id=seen.task_id)
        try:
            content.record = record_verdict(self._tools.ledger, record, seen.decision, state=seen.state)
        except LostRace:
            # Somebody else wrote its end: a claim that settles holders, or another run of the same content.
            content.record = self._tools.ledger.get(record.id)
        except JimengLedgerError as error:
            self._bear(error)
            log.warning("The end of task %s is not in the ledger yet: %s", seen.task_id, error)
            time.sleep(_TICK_SECONDS)
            self._events.put(lambda: self._on_seen(seen))
            return
        self._ledger_trouble = None
        del self._watching[seen.task_id]
        window = self._window(content)
        window.freed()
        self._refill()
        if seen.decision.kind is PollKind.SUCCEEDED:
            content.url, content.url_until = seen.decision.video_url, time.monotonic() + _URL_SECONDS
            if seen.took is not None:
                self._pace(content).learn(seen.took)
        elif seen.decision.message:
            log.warning("Task %s: %s", seen.task_id, seen.decision.message)
        self._go_on(content)

    # -- landings ----------------------------------------------------------------------------------------

    def _start_landings(self) -> None:
        now = time.monotonic()
        while self._landing < self._terms.landers and (content := _first_due(self._to_land, now)) is not None:
            self._landing += 1
            url = content.url if now < content.url_until and not content.troubles else None
            self._landers.submit(self._land, content, tuple(content.items), url)

    def _land(self, content: Content, items: tuple[Item, ...], url: str | None) -> None:
        outcome: LandingResult | BaseException
        try:
            outcome = land(self._tools, content, items, url)
        except BaseException as error:
            outcome = error
        self._events.put(lambda: self._on_landed(content, outcome))

    def _on_landed(self, content: Content, outcome: LandingResult | BaseException) -> None:
        self._landing -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        content.record = record = outcome.record
        for item, landed in outcome.landed:
            own = record is not None and self._terms.mine.made(record)
            kind = Outcome.LANDED if own else Outcome.REUSED
            fate = fate_of(item, kind, key=content.key, record=record, landed=landed)
            self._settle_line(fate, item, content.key if own else None)
            content.items.remove(item)
        for item, error in outcome.failed:
            fate = fate_of(item, Outcome.FAILED, key=content.key, record=record, error=error)
            self._settle_line(fate, item, None)
            content.items.remove(item)
        if not content.items:
            del self._contents[content.key]
        elif outcome.trouble is not None:
            self._on_landing_trouble(content, outcome.trouble)
        else:
            content.calm()
            self._to_land.append(content)

    def _on_landing_trouble(self, content: Content, error: JimengError) -> None:
        now = time.monotonic()
        if isinstance(error, JimengMissingOutputError):
            if content.wanted.policies.on_missing_output == RESUBMIT:
                content.supersede = content.record
                content.calm()
                self._window(content).pending.appendleft(content)
            else:
                self._settle(content, outcome_of(error), error)
        elif isinstance(error, JimengLandingError) and not error.retry_helps:
            self._settle(content, outcome_of(error), error)
        elif content.troubles and now - content.trouble_since > self._terms.landing_patience:
            self.unlanded += len(content.items)
            self._settle(content, Outcome.SKIPPED, f"paid for, but not stored yet: {error.message}")
        else:
            if not content.troubles:
                log.warning("A landing is tried again: %s", error)
            content.trouble(now, backoff_delay(content.troubles, base=1.0, cap=60.0, jitter=random.random()))
            self._to_land.append(content)

    # -- fates -------------------------------------------------------------------------------------------

    def _settle(self, content: Content, outcome: Outcome, error: JimengError | str) -> None:
        """Give all lines of a content their fate."""
        record = content.record
        try:
            record = self._tools.ledger.latest(content.key)
        except JimengLedgerError as trouble:
            log.warning("The report lacks what the ledger knows of content %s: %s", content.key, trouble)
        self._contents.pop(content.key, None)
        for item in content.items:
            fate = fate_of(item, outcome, key=content.key, record=record, error=error)
            self._settle_line(fate, item, None)

    def _settle_line(self, fate: Fate, line: Item | BadLine, own: str | None) -> None:
        if own is not None and fate.outcome is Outcome.LANDED:
            short = int(own.rpartition("-")[2][-15:], 16)
            if short in self._told:
                fate = _as_reused(fate)
            self._told.add(short)
        self.progress.settled(fate.outcome)
        self._tools.report(fate, line)

    # -- legs --------------------------------------------------------------------------------------------

    def _is_idle(self) -> bool:
        if self._landing or any(each.trying for each in self._windows.values()) or not self._events.empty():
            return False
        now = time.monotonic()
        if now < self._hold_until or any(each.not_before <= now for each in self._to_land):
            return False
        if self._to_land and not self._watching:
            return False
        most = self._terms.max_in_flight
        full = most is not None and self._open >= most
        waiting = any(each.pending and each.allowance <= 0 for each in self._windows.values())
        return full or waiting or self._scout.over

    def _park(self) -> Parked:
        found = {each.record.id: each.record for each in self._watching.values() if each.record is not None}
        shared = False
        for window in self._windows.values():
            # Also those whose lines the reading has not come to again.
            view = self._tools.ledger.slot_view(window.scope, window.configured)
            for each in view.holders:
                if each.state is TaskState.SUBMITTED and self._terms.mine.made(each):
                    found[each.id] = each
                shared = shared or each.id not in found
        now = time.monotonic()
        pending = [content for window in self._windows.values() for content in window.pending]
        waits = [max(0.0, each.not_before - now) for each in pending]
        stuck = next((each for each in self._windows.values() if each.pending), None)
        lines = [item.line for content in self._contents.values() for item in content.items]
        return Parked(
            open=tuple(found.values()),
            scope=None if stuck is None else stuck.scope,
            content_key=None if stuck is None else stuck.pending[0].key,
            ticket=None if stuck is None else stuck.ticket,
            wait=min(waits, default=None),
            shared=shared and bool(pending),
            after_line=min(lines, default=self._last_line + 1) - 1,
        )


def _nothing() -> None:
    """Wake the loop."""


def _first_due(waiting: deque[Content], now: float) -> Content | None:
    """Take the first content out of a queue that may go on now."""
    for at, content in enumerate(waiting):
        if content.not_before <= now:
            del waiting[at]
            return content
    return None


def _as_reused(fate: Fate) -> Fate:
    return replace(fate, outcome=Outcome.REUSED)
