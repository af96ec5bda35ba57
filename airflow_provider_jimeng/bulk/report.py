# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The report of a bulk run: a line per item, a summary, and a gallery for those who would rather look.

It is made of what the runner says of each item and of nothing else, and its counts add up to the manifest's
lines, or the run fails: an item that nobody accounts for may have been paid.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.gallery import GalleryRow, write_gallery
from airflow_provider_jimeng.bulk.items import BAD_OUTCOMES, BadLine, Fate, Item, Outcome
from airflow_provider_jimeng.bulk.spill import Spill
from airflow_provider_jimeng.bulk.strays import Stray, in_summary
from airflow_provider_jimeng.bulk.timeline import SlotEvent, Timeline
from airflow_provider_jimeng.exceptions import JimengError, JimengProtocolError
from airflow_provider_jimeng.ledger.keys import redact_text, redact_url
from airflow_provider_jimeng.media.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_jimeng.ledger.records import Provenance

__all__ = ["ReportWriter", "RunFacts", "SlotEvent", "Timeline"]

log = logging.getLogger(__name__)

REPORT, SUMMARY, GALLERY = "report.jsonl", "summary.json", "report.html"
#: What moves a cursor or turns letters around when somebody looks at the lines in a terminal. JSON reads the
#: escapes as the same text.
_UNSEEN = {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
#: Seconds between two looks at a running run, and how many times as long as one took the next has to wait.
_PARTIAL_EVERY = 10.0
_PARTIAL_SHARE = 30.0


@dataclass(frozen=True, slots=True)
class RunFacts:
    """
    What a run knows of itself, beside what became of its items. All times in epoch seconds.

    :param finished_at: ``None`` while it runs.
    :param submits: accepted by the vendor in this run.
    :param possibly_billed: submits that may have been billed without a result.
    :param slots: how many the run could have used; ``None`` where nobody knows.
    :param timeline: slots in use.
    :param first_submit: the first accepted submit, which utilisation is counted from.
    :param last_submit: the last one, which it is counted to.
    :param provenance: whose run it is.
    :param strays: tasks that the run paid for and that no line of the manifest asks for.
    """

    started_at: float
    finished_at: float | None = None
    submits: int = 0
    possibly_billed: int = 0
    slots: int | None = None
    timeline: Timeline = field(default_factory=Timeline)
    first_submit: float | None = None
    last_submit: float | None = None
    provenance: Provenance | None = None
    strays: tuple[Stray, ...] = ()

    @property
    def utilisation(self) -> float | None:
        """The busy share of the slots, see :meth:`Timeline.utilisation`."""
        if self.slots is None or self.first_submit is None or self.last_submit is None:
            return None
        return self.timeline.utilisation(self.slots, self.first_submit, self.last_submit)


class ReportWriter:
    """
    Takes what became of each item, and writes it beside the results. May be used by several threads.

    What it is told goes to the local disk, about as much as the manifest is long; in memory are eight bytes
    per line.

    :param folder: where the results are; its files are replaced, each as a whole.
    :param total: lines of the manifest, bad ones too.
    :param clock: gives seconds, for the pace of :meth:`partial`.
    """

    def __init__(self, folder: Target, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._total = total
        self._clock = clock
        self._spill = Spill()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._counts = dict.fromkeys(Outcome, 0)
        self._errors: Counter[int] = Counter()
        self._not_before = -math.inf
        self.close = self._spill.close

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """Items per outcome so far."""
        with self._lock:
            return dict(self._counts)

    def add(self, fate: Fate, item: Item | BadLine) -> None:
        """
        Take what became of an item; once for each line of the manifest, in any order.

        :raises JimengProtocolError: the line was told already, or fate and item are of different lines.
        """
        if fate.line != item.line:
            raise JimengProtocolError(f"A fate of line {fate.line} came with the item of line {item.line}")
        line = _report_line(fate)
        row = _encoded(asdict(_gallery_row(line, item)))
        self._spill.put(fate.line, _encoded({**line, **_beside(line, item.carried)}), row)
        with self._lock:
            self._counts[fate.outcome] += 1
            if fate.code is not None and fate.outcome in BAD_OUTCOMES:
                self._errors[fate.code] += 1

    def partial(self, facts: RunFacts) -> dict[str, Any] | None:
        """
        Write gallery and summary of a run that goes on; call it as often as you like.

        A store that can't be written now is logged and no error, the run matters more.

        :returns: the summary; ``None`` where it is too soon after the last, or the store failed.
        """
        if self._clock() < self._not_before or not self._writing.acquire(blocking=False):
            return None
        began = self._clock()
        try:
            return self._write(facts, complete=False)
        except (JimengError, OSError) as error:
            log.warning("The report of the running run could not be written, it is tried again: %s", error)
            return None
        finally:
            took = self._clock() - began
            self._not_before = began + took + max(_PARTIAL_EVERY, _PARTIAL_SHARE * took)
            self._writing.release()

    def finish(self, facts: RunFacts) -> dict[str, Any]:
        """
        Write all three files, the summary last.

        :returns: the summary.
        :raises JimengProtocolError: the counts don't add up to the manifest's lines; what is known is
            written, marked as incomplete.
        :raises JimengLandingError: a file could not be written; the results are safe, a rerun writes it.
        """
        with self._writing:
            counted = sum(self.counts.values())
            summary = self._write(facts, complete=counted == self._total)
        if counted != self._total:
            told = ", ".join(f"{number} {outcome}" for outcome, number in self.counts.items() if number)
            raise JimengProtocolError(
                f"The report does not add up: the manifest has {self._total} lines, of {counted} it is known "
                f"what became ({told or 'none'}). Nothing is lost, the ledger knows what was paid; run the "
                "same manifest again"
            )
        return summary

    def _write(self, facts: RunFacts, *, complete: bool) -> dict[str, Any]:
        summary = self._summary(facts, complete)
        with tempfile.TemporaryDirectory(prefix="jimeng-report-") as scratch:
            if facts.finished_at is not None:
                self._publish(Path(scratch), REPORT, self._write_lines)
            self._publish(
                Path(scratch),
                GALLERY,
                lambda path: write_gallery(
                    path, self._rows(), summary, facts.timeline, self._folder.uri, facts.slots
                ),
            )
            text = json.dumps(summary, ensure_ascii=False, indent=2) + "\n"
            self._publish(Path(scratch), SUMMARY, lambda path: path.write_text(text, encoding="utf-8"))
        return summary

    def _publish(self, scratch: Path, name: str, write: Callable[[Path], object]) -> None:
        # The extension is what object stores guess the content type from.
        local = scratch / name
        write(local)
        self._child(name).publish(local)
        os.unlink(local)

    def _child(self, name: str) -> Target:
        folder = self._folder
        return Target(folder.fs, f"{folder.path.rstrip('/')}/{name}", f"{folder.uri.rstrip('/')}/{name}")

    def _write_lines(self, path: Path) -> None:
        with path.open("wb") as file:
            for line in self._spill.firsts():
                file.write(line + b"\n")

    def _rows(self) -> Iterator[GalleryRow]:
        return (GalleryRow(**json.loads(text)) for text in self._spill.seconds())

    def _summary(self, facts: RunFacts, complete: bool) -> dict[str, Any]:
        with self._lock:
            counts = {outcome.value: number for outcome, number in self._counts.items()}
            errors = {str(code): number for code, number in sorted(self._errors.items())}
        used = facts.utilisation
        summary = {
            "total": self._total,
            **counts,
            "submits": facts.submits,
            "possibly_billed": facts.possibly_billed,
            "started_at": _iso(facts.started_at),
            "finished_at": _iso(facts.finished_at),
            "slot_utilisation": None if used is None else round(used, 4),
            "report_uri": self._child(REPORT).uri,
            "gallery_uri": self._child(GALLERY).uri,
            "errors": errors,
            "complete": complete,
            "run": _whose(facts.provenance),
            **in_summary(facts.strays),
        }
        if not complete:
            summary["pending"] = self._total - sum(counts.values())
        return summary


def _whose(by: Provenance | None) -> dict[str, Any] | None:
    # Runs write to one folder one after the other: this tells whose the report is now.
    if by is None:
        return None
    return {"dag_id": by.dag_id, "run_id": by.run_id, "task_id": by.task_id, "map_index": by.map_index}


def _report_line(fate: Fate) -> dict[str, Any]:
    return {
        "id": fate.id,
        "line": fate.line,
        "outcome": fate.outcome.value,
        "content_key": fate.content_key,
        "task_id": fate.task_id,
        "attempts": fate.attempts,
        "code": fate.code,
        "message": _redacted(fate.message),
        "uri": fate.uri,
        "bytes": fate.bytes,
        "sha256": fate.sha256,
        "submitted_at": _iso(fate.submitted_at),
        "finished_at": _iso(fate.finished_at),
        "elapsed": fate.elapsed,
        "error": _redacted(fate.error),
    }


def _beside(line: Mapping[str, Any], carried: Mapping[str, Any]) -> dict[str, Any]:
    # A report may be the next manifest: what it said then must not pass for what is so now.
    return {f"manifest.{key}" if key in line else key: value for key, value in carried.items()}


def _gallery_row(line: Mapping[str, Any], item: Item | BadLine) -> GalleryRow:
    shown = {each.name: line[each.name] for each in fields(GalleryRow) if each.name in line}
    image, video = (redact_url(item.image), redact_url(item.video)) if isinstance(item, Item) else ("", "")
    return GalleryRow(image=image, video=video, **shown)


def _redacted(text: str | None) -> str | None:
    return None if text is None else redact_text(text)


def _encoded(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).translate(_UNSEEN).encode()
    except UnicodeEncodeError:
        # Half a character of UTF-16 in a carried field: JSON has a form for it, UTF-8 none.
        return json.dumps(value).encode()


def _iso(when: float | None) -> str | None:
    if when is None:
        return None
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
