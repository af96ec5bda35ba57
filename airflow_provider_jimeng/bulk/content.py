# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One content of a manifest at work, where its results lie, and the fate of its lines."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.codes import RULES
from airflow_provider_jimeng.bulk.items import BadLine, Fate, Item, Outcome
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengInputChangedError,
    JimengInputError,
    JimengMissingOutputError,
    JimengOutputExistsError,
    JimengTaskExpiredError,
    JimengUnknownSubmitError,
    JimengUnreadableInputError,
)
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.media.target import NOTE, SAFE_FOLDER, Target

if TYPE_CHECKING:
    from collections import deque

    from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
    from airflow_provider_jimeng.lifecycle.land import Landed
    from airflow_provider_jimeng.lifecycle.wanted import Superseded, Wanted


@dataclass(slots=True, eq=False)
class Content:
    """
    A content that the run works on, and the lines that want it.

    :param supersede: a row that the user chose to pay for again.
    :param record: its newest row, as far as this run has seen it.
    :param url: the result's URL as the last answer gave it; a secret that lives an hour.
    :param url_until: monotonic seconds until which it is worth trying.
    :param not_before: monotonic seconds before which it is left alone after trouble.
    :param troubles: troubles in a row.
    :param trouble_since: monotonic seconds of the first of them.
    :param stray: whether no line wants it: what was paid is brought home, and nothing is paid any more.
    :param doubtful: whether its task may be another account's: the vendor is asked first whether it has it.
    :param given_up: whether its task was given up since the last one was in hand: its places and inputs are
        looked at before it is paid for again.
    :param lost: its row, where that was proven lost and is to be paid for again.
    :param lost_at: monotonic seconds of the proof.
    """

    wanted: Wanted
    items: list[Item]
    supersede: Superseded | None = None
    record: TaskRecord | None = None
    url: str | None = field(default=None, repr=False)
    url_until: float = 0.0
    not_before: float = 0.0
    troubles: int = 0
    trouble_since: float = 0.0
    stray: bool = False
    doubtful: bool = False
    given_up: bool = False
    lost: TaskRecord | None = None
    lost_at: float = 0.0

    @property
    def key(self) -> str:
        """The content's key."""
        return self.wanted.key

    def calm(self) -> None:
        """Forget past trouble."""
        self.not_before, self.troubles, self.trouble_since = 0.0, 0, 0.0

    def trouble(self, now: float, delay: float) -> None:
        """Leave it alone for a while."""
        self.trouble_since = self.trouble_since if self.troubles else now
        self.troubles += 1
        self.not_before = now + delay


def first_due(waiting: deque[Content], now: float) -> Content | None:
    """Take the first content out of a queue that may go on now."""
    for at, content in enumerate(waiting):
        if content.not_before <= now:
            del waiting[at]
            return content
    return None


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of a run's outputs."""

    target: Target

    def child(self, *names: str) -> Target:
        """Return a file in the folder."""
        here = self.target
        return Target(
            here.fs, posixpath.join(here.path.rstrip("/"), *names), "/".join((here.uri.rstrip("/"), *names))
        )

    def output(self, name: str) -> Target:
        """Return where an item's result is wanted."""
        return self.child(f"{name}.mp4")

    def safe(self, record: TaskRecord) -> Target:
        """Return where a result's bytes land, under a name that no other content can take."""
        return self.child(SAFE_FOLDER, f"{record.content_key}-{record.attempt}.mp4")

    @property
    def note(self) -> Target:
        """Where the ledger's identity is noted."""
        return self.child(SAFE_FOLDER, NOTE)


@dataclass(frozen=True, slots=True)
class Mine:
    """
    Tells what this run paid for from what it found.

    :param since: epoch seconds; rows before it belong to an earlier run of a DAG run that was cleared.
    """

    provenance: Provenance
    since: float | None

    def made(self, record: TaskRecord) -> bool:
        """Return whether this run, in any of its tries, made the row."""
        return record.attempt_scope == self.provenance.attempt_scope and (
            self.since is None or record.created_at >= self.since
        )

    def refused_for_good(self, record: TaskRecord) -> bool:
        """Return whether the vendor refused the content's input in this run: asking it again is in vain."""
        rule = RULES.get(record.code) if record.code is not None else None
        return (
            record.state is TaskState.REJECTED
            and rule is not None
            and issubclass(rule.error, JimengInputError)
            and self.made(record)
        )


def outcome_of(error: JimengError) -> Outcome:
    """Return what an error makes of an item."""
    if isinstance(error, JimengUnknownSubmitError):
        return Outcome.UNKNOWN
    if isinstance(error, (JimengTaskExpiredError, JimengMissingOutputError)):
        return Outcome.EXPIRED
    if isinstance(error, (JimengInputChangedError, JimengUnreadableInputError)) or (
        isinstance(error, JimengInputError) and error.code is None
    ):
        return Outcome.INVALID
    return Outcome.FAILED


def outcome_before_submit(error: JimengError, content: Content | None = None) -> Outcome:
    """
    Return what an error makes of an item that was about to be submitted.

    :param content: where a task of it was given up, that one may be billed, and the error says so.
    """
    occupied = isinstance(error, JimengOutputExistsError)
    outcome = Outcome.INVALID if occupied else outcome_of(error)
    if content is None or not content.given_up:
        return outcome
    if not occupied:
        error.message = left_out(content.record, error.message)
    return outcome if outcome is Outcome.UNKNOWN else Outcome.EXPIRED


def left_out(record: TaskRecord | None, why: str) -> str:
    """Return why a line was left out, and what its content may have cost before."""
    if record is not None and record.state is TaskState.EXPIRED:
        return f"{why}. An earlier task of this content, {record.task_id}, was given up and may be billed"
    if record is not None and record.state is TaskState.UNKNOWN and not record.never_sent:
        return f"{why}. Nobody knows whether an earlier submit of this content was accepted: it may be billed"
    return why


def two_of_one_id(task_id: str, other: Content) -> str:
    """Return why a content is not waited for: the vendor's task of that id is taken for another's."""
    return (
        f"the vendor answered this submit with the id of a task that it gave to another content as well, "
        f"{other.key}: whose task {task_id} is can't be told. It may be billed, and it is not submitted again"
    )


def fate_of(
    item: Item,
    outcome: Outcome,
    *,
    key: str | None,
    record: TaskRecord | None = None,
    landed: Landed | None = None,
    error: JimengError | str | None = None,
) -> Fate:
    """Return the fate of a line."""
    code = record.code if record is not None else None
    words = None
    if isinstance(error, JimengError):
        words, code = error.message, error.code if error.code is not None else code
    elif error is not None:
        words = error
    if record is None:
        return Fate(item.line, item.id, outcome, content_key=key, code=code, error=words)
    return Fate(
        item.line,
        item.id,
        outcome,
        content_key=key,
        task_id=record.task_id,
        attempts=record.attempt,
        code=code,
        message=record.message or None,
        uri=None if landed is None else landed.uri,
        bytes=None if landed is None else landed.bytes,
        sha256=None if landed is None else landed.sha256,
        submitted_at=record.submitted_at,
        finished_at=record.finished_at,
        elapsed=record.elapsed,
        error=words,
    )


def fate_of_bad_line(bad: BadLine) -> Fate:
    """Return the fate of a line in bad form."""
    return Fate(bad.line, bad.id, Outcome.INVALID, error=bad.reason)
