# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Landing beside the waiting: a few threads, so that a big file or a slow store never delays a refill.

The bytes land once, under a name that no other content can take; the wanted names are copies of that. So a
reordered manifest, two swapped lines and tomorrow's manifest in the same folder overwrite no only copy.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.content import Content, fate_of, first_due, outcome_of
from airflow_provider_jimeng.bulk.items import Fate, Outcome
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengLandingError,
    JimengLedgerError,
    JimengMissingOutputError,
    JimengOutputExistsError,
)
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT, Missing
from airflow_provider_jimeng.policy.backoff import backoff_delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.bulk.content import Folder
    from airflow_provider_jimeng.bulk.items import Item
    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord
    from airflow_provider_jimeng.lifecycle.land import Landed, Lander

log = logging.getLogger(__name__)

#: With thousands of slots results come faster than a few threads land them; what waits then holds memory, and
#: in the end the submits. So for this many that wait there is one more at once, up to a bound.
_WAITING_PER_LANDER, _MOST_AT_ONCE = 4, 32


@dataclass(slots=True)
class LandingResult:
    """
    What became of one landing.

    :param record: the content's row as the landing left it.
    :param landed: where each line's result is.
    :param failed: lines whose place is taken for good.
    :param trouble: why the rest is not there yet.
    """

    record: TaskRecord | None
    landed: list[tuple[Item, Landed]] = field(default_factory=list)
    failed: list[tuple[Item, JimengError]] = field(default_factory=list)
    trouble: JimengError | None = None


def land(tools: Tools, content: Content, items: tuple[Item, ...], url: str | None) -> LandingResult:
    """
    Land a content's result for some lines; whatever happens, the task stays paid, known and fetchable.

    :param url: the result's URL, if it was obtained a moment ago.
    """
    result = LandingResult(content.record)
    try:
        record = _current(tools, content)
        result.record = record
        source: LandingRecord | None = None
        if content.stray:
            _safe(tools.lander, tools.folder, record, tools, url)
        for item in items:
            target = tools.folder.output(item.id)
            there = tools.lander.find(record, target)
            if there is None:
                source = source or _safe(tools.lander, tools.folder, record, tools, url)
                try:
                    there = tools.lander.copy(record, source, target)
                except JimengOutputExistsError as error:
                    result.failed.append((item, error))
                    continue
            result.landed.append((item, there))
        result.record = tools.ledger.get(record.id) or record
    except JimengError as error:
        # Whatever it is, it is this content's trouble: the others go on.
        result.trouble = error
        if isinstance(error, JimengLandingError) and not error.retry_helps and result.record is not None:
            # The row that was found missing, and no newer one: another line may have paid again by now.
            result.record = tools.ledger.get(result.record.id) or result.record
    return result


def _current(tools: Tools, content: Content) -> TaskRecord:
    """Return the row as it is now: a landing that was interrupted has moved it."""
    seen = content.record
    found = None if seen is None else tools.ledger.get(seen.id)
    if found is None:
        raise JimengLedgerError("The ledger's row of a paid result is gone", content_key=content.key)
    return found


def _safe(lander: Lander, folder: Folder, record: TaskRecord, tools: Tools, url: str | None) -> LandingRecord:
    """Return the landing under the content's own name, putting it there first where it is not."""
    place = folder.safe(record)
    # Nobody else's file can bear this name: what stands there unrecorded is a leftover of our own.
    replace(lander, overwrite=True).land(record, place, tools.fetch(record, url))
    for landing in tools.ledger.landings(record.content_key):
        if landing.uri == place.uri:
            return landing
    raise JimengLedgerError(
        "The ledger forgot a landing that it was just told", content_key=record.content_key
    )


class Landings:
    """
    Lands results, a few at a time, and says what came of each. Used by the run's own thread.

    :param post: takes what is to be done in the run's thread.
    :param tell: gets the fate of a line, and the content's key where this run paid for it.
    :param done: takes a content that has nothing left to land.
    :param again: takes a content that is to be paid for again, as the user chose.
    :param settle: takes a content whose result is nowhere, and why.
    """

    def __init__(
        self,
        tools: Tools,
        terms: Terms,
        *,
        post: Callable[[Callable[[], None]], None],
        tell: Callable[[Fate, Item, str | None], None],
        done: Callable[[Content], None],
        again: Callable[[Content], None],
        settle: Callable[[Content, Outcome, JimengError | str], None],
    ) -> None:
        self._tools, self._terms = tools, terms
        self._post, self._tell, self._done, self._again, self._settle = post, tell, done, again, settle
        #: Lines whose paid result could not be stored yet.
        self.unlanded = self.strays_unlanded = 0
        self._waiting: deque[Content] = deque()
        self._under_way = 0
        self._pool = ThreadPoolExecutor(
            max(terms.landers, _MOST_AT_ONCE), thread_name_prefix="jimeng-bulk-land"
        )

    @property
    def waiting(self) -> bool:
        """Whether a result waits for its store to recover."""
        return bool(self._waiting)

    def add(self, content: Content) -> None:
        """Queue a content whose result is to be landed."""
        self._waiting.append(content)

    def idle(self, now: float) -> bool:
        """Return whether nothing is under way, and nothing could be begun."""
        return not self._under_way and all(each.not_before > now for each in self._waiting)

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self) -> None:
        """Begin as many landings as may run at once."""
        now = time.monotonic()
        at_once = max(self._terms.landers, min(_MOST_AT_ONCE, len(self._waiting) // _WAITING_PER_LANDER))
        while self._under_way < at_once and (content := first_due(self._waiting, now)) is not None:
            self._under_way += 1
            url = content.url if now < content.url_until and not content.troubles else None
            self._pool.submit(self._land, content, tuple(content.items), url)

    def _land(self, content: Content, items: tuple[Item, ...], url: str | None) -> None:
        outcome: LandingResult | BaseException
        try:
            outcome = land(self._tools, content, items, url)
        except BaseException as error:
            outcome = error
        self._post(lambda: self._on_landed(content, outcome))

    def _on_landed(self, content: Content, outcome: LandingResult | BaseException) -> None:
        self._under_way -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        content.record = record = outcome.record
        for item, landed in outcome.landed:
            own = record is not None and self._terms.mine.made(record)
            kind = Outcome.LANDED if own else Outcome.REUSED
            fate = fate_of(item, kind, key=content.key, record=record, landed=landed)
            self._tell(fate, item, content.key if own else None)
            content.items.remove(item)
        for item, error in outcome.failed:
            fate = fate_of(item, Outcome.FAILED, key=content.key, record=record, error=error)
            self._tell(fate, item, None)
            content.items.remove(item)
        if not content.items and (outcome.trouble is None or not content.stray):
            self._done(content)
        elif outcome.trouble is not None:
            self._on_landing_trouble(content, outcome.trouble)
        else:
            content.calm()
            self._waiting.append(content)

    def _on_landing_trouble(self, content: Content, error: JimengError) -> None:
        now = time.monotonic()
        record = content.record
        # A result that was never stored is asked for as long as the vendor may have it.
        early = record is not None and record.state is TaskState.SUCCEEDED and error.retry_helps
        if isinstance(error, JimengMissingOutputError) and not early:
            if content.wanted.policies.on_missing_output == RESUBMIT and not content.stray:
                content.supersede = None if content.record is None else Missing(content.record)
                content.calm()
                self._again(content)
            else:
                self._settle(content, outcome_of(error), error)
        elif isinstance(error, JimengLandingError) and not error.retry_helps:
            self._settle(content, outcome_of(error), error)
        elif not error.retry_helps or (
            content.troubles and now - content.trouble_since > self._terms.landing_patience
        ):
            self.unlanded += max(1, len(content.items))
            self.strays_unlanded += content.stray
            self._settle(content, Outcome.SKIPPED, f"paid for, but not stored yet: {error.message}")
        else:
            if not content.troubles:
                log.warning("A landing is tried again: %s", error)
            content.trouble(now, backoff_delay(content.troubles, base=1.0, cap=60.0, jitter=random.random()))  # noqa: S311 - jitter may be guessed
            self._waiting.append(content)
