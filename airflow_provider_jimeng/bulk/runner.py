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
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.content import Content, fate_of, outcome_of, two_of_one_id
from airflow_provider_jimeng.bulk.items import Fate, Item, Outcome
from airflow_provider_jimeng.bulk.landing_pool import Landings
from airflow_provider_jimeng.bulk.linger import Linger
from airflow_provider_jimeng.bulk.pace import GIVE_OR_TAKE, Pace
from airflow_provider_jimeng.bulk.parking import Parked, park
from airflow_provider_jimeng.bulk.patience import Patience
from airflow_provider_jimeng.bulk.poller import Poller, Seen
from airflow_provider_jimeng.bulk.progress import Progress
from airflow_provider_jimeng.bulk.scout import Scout, Settled
from airflow_provider_jimeng.bulk.strays import Strays
from airflow_provider_jimeng.bulk.submits import Submits
from airflow_provider_jimeng.exceptions import JimengError, JimengLedgerError
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.harvest import Watched, record_verdict
from airflow_provider_jimeng.lifecycle.outcomes import run_stopped_error
from airflow_provider_jimeng.policy.poll import PollKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_jimeng.bulk.items import BadLine
    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.ledger.records import TaskRecord

log = logging.getLogger(__name__)

#: Contents in memory at once beside those at the vendor, as a multiple of what is read ahead. Most of them
#: wait for a store in trouble, or are lines of one product that were read on the way to another's: where more
#: than this of one product follow each other, the next one's slots wait until the reading has come there.
_IN_MEMORY = 5
#: And what was given up: it waits for answers, which takes minutes, and for no slot.
_ASKED_ABOUT = 2000
_TICK_SECONDS = 0.25
#: The vendor's URLs live an hour.
_URL_SECONDS = 2700.0
_PAID = frozenset({TaskState.SUCCEEDED, TaskState.LANDED})


class Run:
    """
    Brings every line of a manifest to a fate, or a leg of that.

    :param lines: of the manifest, in order; good and bad ones.
    :param total: how many there are.
    :param done: how many were done with before these.
    :param whole: whether these are all lines: what the run paid for beyond them is brought home as well.
    """

    def __init__(
        self,
        tools: Tools,
        terms: Terms,
        lines: Iterator[Item | BadLine],
        total: int,
        done: int = 0,
        *,
        whole: bool = False,
    ) -> None:
        self._tools, self._terms = tools, terms
        self.progress = Progress(total, tools.gauge)
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._contents: dict[str, Content] = {}
        self._paces: dict[str, Pace] = {}
        self._watching: dict[str, Content] = {}
        self._linger = Linger(terms.blind)
        # Contents this run paid for whose first line has its fate: a part of the key, for memory's sake.
        self._told: set[int] = set()
        self._last_line = self.progress.before = done
        self._patience = Patience(terms.ledger_patience)
        self.strays = Strays(tools, terms)
        self._may_stray = whole
        self._submits = Submits(
            tools,
            terms,
            self.progress,
            self._patience,
            post=self._events.put,
            watching=self._watching,
            go_on=self._go_on,
            settle=self._settle,
        )
        self._landings = Landings(
            tools,
            terms,
            post=self._events.put,
            tell=self._settle_line,
            done=self._forget,
            again=lambda content: self._submits.add(content, first=True),
            settle=self._settle,
        )
        self._poller = Poller(tools.query_client, lambda seen: self._events.put(lambda: self._on_seen(seen)))
        self._scout = Scout(
            tools,
            terms,
            lines,
            stopped=lambda: self._submits.stopped,
            wake=lambda: self._events.put(_nothing),
        )

    # -- the loop ----------------------------------------------------------------------------------------

    def run(self, *, leg: bool = False) -> Parked | None:
        """
        Work until every line has its fate.

        :param leg: return what to wait for as soon as there is nothing to do but to wait.
        :raises JimengLedgerError: the ledger was silent for longer than the run's patience.
        :raises JimengInputError: the manifest can't be read any further.
        :raises JimengStoppedError: the run was told to stop.
        """
        if leg:
            self.progress.of_a_leg(self._terms.since)
        try:
            while True:
                self._check()
                self._take()
                self._submits.skip_if_stopped()
                self._submits.refill()
                self._submits.look()
                self._landings.start()
                self._tell()
                if self._scout.over and not self._contents and not self._take_strays():
                    self._tell(final=True)
                    return None
                # Without a content at work the ledger was silent when it was asked for strays: ask it again.
                if leg and self._contents and self._is_idle():
                    self._tell(final=True)
                    return self._park()
                self._await_event()
        finally:
            self._close()

    def _close(self) -> None:
        self._scout.close()
        self._poller.close()
        self._submits.close()
        self._landings.close()

    def _await_event(self) -> None:
        try:
            event = self._events.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            return
        event()

    def _tell(self, *, final: bool = False) -> None:
        self.progress.tell(open_tasks=len(self._watching), limit=self._submits.limit, final=final)

    @property
    def stopped(self) -> str | None:
        """Why submits stopped early, ``None`` where they did not."""
        return self._submits.stopped

    @property
    def store_away(self) -> bool:
        """Whether that was the outputs' store, which comes back without anybody's doing."""
        return self._submits.store_away

    @property
    def unlanded(self) -> int:
        """Lines whose paid result could not be stored yet."""
        return self._landings.unlanded

    @property
    def inputs_away(self) -> int:
        """Lines that failed since the store of their inputs did not answer."""
        return len(self._scout.inputs_away) + self._submits.inputs_away

    @property
    def strays_unlanded(self) -> int:
        """Of these, tasks that no line asks for any more."""
        return self._landings.strays_unlanded

    def _check(self) -> None:
        if self._tools.stopping():
            raise run_stopped_error(len(self._watching))
        if self._terms.deadline is not None and time.time() >= self._terms.deadline:
            self._submits.stop("the run's timeout passed")

    # -- reading -----------------------------------------------------------------------------------------

    def _reads_on(self) -> bool:
        """Return whether more lines are wanted: some product's window has not enough of them yet."""
        ahead, windows = self._terms.ahead, self._submits.windows
        # What is at the vendor is bounded by its slots; to count it too left slots beyond 500 empty.
        asked = min(len(self._submits.revivals.waiting), _ASKED_ABOUT)
        if len(self._contents) - len(self._watching) - asked >= _IN_MEMORY * ahead:
            return False
        now = time.monotonic()
        full = sum(each.has_enough(ahead, now) for each in windows)
        return full < max(self._terms.products, len(windows), 1)

    def _take(self) -> None:
        while self._reads_on() and (found := self._scout.take()) is not None:
            if isinstance(found, Settled):
                self._last_line = max(self._last_line, found.line.line)
                if found.store_away is not None:
                    self._submits.stop_for_the_store(found.store_away)
                self._settle_line(found.fate, found.line, found.own, just_now=False)
                continue
            self._last_line = max(self._last_line, found.content.items[0].line)
            self._add(found.content, needs_submit=found.needs_submit)

    def _add(self, content: Content, *, needs_submit: bool) -> None:
        if (error := self._submits.refused.get(content.key)) is not None:
            self._settle(content, outcome_of(error), error)
        elif (known := self._contents.get(content.key)) is not None:
            known.items.extend(content.items)
        elif needs_submit:
            self._contents[content.key] = content
            self._submits.add(content)
        else:
            self._contents[content.key] = content
            self._go_on(content)

    def _take_strays(self) -> bool:
        """Go on with what was paid for and no line asks for; return whether there is, or may be, any."""
        try:
            found = self.strays.find() if self._may_stray else []
        except JimengLedgerError as error:
            self._patience.bear(error)
            return True
        for content in found:
            self._contents[content.key] = content
            self._go_on(content)
        return bool(found)

    def _pace(self, content: Content) -> Pace:
        scope = content.wanted.scope
        if scope.req_key not in self._paces:
            expected = self._tools.ledger.typical_seconds(scope)
            qps = self._tools.settings.query_qps
            self._paces[scope.req_key] = Pace(expected, qps, self._terms.poll_interval)
        return self._paces[scope.req_key]

    # -- verdicts ----------------------------------------------------------------------------------------

    def _go_on(self, content: Content) -> None:
        """Do what comes next for a content that has a row."""
        record = content.record
        if record is None:
            self._submits.add(content)
        elif content.doubtful or (content.stray and record.state is TaskState.EXPIRED):
            self._submits.revivals.add(content)
        elif record.state is TaskState.SUBMITTED and record.task_id is not None:
            self._watch(content, record, record.task_id)
        elif record.state in _PAID and content.supersede is None:
            if content.url is None and (url := self._terms.harvested.get(record.task_id or "")) is not None:
                content.url, content.url_until = url, time.monotonic() + _URL_SECONDS
            self._landings.add(content)
        elif content.stray:
            # Nobody asks for it any more, so no verdict leads to another attempt.
            self._settle(content, Outcome.FAILED, record.message or f"it is {record.state}")
        else:
            # A verdict that allows a new attempt, or one to tell of: the next look at the ledger decides.
            self._submits.add(content, first=True)

    def _watch(self, content: Content, record: TaskRecord, task_id: str) -> None:
        if (known := self._watching.get(task_id)) is not None:
            if known is not content:
                self._settle(content, Outcome.UNKNOWN, two_of_one_id(task_id, known))
            return
        try:
            age = max(0.0, self._tools.ledger.now() - (record.submitted_at or record.created_at))
            pace = self._pace(content)
        except JimengLedgerError:
            age, pace = 0.0, Pace()
        self._watching[task_id] = content
        typical = pace.typical
        due_at = None if typical is None else time.monotonic() + typical - age
        self._linger.watching(task_id, due_at, GIVE_OR_TAKE * (typical or 0.0))
        watched = Watched(task_id, record.scope.req_key, record.submitted_at)
        self._poller.watch(watched, pace, age, asked=task_id in self._terms.harvested)

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
            self._patience.bear(error)
            log.warning("The end of task %s is not in the ledger yet: %s", seen.task_id, error)
            time.sleep(_TICK_SECONDS)
            self._events.put(lambda: self._on_seen(seen))
            return
        self._patience.calm()
        del self._watching[seen.task_id]
        self._linger.ended(seen.task_id)
        self._submits.freed(content)
        if seen.decision.kind is PollKind.SUCCEEDED:
            content.url, content.url_until = seen.decision.video_url, time.monotonic() + _URL_SECONDS
            if seen.took is not None:
                self._pace(content).learn(seen.took)
            elif seen.age is not None:
                self._pace(content).learn_of_early(seen.age)
        elif seen.decision.message:
            log.warning("Task %s: %s", seen.task_id, seen.decision.message)
        self._go_on(content)

    # -- fates -------------------------------------------------------------------------------------------

    def _settle(self, content: Content, outcome: Outcome, error: JimengError | str) -> None:
        """Give all lines of a content their fate."""
        record = content.record
        try:
            record = self._tools.ledger.latest(content.key)
        except JimengLedgerError as trouble:
            log.warning("The report lacks what the ledger knows of content %s: %s", content.key, trouble)
        self._contents.pop(content.key, None)
        if content.stray:
            self.strays.ended(content, error)
        for item in content.items:
            fate = fate_of(item, outcome, key=content.key, record=record, error=error)
            self._settle_line(fate, item, None)

    def _forget(self, content: Content) -> None:
        del self._contents[content.key]
        if content.stray:
            self.strays.landed(content)

    def _settle_line(
        self, fate: Fate, line: Item | BadLine, own: str | None, *, just_now: bool = True
    ) -> None:
        if own is not None and fate.outcome is Outcome.LANDED:
            short = int(own.rpartition("-")[2][-15:], 16)
            if short in self._told:
                fate = replace(fate, outcome=Outcome.REUSED)
            self._told.add(short)
        if fate.content_key is not None and fate.uri is None:
            self.strays.asked_for(fate.content_key)
        self.progress.settled(fate.outcome, just_now=just_now)
        self._tools.report(fate, line)

    # -- legs --------------------------------------------------------------------------------------------

    def _is_idle(self) -> bool:
        now = time.monotonic()
        if not (self._submits.idle(now) and self._landings.idle(now) and self._events.empty()):
            self._linger.busy()
            return False
        if self._landings.waiting and not self._watching:
            return False
        if any(each.doubtful and each.pending for each in self._submits.windows):
            return False
        if self._terms.products > 1 and not self._scout.over and self._reads_on():
            # What waits for one product's slots says nothing of another's, whose lines may come next.
            return False
        full = self._submits.full
        if not full and any(each.has_trouble() for each in self._submits.windows):
            # How long it has lasted is known to this leg only, and that is what ends it.
            return False
        waiting = any(each.pending and each.allowance <= 0 for each in self._submits.windows)
        if not (full or waiting or self._scout.over):
            return False
        return not (self._submits.pending_count and self._linger.stays(now))

    def _park(self) -> Parked:
        return park(
            self._tools,
            self._terms,
            self._submits.windows,
            [each.record for each in self._watching.values() if each.record is not None],
            self._submits.revivals.waiting,
            after_line=min(self._lines_at_work(), default=self._last_line + 1) - 1,
        )

    def _lines_at_work(self) -> Iterator[int]:
        yield from self._scout.passed
        yield from (item.line for content in self._contents.values() for item in content.items)


def _nothing() -> None:
    """Wake the loop."""
