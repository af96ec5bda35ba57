# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What goes into the ledger and what comes out of it, as values.

All times are float seconds since the epoch, read from the *database's* clock: the clocks of the machines that
share a ledger disagree, and some of them sleep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_provider_jimeng.exceptions import JimengLedgerError

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.states import TaskState

__all__ = [
    "DEFAULT_EXPECTED_SECONDS",
    "RESUBMIT_DEADLINES",
    "Claim",
    "ClaimRequest",
    "Claimed",
    "Found",
    "LandingRecord",
    "LostRace",
    "MustWait",
    "Provenance",
    "Refused",
    "Scope",
    "SlotView",
    "TaskRecord",
    "TooEarly",
]

#: Vendor facts, section 4: about 18 s per second of video, a 10 s clip takes about 180 s.
DEFAULT_EXPECTED_SECONDS = 180.0

#: A resubmission of an unknown waits this many send deadlines, counted from the send.
RESUBMIT_DEADLINES = 3


class LostRace(JimengLedgerError):
    """
    The row is no longer where the caller saw it: somebody else moved it, or the owner came too late.

    Nothing was written and nothing was sent. Read the row again and decide anew.
    """


class TooEarly(LostRace):
    """
    An unknown is too young to be released: its send may still be on its way.

    :ivar retry_after_seconds: seconds until the release is allowed.
    """

    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What the vendor counts slots for, and what one row of limits stands for.

    :param account: the account's name in the ledger, never a secret.
    :param endpoint: the endpoint's host and region.
    :param req_key: the vendor's name of the model.
    """

    account: str
    endpoint: str
    req_key: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who asked: kept so that money can be explained later."""

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0

    @property
    def attempt_scope(self) -> str:
        """Within what attempts and budgets are counted: one task instance whatever its try."""
        return f"{self.dag_id}/{self.run_id}/{self.task_id}/{self.map_index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """
    One attempt at one content.

    :param revision: grows by one with every change; moves are compare-and-set on it.
    :param inputs: the canonical inputs as JSON text, without presigned query parameters.
    :param task_id: the vendor's task id.
    :param new_attempt_allowed: whether the vendor's bad verdict allows another attempt.
    :param possibly_billed: money may have been spent that no result stands for (yet).
    :param extra: an id that arrived when a newer attempt, or another id, already stood in its place.
    :param superseded: a newer attempt replaced this row on purpose.
    :param origin_id: for a row that only keeps a further id, the row whose send brought it.
    :param owner: the process that may send for this row.
    :param sent_at: when the last send began; ``None`` means that nothing was ever sent.
    :param send_count: number of sends that began.
    :param send_deadline: seconds that one send may take in all.
    :param elapsed: seconds from submit to the verdict's record.
    :param processing_seconds: seconds that the vendor took, where the end was seen closely enough to learn
        from.
    :param validators: etag, last-modified and size per input as JSON text, where they are known.
    :param expected_seconds: expected processing time; 1.5 times of it an unknown counts as a busy slot.
    :param note: what people and late answers did to this row, oldest first, one per line.
    """

    id: int
    content_key: str
    attempt: int
    state: TaskState
    revision: int
    scope: Scope
    inputs: str
    variant: int
    force_new: str | None
    owner: str
    provenance: Provenance
    created_at: float
    send_deadline: float
    expected_seconds: float
    task_id: str | None = None
    request_id: str | None = None
    code: int | None = None
    message: str = ""
    new_attempt_allowed: bool = False
    possibly_billed: bool = False
    extra: bool = False
    superseded: bool = False
    origin_id: int | None = None
    sent_at: float | None = None
    send_count: int = 0
    submitted_at: float | None = None
    finished_at: float | None = None
    landed_at: float | None = None
    elapsed: float | None = None
    processing_seconds: float | None = None
    validators: str | None = None
    note: str = ""

    @property
    def attempt_scope(self) -> str:
        """The scope of :attr:`provenance` within which attempts are counted."""
        return self.provenance.attempt_scope

    @property
    def base(self) -> float:
        """From when the deadline of this row's send runs: the send, else the intent."""
        return self.created_at if self.sent_at is None else self.sent_at

    @property
    def never_sent(self) -> bool:
        """Whether it is certain that no send ever began: then nothing was paid, whatever the state says."""
        return self.send_count == 0 and self.task_id is None

    @property
    def resubmit_age_seconds(self) -> float:
        """How old (from :attr:`base`) an unknown must be before it may be resubmitted by itself."""
        return RESUBMIT_DEADLINES * self.send_deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingRecord:
    """One place where the result of an attempt lies."""

    id: int
    content_key: str
    attempt: int
    uri: str
    size: int
    etag: str | None
    sha256: str
    content_type: str | None
    landed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """
    A wish to submit one content now.

    :param content_key: see :func:`airflow_provider_jimeng.ledger.keys.content_key`.
    :param inputs: canonical inputs as JSON text (:func:`~airflow_provider_jimeng.ledger.keys.inputs_json`).
    :param owner: a token of this execution and no other (a fresh UUID): who repeats a claim with it gets its
        own unsent intent back as :class:`Claimed`, so that a commit that failed after it was applied is
        harmless.
    :param waiter: who queues: stable over retries and deferrals of one Airflow task instance.
    :param configured_limit: slots from the connection; ``None``: learned.
    :param send_deadline: seconds that one send may take in all.
    :param max_attempts: how many attempts (rejected ones aside) this provenance may make for this content.
    :param daily_submit_limit: most new submits of the account per UTC day.
    :param budget: most new submits of this provenance's attempt scope, over all contents.
    :param expected_latest: id of the row that :meth:`Ledger.latest` showed the caller, ``None`` where there
        was none.
    :param supersede: replace that row although it is succeeded, landed or expired.
    :param expected_revision: of that row as the caller judged it: one that came back or was landed since is
        not replaced; ``None``: whatever became of it.
    """

    content_key: str
    scope: Scope
    inputs: str
    provenance: Provenance
    owner: str
    waiter: str
    variant: int = 0
    force_new: str | None = None
    configured_limit: int | None = None
    send_deadline: float = 60.0
    expected_seconds: float = DEFAULT_EXPECTED_SECONDS
    max_attempts: int | None = None
    daily_submit_limit: int | None = None
    budget: int | None = None
    expected_latest: int | None = None
    supersede: bool = False
    validators: str | None = None
    expected_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The slot and the intent are this owner's: the next step is :meth:`Ledger.begin_send`."""

    record: TaskRecord


@dataclass(frozen=True, slots=True)
class Found:
    """A row stands in the way that the caller has not judged yet: adopt it, wait for it, or decide anew."""

    record: TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class MustWait:
    """
    No slot now; a FIFO ticket is kept and no task row was written.

    :param reason: ``slots``: all are busy; ``cooldown``: the vendor asked to slow down; ``queue``: others
        were first.
    :param retry_after_seconds: a fair time to come back where nobody wakes the caller.
    :param holders: the rows that count as busy, oldest first. Some may be done at the vendor: a query is
        free, and recording its verdict frees the slot.
    :param ahead: number of older tickets.
    """

    reason: Literal["slots", "cooldown", "queue"]
    ticket_id: int
    in_use: int
    limit: int
    retry_after_seconds: float
    holders: tuple[TaskRecord, ...] = field(repr=False)
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A spending rule says no; no row and no ticket is kept."""

    reason: Literal["paused", "breaker", "daily_limit", "budget", "attempts"]
    message: str


Claim = Claimed | Found | MustWait | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """
    What a waiter may know without writing.

    :param now: the database's clock.
    :param cooldown_until: end of the shared cool-down, ``None`` where there is none now.
    :param entitled: ids of the tickets that may claim now.
    :param waiting: ids of all tickets, first come first.
    :param blocked: why every claim would be refused now (pause switch, breaker), ``None`` where nothing
        blocks.
    """

    now: float
    in_use: int
    limit: int
    cooldown_until: float | None
    entitled: frozenset[int]
    holders: tuple[TaskRecord, ...] = field(repr=False)
    waiting: tuple[int, ...] = field(default=(), repr=False)
    blocked: str | None = None
