# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A whole bulk run, from a checked manifest to a report that adds up, and what its outcome means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.items import BAD_OUTCOMES, Item, Outcome
from airflow_provider_jimeng.bulk.manifest import Manifest, raise_for
from airflow_provider_jimeng.bulk.report import ReportWriter, RunFacts, Timeline
from airflow_provider_jimeng.bulk.runner import Run
from airflow_provider_jimeng.exceptions import (
    JimengInputError,
    JimengInputStoreError,
    JimengLandingError,
    JimengLedgerError,
    JimengRunIncompleteError,
    JimengToleranceExceededError,
)

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import BadLine, Fate
    from airflow_provider_jimeng.bulk.parking import Parked
    from airflow_provider_jimeng.bulk.tools import Terms, Tools

_REPORT_EVERY = 5.0
#: Lines whose inputs and outputs are told as lineage, however long the manifest.
_SAMPLE = 100


@dataclass(frozen=True, slots=True)
class Finished:
    """
    The end of a run.

    :param summary: as written beside the results.
    :param stopped: why submits stopped early, ``None`` where they did not.
    :param unlanded: lines whose paid result could not be stored yet.
    :param sample: the first lines that landed, for those who ask where results came from.
    :param strays_unlanded: tasks among ``unlanded`` that no line of the manifest asks for any more.
    :param inputs_away: lines that failed since the store of their inputs did not answer.
    :param store_away: whether it was the outputs' store that stopped them: a retry goes on once it is back.
    """

    summary: Mapping[str, Any]
    stopped: str | None
    unlanded: int
    sample: tuple[LandedLine, ...] = ()
    store_away: bool = False
    strays_unlanded: int = 0
    inputs_away: int = 0


@dataclass(frozen=True, slots=True)
class LandedLine:
    """
    A line of the manifest that landed: from where, and where to.

    :param image: URL as given; may carry a presigned query, so it is never printed as it is.
    :param video: URL as given, likewise.
    """

    image: str = field(repr=False)
    video: str = field(repr=False)
    uri: str
    bytes: int | None


def check_manifest(manifest: Manifest, *, skip_invalid: bool) -> None:
    """
    Tell all that is wrong with a manifest's form at once, before anything is paid.

    :raises JimengInputError: naming each line and field.
    """
    raise_for(manifest.check(), skip_invalid=skip_invalid)


def run_to_end(
    manifest: Manifest,
    tools: Tools,
    terms: Terms,
    *,
    leg: bool = False,
    after_line: int = 0,
    total: int | None = None,
) -> Finished | Parked:
    """
    Run a manifest, or a leg of it.

    :param leg: return what to wait for as soon as there is nothing else to do.
    :param after_line: lines up to this one were done with in an earlier leg; they are looked at again only
        when all are, for the report.
    :param total: lines of the manifest, where an earlier leg has counted them.
    """
    if after_line:
        run = Run(
            tools, terms, manifest.lines(after_line), manifest.total if total is None else total, after_line
        )
        parked = run.run(leg=leg)
        if parked is not None:
            return parked
    return _whole(manifest, tools, terms, leg=leg)


def _whole(manifest: Manifest, tools: Tools, terms: Terms, *, leg: bool) -> Finished | Parked:
    began = time.time()
    writer = ReportWriter(tools.folder.target, manifest.total)
    try:
        sample: dict[int, LandedLine] = {}

        def report(fate: Fate, line: Item | BadLine) -> None:
            writer.add(fate, line)
            if fate.uri is not None and isinstance(line, Item) and len(sample) < _SAMPLE:
                sample[fate.line] = LandedLine(line.image, line.video, fate.uri, fate.bytes)

        run = Run(replace(tools, report=report), terms, manifest.lines(), manifest.total, whole=True)
        with _Reporting(lambda: writer.partial(_facts(tools, terms, began, None))):
            parked = run.run(leg=leg)
        if parked is not None:
            return parked
        facts = _facts(tools, terms, began, time.time())
        summary = writer.finish(replace(facts, strays=tuple(run.strays.told)))
        return Finished(
            summary,
            run.stopped,
            run.unlanded,
            tuple(sample.values()),
            run.store_away,
            run.strays_unlanded,
            run.inputs_away,
        )
    finally:
        writer.close()


def _slots(tools: Tools, terms: Terms) -> int | None:
    limits = tools.account_now.max_concurrency
    known = sum(limits.values()) if isinstance(limits, Mapping) else limits
    most = terms.max_in_flight
    return known if most is None else most if known is None else min(most, known)


def _facts(tools: Tools, terms: Terms, began: float, finished_at: float | None) -> RunFacts:
    """Add up the run from the ledger, where every try and every leg of it left its traces."""
    totals = tools.ledger.run_totals(terms.provenance.attempt_scope, terms.since)
    now = time.time()
    timeline = Timeline.of_intervals((each.submitted_at, each.finished_at or now) for each in totals.spans)
    slots = _slots(tools, terms)
    if slots is None:
        slots = max((each.in_use for each in timeline), default=None)
    return RunFacts(
        started_at=min(began, totals.started_at or began),
        finished_at=finished_at,
        submits=totals.submits,
        possibly_billed=totals.possibly_billed,
        slots=slots,
        timeline=timeline,
        first_submit=totals.spans[0].submitted_at if totals.spans else None,
        last_submit=totals.spans[-1].submitted_at if totals.spans else None,
        provenance=terms.provenance,
    )


class _Reporting:
    """Writes the report of a running run now and then, in a thread of its own."""

    def __init__(self, write: Callable[[], object]) -> None:
        self._write, self._stop = write, threading.Event()
        self._thread = threading.Thread(target=self._go, name="jimeng-bulk-report", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go(self) -> None:
        pause = _REPORT_EVERY
        while not self._stop.wait(pause):
            began = time.monotonic()
            try:
                self._write()
            except JimengLedgerError:
                # The run itself notices, and decides how long to bear it.
                continue
            pause = max(_REPORT_EVERY, 20.0 * (time.monotonic() - began))


def check_tolerance(value: Any) -> int | float:
    """
    Return a tolerance: a number of items, or a share of them as a float.

    :raises JimengInputError: it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or value != value:
        raise JimengInputError(f"tolerance must be a number from 0, not {value!r}. Nothing was paid")
    if isinstance(value, float) and value > 1.0:
        raise JimengInputError(
            f"tolerance as a float is a share of the items, from 0.0 to 1.0, not {value!r}; a number of "
            "items is an integer. Nothing was paid"
        )
    return value


def judge(finished: Finished, tolerance: int | float) -> None:
    """
    Raise what the outcome of a run means: first of all that something paid is not stored yet.

    :raises JimengLandingError: the store was in trouble for too long: paid results could not be stored, or
        items not be submitted; a retry goes on, and is judged once it has stored all.
    :raises JimengInputStoreError: so many did since their inputs' store did not answer; a retry goes on.
    :raises JimengToleranceExceededError: more items came to nothing than may.
    :raises JimengRunIncompleteError: submits stopped early.
    """
    summary = finished.summary
    bad = sum(summary[str(each)] for each in BAD_OUTCOMES)
    allowed = int(tolerance * summary["total"]) if isinstance(tolerance, float) else tolerance
    where = f"See {summary['gallery_uri']} and {summary['report_uri']}"
    skipped = summary[str(Outcome.SKIPPED)]
    counts = ", ".join(f"{summary[str(each)]} {each}" for each in Outcome if summary[str(each)])
    left_out = skipped > finished.unlanded - finished.strays_unlanded
    if finished.unlanded:
        # Before any verdict that no retry follows: what was paid for is lost if nobody fetches it in time.
        later = [
            f"{bad} items came to nothing, and tolerance allows {allowed}" if bad > allowed else "",
            f"items were left out: {finished.stopped}" if left_out else "",
        ]
        judged = "".join(f"; {each}" for each in later if each)
        raise JimengLandingError(
            f"{finished.unlanded} paid results could not be stored ({counts}{judged}). They are known, and a "
            f"retry within 12 hours of their submits stores them without paying again. {where}"
        )
    if bad > allowed >= bad - finished.inputs_away:
        raise JimengInputStoreError(
            f"The store of the inputs of {finished.inputs_away} items, of {summary['total']}, did not answer "
            f"({counts}). Nothing new was paid for those; a retry asks it again and goes on. {where}"
        )
    if bad > allowed and not (left_out and finished.store_away):
        raise JimengToleranceExceededError(
            f"{bad} of {summary['total']} items came to nothing, and tolerance allows {allowed} ({counts}). "
            "What landed is not paid again: correct what the report lists, and run the same manifest again. "
            f"{where}"
        )
    if left_out:
        # A store comes back by itself, and then a retry does what is left; anything else waits for a person.
        kind = JimengLandingError if finished.store_away else JimengRunIncompleteError
        raise kind(
            f"{skipped} of {summary['total']} items were left out ({counts}): {finished.stopped}. Nothing "
            f"new was paid for those; run the same manifest again to go on. {where}"
        )
