# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Landing: a paid result's bytes to the place the user wants, without ever overwriting the only copy of another.

A landing failure is not a task failure (``design.md``, invariant 7): whatever happens here, the task stays
paid, known and fetchable, and nothing is submitted again.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import (
    JimengLandingError,
    JimengMissingOutputError,
    JimengOutputExistsError,
)
from airflow_provider_jimeng.ledger.parts import part_key
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.counting import result_landed
from airflow_provider_jimeng.media.download import Downloaded
from airflow_provider_jimeng.media.kinds import DEFAULT_TYPE, suffix_of
from airflow_provider_jimeng.media.target import Target

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger

log = logging.getLogger(__name__)

_DOWNLOADS = 3
_PAID = frozenset({TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.LANDED, TaskState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Landed:
    """Where a result is, and what is there. ``fresh`` is whether bytes were put there by this call."""

    uri: str
    bytes: int
    sha256: str | None
    content_type: str | None
    fresh: bool


#: Downloads the result to a local file; called again for a fresh URL when a download fails.
Fetch = Callable[[Path], Downloaded]
#: Turns a landing's URI into a place that can be read.
Resolve = Callable[[str], Target]


@dataclass(slots=True)
class Lander:
    """
    Lands results.

    :param overwrite: whether a file that this provider did not write may be replaced.
    :param check_sha256: read a landed file and compare its digest before reusing it; size and etag otherwise.
    """

    ledger: Ledger
    resolve: Resolve
    overwrite: bool = False
    check_sha256: bool = False

    def intact(self, landing: LandingRecord, place: Target) -> bool:
        """
        Return whether a landed file is still what was landed; a file that is gone is not.

        :raises JimengLandingError: it could not be read, which is not the same.
        """
        stat = place.stat()
        if stat is None or stat.size != landing.size:
            return False
        if landing.etag and stat.etag and landing.etag != stat.etag:
            return False
        return not (self.check_sha256 and landing.sha256) or place.sha256() == landing.sha256

    def find(self, record: TaskRecord, target: Target, part: int = 1) -> Landed | None:
        """
        Return the attempt's landing at the wanted place, if it is intact.

        :param part: which of the task's results, where it made several.
        """
        for landing in self._landings(_part_of(record, part)):
            if landing.uri == target.uri and self.intact(landing, target):
                return _as_landed(landing)
        return None

    def _landings(self, record: TaskRecord) -> list[LandingRecord]:
        # An attempt that was paid for again has another result: the earlier one is no substitute for it.
        every = self.ledger.landings(record.content_key)
        return [landing for landing in every if landing.attempt == record.attempt]

    def find_elsewhere(self, record: TaskRecord, target: Target) -> LandingRecord | None:
        """Return an intact landing of the attempt at any other place; unreadable places are passed over."""
        for landing in self._landings(record):
            if landing.uri == target.uri:
                continue
            try:
                if self.intact(landing, self.resolve(landing.uri)):
                    return landing
            except JimengLandingError as error:
                log.warning("An earlier landing can't be looked at: %s", error)
        return None

    def check_free(self, key: str, target: Target) -> None:
        """
        Refuse, before anything is paid, a place where a foreign file stands.

        :raises JimengOutputExistsError: a file is there that this provider did not write.
        """
        target.check_writable()
        if self.overwrite or target.stat() is None:
            return
        # A kill between storing and recording leaves a result of our own that no landing tells of.
        paid = any(record.state in _PAID for record in self.ledger.history(key))
        if self.ledger.landing_at(target.uri) is None and not paid:
            raise JimengOutputExistsError(
                f"output: a file that this provider did not write stands at {target.uri}; choose another "
                "place, remove "
                "it, or set overwrite=True. Nothing was paid",
                content_key=key,
            )

    def land(self, record: TaskRecord, target: Target, fetch: Fetch, part: int = 1) -> Landed:
        """
        Bring a finished task's result to a place.

        Kept as it is where it is already there; copied from another landing where there is one; else
        downloaded.

        :param fetch: downloads the result to a local file.
        :param part: which of the task's results, where it made several; the first is landed last.
        :raises JimengOutputExistsError: a foreign file stands there; the bytes were kept beside it.
        :raises JimengLandingError: not stored yet; the task is not lost.
        """
        if (there := self.find(record, target, part)) is not None:
            return there
        wanted = _part_of(record, part)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="jimeng-") as folder:
            local = Path(folder) / "result"
            source = self._obtain(wanted, target, local, fetch)
            free = target.stat() is None
            place = self._make_room(wanted, target, source)
            # Two tasks that were given one path by mistake may land at the same moment: the second is told.
            stat = place.publish(source.path, exclusive=free and place is target)
            self.ledger.record_landing(
                record,
                uri=place.uri,
                size=stat.size,
                etag=stat.etag,
                sha256=source.sha256,
                content_type=source.content_type,
                part=part,
            )
            if place is not target:
                raise JimengOutputExistsError(
                    f"A file that this provider did not write stands at {target.uri}, so the result was "
                    f"kept at {place.uri}. Remove the file or set overwrite=True and clear this task: the "
                    "result is copied, not paid for again",
                    task_id=record.task_id,
                    content_key=record.content_key,
                )
            landed = Landed(target.uri, stat.size, source.sha256, source.content_type, fresh=True)
        result_landed(record, landed, time.monotonic() - began)
        return landed

    def copy(self, record: TaskRecord, source: LandingRecord, target: Target) -> Landed:
        """
        Bring a landed result to a further place, on the store itself where it can do that.

        :param source: a landing of the same attempt on the same filesystem, known to be intact.
        :raises JimengOutputExistsError: a foreign file stands there; the result stays where it is.
        :raises JimengLandingError: not copied yet; the task is not lost.
        """
        if (there := self.find(record, target)) is not None:
            return there
        held = Downloaded(Path(), source.size, source.sha256, source.content_type or DEFAULT_TYPE)
        if self._make_room(record, target, held) is not target:
            raise JimengOutputExistsError(
                f"A file that this provider did not write stands at {target.uri}, so the result stays at "
                f"{source.uri}. Remove the file or set overwrite=True and run again: the result is copied, "
                "not paid for again",
                task_id=record.task_id,
                content_key=record.content_key,
            )
        self.resolve(source.uri).copy_to(target)
        stat = target.stat()
        if stat is None or stat.size != source.size:
            raise JimengLandingError(
                f"{target.uri} is not what was copied there from {source.uri}; a retry copies it again",
                content_key=record.content_key,
            )
        self.ledger.record_landing(
            record,
            uri=target.uri,
            size=stat.size,
            etag=stat.etag,
            sha256=source.sha256,
            content_type=source.content_type,
        )
        return Landed(target.uri, stat.size, source.sha256, source.content_type, fresh=True)

    def _obtain(self, record: TaskRecord, target: Target, local: Path, fetch: Fetch) -> Downloaded:
        elsewhere = self.find_elsewhere(record, target)
        if elsewhere is not None:
            log.info("The content is already at %s; it is copied from there.", elsewhere.uri)
            self.resolve(elsewhere.uri).fetch(local)
            return Downloaded(
                local,
                elsewhere.size,
                elsewhere.sha256 or _digest(local),
                elsewhere.content_type or DEFAULT_TYPE,
            )
        for left in reversed(range(_DOWNLOADS)):
            try:
                return fetch(local)
            except JimengMissingOutputError as error:
                if record.state is TaskState.SUCCEEDED and not error.retry_helps:
                    self.ledger.record_expired(record, code=error.code, message=error.message)
                raise
            except JimengLandingError as error:
                if not left:
                    raise
                log.warning("%s Asking for a fresh URL.", error)
        raise JimengLandingError("no download was tried", content_key=record.content_key)

    def _make_room(self, record: TaskRecord, target: Target, source: Downloaded) -> Target:
        """Return where the bytes may go: the wanted place, or beside it where that holds a foreign file."""
        if target.stat() is None:
            return target
        occupant = self.ledger.landing_at(target.uri)
        if occupant is not None and _of(occupant) != (record.content_key, record.attempt):
            safe = target.beside(_kept_name(occupant, occupant.content_type))
            if self.intact(occupant, target):
                # Copied, told, and only then overwritten: a kill between two of these loses neither result.
                target.copy_to(safe)
                self.ledger.move_landing(target.uri, safe.uri)
                log.info("%s held another result; that is now at %s.", target.uri, safe.uri)
                return target
        # A kill between publishing and recording leaves our own bytes with no record of them.
        if self.overwrite or target.sha256() == source.sha256 or self._is_copy(target):
            return target
        return target.beside(_kept_name(record, source.content_type))

    def _is_copy(self, target: Target) -> bool:
        """Return whether the file is the leftover of one that is safe, as a kill while making room leaves."""
        folder = target.beside("").uri
        digest = target.sha256()
        for landing in self.ledger.landings_with(digest):
            if landing.uri.startswith(folder) and self.intact(landing, self.resolve(landing.uri)):
                return True
        return False


def _part_of(record: TaskRecord, part: int) -> TaskRecord:
    """Return the row as the landings of one of its results know it."""
    return record if part == 1 else replace(record, content_key=part_key(record.content_key, part))


def _kept_name(owner: TaskRecord | LandingRecord, content_type: str | None) -> str:
    """Return a name that no other result can have; a further result's key has a slash in it."""
    return f"{owner.content_key.replace('/', '-')}-{owner.attempt}{suffix_of(content_type)}"


def _of(landing: LandingRecord) -> tuple[str, int]:
    return landing.content_key, landing.attempt


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_landed(landing: LandingRecord) -> Landed:
    return Landed(landing.uri, landing.size, landing.sha256, landing.content_type, fresh=False)
