# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Landing: a paid result's bytes to the place the user wants, without ever overwriting the only copy of another.

A landing failure is not a task failure (``design.md``, invariant 7): whatever happens here, the task stays
paid, known and fetchable, and nothing is submitted again.
"""

from __future__ import annotations

import hashlib
import logging
import posixpath
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengInputError,
    JimengLandingError,
    JimengMissingOutputError,
    JimengOutputExistsError,
)
from airflow_provider_jimeng.ledger.parts import part_key
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.counting import result_landed
from airflow_provider_jimeng.lifecycle.keeping import copied, kept_name, result_of
from airflow_provider_jimeng.media.download import Downloaded
from airflow_provider_jimeng.media.kinds import DEFAULT_TYPE, KINDS, flaw_of, kind_of
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
    :param check_sha256: read every landed file and compare its digest before reusing it. Otherwise only one
        whose etag is another than it was; size and etag are enough for the rest.
    """

    ledger: Ledger
    resolve: Resolve
    overwrite: bool = False
    check_sha256: bool = False

    def intact(self, landing: LandingRecord, place: Target) -> bool:
        """
        Return whether a landed file is still what was landed; a file that is gone is not.

        Stores give an etag anew for the same bytes: for a label, another key, a copy. So a file of the right
        size with another etag is read and its digest compared, which costs a download; the new etag is noted,
        so that it costs that once.

        :raises JimengLandingError: it could not be read, which is not the same.
        """
        stat = place.stat()
        if stat is None or stat.size != landing.size:
            return False
        renewed = bool(landing.etag and stat.etag and landing.etag != stat.etag)
        if not landing.sha256:
            return not renewed
        if (renewed or self.check_sha256) and place.sha256() != landing.sha256:
            return False
        if renewed:
            log.info("%s has a new etag and the same bytes.", place.uri)
            self.ledger.renew_etag(landing, stat.etag)
        return True

    def find(self, record: TaskRecord, target: Target, part: int = 1) -> Landed | None:
        """
        Return the attempt's landing at the wanted place, if it is intact.

        :param part: which of the task's results, where it made several.
        """
        for landing in self._landings(_part_of(record, part)):
            if landing.uri == target.uri and self.intact(landing, target):
                return _as_landed(landing)
        return None

    def is_stored(self, record: TaskRecord) -> bool:
        """Return whether the attempt's result lies anywhere; a place that can't be read may well hold it."""
        for landing in self._landings(record):
            try:
                if self.intact(landing, self.resolve(landing.uri)):
                    return True
            except (JimengLandingError, JimengInputError) as error:
                log.warning("An earlier landing can't be read: %s", error)
                return True
        return False

    def _landings(self, record: TaskRecord) -> list[LandingRecord]:
        # An attempt that was paid for again has another result: the earlier one is no substitute for it.
        every = self.ledger.landings(record.content_key)
        return [landing for landing in every if landing.attempt == record.attempt]

    def fetch_elsewhere(
        self, record: TaskRecord, target: Target, local: Path
    ) -> tuple[Downloaded | None, JimengError | None]:
        """
        Copy an intact landing of the attempt at any other place to the local disk.

        Places that can't be read, or that no filesystem or connection serves any more, are passed over.

        :return: the copy; without one, the trouble of a place that may hold the file all the same.
        """
        trouble: JimengError | None = None
        for landing in self._landings(record):
            if landing.uri == target.uri:
                continue
            try:
                place = self.resolve(landing.uri)
                if not self.intact(landing, place):
                    continue
                place.fetch(local)
            except (JimengLandingError, JimengInputError) as error:
                log.warning("An earlier landing can't be read: %s", error)
                trouble = trouble or _out_of_reach(landing, error)
                continue
            log.info("The content is already at %s; it is copied from there.", landing.uri)
            digest, kind = landing.sha256 or _digest(local), landing.content_type or DEFAULT_TYPE
            return Downloaded(local, landing.size, digest, kind), None
        return None, trouble

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
            source = self._obtain(wanted, target, local, fetch).named()
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
        stat = copied(source, target)
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
        held, trouble = self.fetch_elsewhere(record, target, local)
        if held is not None:
            return held
        for left in reversed(range(_DOWNLOADS)):
            try:
                return fetch(local)
            except JimengMissingOutputError as error:
                if trouble is not None:
                    # What can't be read now is not gone: neither given up for it, nor paid again.
                    raise trouble from error
                if (stored := self._leftover(record, target, local)) is not None:
                    return stored
                self._check_nothing_of_ours(record, target)
                if record.state is TaskState.SUCCEEDED and not error.retry_helps:
                    self.ledger.record_expired(record, code=error.code, message=error.message)
                raise
            except JimengLandingError as error:
                if not left:
                    raise
                log.warning("%s Asking for a fresh URL.", error)
        raise JimengLandingError("no download was tried", content_key=record.content_key)

    def _leftover(self, record: TaskRecord, target: Target, local: Path) -> Downloaded | None:
        """
        Copy what a try that was killed stored under the attempt's own name, and could not record any more.

        No other result can have that name, and a file has it only once it is complete. Asked for where the
        vendor no longer has the result, when it is the only copy.
        """
        own = kept_name(record, DEFAULT_TYPE).partition(".")[0]
        named = posixpath.basename(target.path).partition(".")[0] == own
        for place in (target,) if named else (target.beside(kept_name(record, kind)) for kind in KINDS):
            # Where a landing is told of, and is not intact, somebody changed the file.
            if place.stat() is None or self.ledger.landing_at(place.uri) is not None:
                continue
            place.fetch(local)
            kind = kind_of(local)
            flaw = "it is no video and no picture" if kind is None else flaw_of(local, kind)
            if kind is None or flaw is not None:
                log.warning("%s is not taken for the result: %s.", place.uri, flaw)
                continue
            log.warning("%s was stored by a try that could not record it; it is recorded now.", place.uri)
            return Downloaded(local, local.stat().st_size, _digest(local), kind)
        return None

    def _check_nothing_of_ours(self, record: TaskRecord, target: Target) -> None:
        """
        Refuse to give a result up, or to pay for it again, while an unknown file stands where it was wanted.

        A try that was killed after it stored the result, and before it recorded that, leaves just that.
        """
        own = kept_name(record, DEFAULT_TYPE)
        if posixpath.basename(target.path) == own or target.stat() is None:
            return
        occupant = self.ledger.landing_at(target.uri)
        if self.overwrite and (occupant is not None or record.state is not TaskState.SUCCEEDED):
            return
        if occupant is not None and self.intact(occupant, target):
            return
        raise JimengOutputExistsError(
            f"The vendor no longer gives out this result, and an unknown file stands at {target.uri}: "
            "somebody else's, or the result, stored by a try that was killed before it could record that. "
            f"Nothing is paid again. If it is the result, move it to {target.beside(own).uri} and clear this "
            "task: it is taken from there. If it is not, move it away: on_missing_output decides then",
            task_id=record.task_id,
            content_key=record.content_key,
        )

    def _make_room(self, record: TaskRecord, target: Target, source: Downloaded) -> Target:
        """Return where the bytes may go: the wanted place, or beside it where that holds a foreign file."""
        if target.stat() is None:
            return target
        occupant = self.ledger.landing_at(target.uri)
        if occupant is not None and result_of(occupant) != result_of(record):
            safe = target.beside(kept_name(occupant, occupant.content_type))
            if self.intact(occupant, target):
                # Copied, told, and only then overwritten: a kill between two of these loses neither result.
                target.copy_to(safe)
                self.ledger.move_landing(target.uri, safe.uri, etag=copied(occupant, safe).etag)
                log.info("%s held another result; that is now at %s.", target.uri, safe.uri)
                return target
        # A kill between publishing and recording leaves our own bytes with no record of them.
        if (digest := target.sha256()) == source.sha256:
            return target
        if self.overwrite:
            self.keep_others(target, digest)
            return target
        if self._is_copy(target, digest):
            return target
        return target.beside(kept_name(record, source.content_type))

    def keep_others(self, target: Target, digest: str) -> None:
        """
        Keep what is about to be overwritten safe where it is a result of this product all the same.

        One place has many names (a linked folder, two connections to one bucket), and the ledger knows the
        one that was used. So the bytes are asked for, unless they are certainly at another place as well.

        :param digest: of the file that stands there; it is not what is to be put there.
        """
        for landing in self.ledger.landings_with(digest):
            if self._is_elsewhere(landing, target, digest):
                continue
            safe = target.beside(kept_name(landing, landing.content_type))
            target.copy_to(safe)
            self.ledger.move_landing(landing.uri, safe.uri, etag=copied(landing, safe).etag)
            log.info("%s held another result (%s); that is now at %s.", target.uri, landing.uri, safe.uri)

    def _is_elsewhere(self, landing: LandingRecord, target: Target, digest: str) -> bool:
        try:
            place = self.resolve(landing.uri)
            if place.is_same_file(target) or place.stat() is None:
                return False
            return place.sha256() == digest
        except (JimengLandingError, JimengInputError) as error:
            log.warning("An earlier landing can't be read: %s", error)
            return False

    def _is_copy(self, target: Target, digest: str) -> bool:
        """Return whether the file is the leftover of one that is safe, as a kill while making room leaves."""
        folder = target.beside("").uri
        for landing in self.ledger.landings_with(digest):
            if landing.uri.startswith(folder) and self.intact(landing, self.resolve(landing.uri)):
                return True
        return False


def _part_of(record: TaskRecord, part: int) -> TaskRecord:
    """Return the row as the landings of one of its results know it."""
    return record if part == 1 else replace(record, content_key=part_key(record.content_key, part))


def _out_of_reach(landing: LandingRecord, error: JimengError) -> JimengLandingError:
    """Return what to say of a copy that can't be read, where the vendor no longer has the result."""
    return JimengLandingError(
        "The vendor no longer gives out this result. It was landed at a place that can't be read now: "
        f"{error.message.partition('. The ')[0]}. The file may be there, so nothing is paid again. Make the "
        "place readable (its store, its connection, the filesystem's package): a later try copies it from "
        f"there. If the file is gone for good, `ledger forget {landing.uri}` lets on_missing_output decide",
        content_key=landing.content_key,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_landed(landing: LandingRecord) -> Landed:
    return Landed(landing.uri, landing.size, landing.sha256, landing.content_type, fresh=False)
