# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The reading ahead: what stands for the manifest's lines, looked up many at a time and checked in parallel.

It runs in threads of its own, so that neither a slow store nor a slow input ever holds up a slot. Where the
store or the ledger can't be asked, it waits: a line that was not looked at is never paid for. What waits for
the store of its inputs is set aside, since those of the lines behind it may be elsewhere.
"""

from __future__ import annotations

import itertools
import logging
import queue
import random
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.content import (
    Content,
    fate_of,
    fate_of_bad_line,
    left_out,
    outcome_before_submit,
    outcome_of,
)
from airflow_provider_jimeng.bulk.items import BadLine, Fate, Item, Outcome
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengInputError,
    JimengInputStoreError,
    JimengLandingError,
    JimengLedgerError,
    JimengOutputExistsError,
    JimengStoppedError,
    JimengUnreadableInputError,
)
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.decide import Decision, Step, decide
from airflow_provider_jimeng.lifecycle.land import Landed
from airflow_provider_jimeng.lifecycle.revive import may_come_back
from airflow_provider_jimeng.lifecycle.wanted import REUSE, Wanted
from airflow_provider_jimeng.policy.backoff import backoff_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord

log = logging.getLogger(__name__)

_AT_ONCE = 200
#: Lines that are looked at at once; those that only wait are not counted.
_THREADS = 8
#: Lines that may wait for the stores of their inputs, before those behind them wait too.
_ASIDE = 24
_TICK_SECONDS = 0.05
_UNPAID = frozenset({TaskState.REJECTED, TaskState.RELEASED})
_PAID = frozenset({TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.LANDED})


@dataclass(frozen=True, slots=True)
class Settled:
    """
    A line about which nothing is left to do.

    :param own: key of the content that this run paid for, for the first line that wants it.
    :param store_away: why the line could not be looked at for as long as that is borne: nothing more is to be
        submitted.
    """

    fate: Fate
    line: Item | BadLine
    own: str | None = None
    store_away: JimengError | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A line about which there is something to do. ``needs_submit`` is whether that may cost money."""

    content: Content
    needs_submit: bool


Found = Settled | Work


class Scout:
    """
    Reads lines ahead of the run.

    :param lines: of the manifest, in order.
    :param stopped: returns why nothing is submitted any more, ``None`` while something is.
    :param wake: called when there is something new to take.
    """

    def __init__(
        self,
        tools: Tools,
        terms: Terms,
        lines: Iterator[Item | BadLine],
        *,
        stopped: Callable[[], str | None],
        wake: Callable[[], None],
    ) -> None:
        self._tools, self._terms, self._lines = tools, terms, lines
        self._stopped, self._wake = stopped, wake
        self._found: queue.Queue[Found | BaseException | None] = queue.Queue(maxsize=max(terms.ahead, 1))
        self._closed = threading.Event()
        self._store_away: JimengError | None = None
        #: Lines that failed since the store of their inputs did not answer.
        self.inputs_away: list[int] = []
        self._over = False
        # Lines that wait for it now; those of them that were passed, until they are taken.
        self._waiting: set[int] = set()
        self._aside: dict[int, Future[Found]] = {}
        self._passed: set[int] = set()
        self._lock = threading.Lock()
        self._seats = threading.Semaphore(_THREADS)
        self._pool = ThreadPoolExecutor(_THREADS + _ASIDE, thread_name_prefix="jimeng-bulk-scout")
        self._thread = threading.Thread(target=self._read, name="jimeng-bulk-reader", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether every line was taken."""
        return self._over

    def take(self) -> Found | None:
        """Return what was found about the next line, ``None`` while there is nothing new."""
        try:
            found = self._found.get_nowait()
        except queue.Empty:
            return None
        if found is None:
            self._over = True
            return None
        if isinstance(found, BaseException):
            raise found
        with self._lock:
            self._passed.discard(_line_of(found))
        return found

    @property
    def passed(self) -> list[int]:
        """Lines that were set aside while later ones were taken, and that were not taken yet."""
        with self._lock:
            return list(self._passed)

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        while self._thread.is_alive():
            while not self._found.empty():
                self._found.get_nowait()
            self._thread.join(0.05)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _put(self, found: Found | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                self._found.put(found, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return

    def _read(self) -> None:
        try:
            # A leg that soon ends looks at no more than it may submit.
            at_once = min(_AT_ONCE, max(self._terms.ahead, 1))
            while not self._closed.is_set() and (some := list(itertools.islice(self._lines, at_once))):
                for line, looking in self._look_up(some):
                    if self._closed.is_set():
                        return
                    if self._is_there(line, looking):
                        self._put(looking.result())
                    self._put_those_aside()
            while self._aside and not self._closed.is_set():
                wait(self._aside.values(), timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
                self._put_those_aside()
            self._put(None)
        except BaseException as error:
            # Raised again in the run's own thread.
            self._put(error)

    def _is_there(self, line: int, looking: Future[Found]) -> bool:
        """Wait for what is found about a line, unless it is set aside."""
        while not wait((looking,), timeout=_TICK_SECONDS).done:
            if self._closed.is_set():
                return False
            if line in self._waiting and len(self._aside) < _ASIDE:
                with self._lock:
                    self._passed.add(line)
                self._aside[line] = looking
                return False
            self._put_those_aside()
        return True

    def _put_those_aside(self) -> None:
        """Go on with the lines that have waited for long enough."""
        for line in [line for line, looking in self._aside.items() if looking.done()]:
            self._put(self._aside.pop(line).result())

    def _look_up(self, lines: list[Item | BadLine]) -> list[tuple[int, Future[Found]]]:
        wanted: dict[int, Wanted] = {}
        known: dict[int, Settled] = {}
        for number, line in enumerate(lines):
            if isinstance(line, BadLine):
                known[number] = Settled(fate_of_bad_line(line), line)
                continue
            try:
                wanted[number] = self._tools.want(line)
            except JimengInputError as error:
                known[number] = Settled(fate_of(line, Outcome.INVALID, key=None, error=error), line)
        keys = {each.key for each in wanted.values()}
        records = self._tools.ledger.latest_many(keys)
        paid = [key for key, record in records.items() if record.state in _PAID]
        landings = self._tools.ledger.landings_many(paid)

        def look(number: int) -> Found:
            line = lines[number]
            if number in known or isinstance(line, BadLine):
                return known[number]
            each = wanted[number]
            return self._look(line, each, records.get(each.key), landings.get(each.key, []))

        return [(line.line, self._pool.submit(look, number)) for number, line in enumerate(lines)]

    def _look(
        self, item: Item, wanted: Wanted, record: TaskRecord | None, landings: list[LandingRecord]
    ) -> Found:
        began = time.monotonic()
        for tries in itertools.count():
            try:
                with self._seats:
                    if self._closed.is_set():
                        raise JimengStoppedError("Nobody asks any more; nothing was sent")
                    if tries:
                        # Somebody else may have paid for it in the meantime.
                        record = self._tools.ledger.latest(wanted.key)
                        landings = self._tools.ledger.landings(wanted.key)
                    return self._judge(item, wanted, record, landings)
            except (JimengInputError, JimengUnreadableInputError, JimengOutputExistsError) as error:
                outcome = outcome_before_submit(error)
                return Settled(fate_of(item, outcome, key=wanted.key, record=record, error=error), item)
            except (JimengLandingError, JimengLedgerError, JimengInputStoreError) as error:
                of_input = isinstance(error, JimengInputStoreError)
                if error.retry_helps and self._bears(error, item, wanted, began, tries):
                    continue
                if isinstance(error, JimengLedgerError):
                    raise
                if of_input and error.retry_helps:
                    self.inputs_away.append(item.line)
                away = error.retry_helps and isinstance(error, JimengLandingError)
                outcome = Outcome.SKIPPED if away else outcome_of(error)
                fate = fate_of(item, outcome, key=wanted.key, record=record, error=error)
                return Settled(fate, item, store_away=error if away else None)
            except JimengError as error:
                fate = fate_of(item, outcome_of(error), key=wanted.key, record=record, error=error)
                return Settled(fate, item)
        raise AssertionError("unreachable")

    def _bears(
        self,
        error: JimengLandingError | JimengLedgerError | JimengInputStoreError,
        item: Item,
        wanted: Wanted,
        began: float,
        tries: int,
    ) -> bool:
        """Wait for a store or a ledger in trouble; return whether to look again."""
        if self._closed.is_set():
            return False
        now = time.monotonic()
        if isinstance(error, JimengInputStoreError):
            # It fails its own lines; those that come soon after them don't wait for it again.
            tired = not self._tools.away.bears(wanted, "look", self._terms.input_patience)
            if not tired:
                self._waiting.add(item.line)
        elif isinstance(error, JimengLandingError):
            if now - began > self._terms.landing_patience:
                self._store_away = error
            tired = self._store_away is not None
        else:
            tired = now - began > self._terms.ledger_patience
        if tired:
            return False
        if not tries:
            log.warning(
                "A line of the manifest can't be looked at yet, nothing is submitted for it: %s", error
            )
        self._closed.wait(backoff_delay(tries, base=0.5, cap=30.0, jitter=random.random()))  # noqa: S311 - jitter may be guessed
        return True

    def _judge(
        self, item: Item, wanted: Wanted, record: TaskRecord | None, landings: list[LandingRecord]
    ) -> Found:
        mine = self._terms.mine
        own = record is not None and mine.made(record)
        if record is not None and mine.refused_for_good(record):
            fate = fate_of(item, Outcome.FAILED, key=wanted.key, record=record, error=record.message)
            return Settled(fate, item)
        if record is not None and record.state in _PAID:
            supersede = None
            if not own and wanted.policies.on_input_changed != REUSE:
                wanted, supersede = self._tools.inspect(wanted)
            there = None if supersede is not None else self._landed_or_unreadable(item, record, landings)
            if there is None:
                content = Content(wanted, [item], supersede, record)
                return Work(content, needs_submit=supersede is not None)
            outcome = Outcome.LANDED if own else Outcome.REUSED
            fate = fate_of(item, outcome, key=wanted.key, record=record, landed=there)
            return Settled(fate, item, own=wanted.key if own else None)
        if record is not None and may_come_back(record, self._tools.ledger.now()):
            # Before it is given up or paid again, the vendor is asked.
            return Work(Content(wanted, [item], record=record), needs_submit=True)
        decision = self._decide(wanted, record)
        if decision.step is Step.FAIL and decision.error is not None:
            outcome = outcome_of(decision.error)
            fate = fate_of(item, outcome, key=wanted.key, record=record, error=decision.error)
            return Settled(fate, item)
        if (why := self._stopped()) is not None:
            error = left_out(record, why)
            return Settled(fate_of(item, Outcome.SKIPPED, key=wanted.key, record=record, error=error), item)
        target = self._tools.folder.output(item.id)
        if target.stat() is not None:
            self._tools.lander.check_free(wanted.key, target)
        wanted, supersede = self._tools.inspect(wanted)
        if supersede is not None or record is None or record.state in _UNPAID:
            self._tools.probe(wanted)
        self._tools.away.answered(wanted, "look")
        return Work(Content(wanted, [item], supersede, record), needs_submit=True)

    def _decide(self, wanted: Wanted, record: TaskRecord | None) -> Decision:
        ledger = self._tools.ledger
        attempts = 0
        if record is not None:
            attempts = ledger.attempts_in(wanted.key, wanted.provenance.attempt_scope)
        now = 0.0 if record is None else ledger.now()
        return decide(record, policies=wanted.policies, attempts=attempts, now=now)

    def _landed_or_unreadable(
        self, item: Item, record: TaskRecord, landings: list[LandingRecord]
    ) -> Landed | None:
        """Return where it landed; ``None`` also where the store can't tell: its landing waits for that."""
        try:
            return self._landed(item, record, landings)
        except JimengLandingError as error:
            if not error.retry_helps:
                raise
            return None

    def _landed(self, item: Item, record: TaskRecord, landings: list[LandingRecord]) -> Landed | None:
        target = self._tools.folder.output(item.id)
        for landing in landings:
            if (landing.uri, landing.attempt) != (target.uri, record.attempt):
                continue
            if self._tools.lander.intact(landing, target):
                return Landed(landing.uri, landing.size, landing.sha256, landing.content_type, fresh=False)
        return None


def _line_of(found: Found) -> int:
    return found.line.line if isinstance(found, Settled) else found.content.items[0].line
