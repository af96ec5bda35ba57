# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The ledger: the durable truth about what was asked for, paid for and landed.

One method per question or move, each in one transaction of its own. A method that returns has been committed;
one that raises :class:`~airflow_provider_jimeng.exceptions.JimengLedgerError` may be repeated as it was: a
move finds what it did before. "I could not read" is an error, never an empty answer.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Literal, TypeVar

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger import landings, late_ids, limits, moves, rows, views
from airflow_provider_jimeng.ledger.claim import claim
from airflow_provider_jimeng.ledger.engine import Database, database_for, read_clock
from airflow_provider_jimeng.ledger.identity import Identified
from airflow_provider_jimeng.ledger.lookup import BatchQuestions
from airflow_provider_jimeng.ledger.records import (
    Claim,
    ClaimRequest,
    LandingRecord,
    LostRace,
    Scope,
    SlotView,
    TaskRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

__all__ = ["Ledger"]

T = TypeVar("T")


class Ledger(BatchQuestions, Identified):
    """
    A ledger at a database; thread-safe, usable after a fork, cheap to make (engines are shared per process).

    The schema is created or migrated on first use.

    :param url: a SQLAlchemy URL of SQLite (a file), PostgreSQL or MySQL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # By process, row and revision: sends that were asked for and whose answer got lost.
        self._unanswered: dict[tuple[int, int, int], str] = {}

    @classmethod
    def open(cls, url: str) -> Ledger:
        """
        Return a ledger that is known to answer.

        :raises JimengLedgerError: it doesn't, or a newer release wrote it.
        """
        ledger = cls(url)
        _ = ledger.uuid
        return ledger

    @property
    def _database(self) -> Database:
        return database_for(self._url)

    def _read(self, question: Callable[[Connection], T]) -> T:
        return self._database.read(question)

    def now(self) -> float:
        """Return the database's clock, in epoch seconds."""
        return self._database.read(read_clock)

    def close(self) -> None:
        """Close idle connections; the next use opens new ones."""
        self._database.dispose()

    # -- questions
    # ---------------------------------------------------------------------------------------------

    def latest(self, content_key: str) -> TaskRecord | None:
        """Return what stands for a content: its live row, else its newest attempt."""
        return self._database.read(lambda conn: views.latest(conn, content_key))

    def history(self, content_key: str) -> list[TaskRecord]:
        """Return every attempt at a content, oldest first."""
        return self._database.read(lambda conn: views.history(conn, content_key))

    def get(self, record_id: int) -> TaskRecord | None:
        """Return a row by its number."""
        return self._database.read(lambda conn: rows.get(conn, record_id))

    def by_task_id(self, task_id: str, scope: Scope | None = None) -> TaskRecord | None:
        """Return the row that keeps a vendor's id (the newest, where two accounts have the same)."""
        return self._database.read(lambda conn: views.by_task_id(conn, task_id, scope))

    def landings(self, content_key: str) -> list[LandingRecord]:
        """Return where a content's results lie, newest first."""
        return self._database.read(lambda conn: views.landings_of(conn, content_key))

    def landings_with(self, sha256: str) -> list[LandingRecord]:
        """Return every landing of the same bytes, whatever its content."""
        return self._database.read(lambda conn: views.landings_with(conn, sha256))

    def landing_at(self, uri: str) -> LandingRecord | None:
        """Return what this product put at a place."""
        return self._database.read(lambda conn: views.landing_at(conn, uri))

    def attempts_in(self, content_key: str, attempt_scope: str) -> int:
        """Return how many attempts at a content one task instance made, rejected ones aside."""
        return self._database.read(lambda conn: views.attempts_in(conn, content_key, attempt_scope))

    def typical_seconds(self, scope: Scope) -> float | None:
        """Return the median processing time of the last 20 successes of a scope."""
        return self._database.read(lambda conn: views.typical_seconds(conn, scope))

    def slot_view(self, scope: Scope, configured_limit: int | None) -> SlotView:
        """
        Return whose turn it is; writes nothing, so a trigger may ask.

        :param configured_limit: slots from the connection, ``None``: learned.
        """
        return self._database.read(lambda conn: limits.slot_view(conn, scope, configured_limit))

    # -- the claim and the send
    # --------------------------------------------------------------------------------

    def claim(self, request: ClaimRequest) -> Claim:
        """
        Ask for a slot and the right to submit one content.

        ``Claimed``: the intent is written; the next step is :meth:`begin_send`. ``Found``: a row stands in
        the way: a live one, or one that is newer than ``expected_latest``; a final bad verdict, and an
        expired row without ``supersede``, stand in the way always. ``MustWait``: no slot; a ticket is kept.
        ``Refused``: a spending rule says no.

        Repeating a claim after an error is safe: an owner gets its own intent back as long as nothing was
        sent.

        :raises JimengLedgerError: the ledger is silent, or the row that the caller saw is gone.
        """
        return self._database.write(lambda conn: claim(conn, request))

    def begin_send(self, record: TaskRecord) -> TaskRecord:
        """
        Allow exactly one send, which must begin at once; a further send (signed anew) needs a further call.

        The last word is the owner's own: a process can be suspended between this call and its socket.

        :raises LostRace: the row was moved, or is older than its deadline by the database's clock: don't
            send.
        :raises JimengLedgerError: nobody knows whether the permission was written: don't send; asking again
            with the same record is safe.
        """
        key = (os.getpid(), record.id, record.revision)
        token = self._unanswered.pop(key, None) or uuid.uuid4().hex
        try:
            return self._database.write(lambda conn: moves.begin_send(conn, record, token))
        except LostRace:
            raise
        except JimengLedgerError:
            self._unanswered[key] = token
            raise

    # -- outcomes of a send
    # ------------------------------------------------------------------------------------

    def record_created(self, record: TaskRecord, task_id: str, request_id: str | None = None) -> TaskRecord:
        """
        Keep the vendor's id; it is never refused, however late it comes and whatever became of the row.

        Where the row can't take it (another id, a closed row, a newer live attempt), the returned row is an
        ``extra`` one that is possibly billed. Repeat it until it returns: a lost id is lost money.

        :raises JimengLedgerError: the ledger is silent.
        """
        return self._database.write(
            lambda conn: late_ids.record_created(conn, record, task_id=task_id, request_id=request_id)
        )

    def record_rejected(
        self, record: TaskRecord, *, code: int | None = None, message: str, request_id: str | None = None
    ) -> TaskRecord:
        """
        Write that nothing was created; a row that others took for unknown meanwhile is released instead.

        :raises LostRace: the row stands elsewhere.
        """
        return self._database.write(
            lambda conn: moves.record_rejected(
                conn, record, code=code, message=message, request_id=request_id
            )
        )

    def record_unknown(
        self, record: TaskRecord, *, message: str, code: int | None = None, request_id: str | None = None
    ) -> TaskRecord:
        """
        Write that nobody knows whether a task was created.

        :raises LostRace: the row stands elsewhere (a late answer may have brought the id).
        """
        return self._database.write(
            lambda conn: moves.record_unknown(conn, record, message=message, code=code, request_id=request_id)
        )

    def release(
        self, record_id: int, *, reason: str, by: str, min_age_seconds: float | None = None
    ) -> TaskRecord:
        """
        Give an unknown free for another attempt.

        :param min_age_seconds: how old its send must be; ``TaskRecord.resubmit_age_seconds`` where no person
            decides. ``None``: a person looked and takes the risk.
        :raises TooEarly: it is younger.
        :raises LostRace: it is not an unknown.
        """
        return self._database.write(
            lambda conn: moves.release(conn, record_id, reason=reason, by=by, min_age_seconds=min_age_seconds)
        )

    def adopt(self, record_id: int, task_id: str, by: str) -> TaskRecord:
        """
        Write the id that a person found for an intent, an unknown or a released row.

        :raises LostRace: the row takes no id, or another row keeps it already.
        """
        return self._database.write(lambda conn: late_ids.adopt(conn, record_id, task_id, by))

    # -- verdicts
    # ----------------------------------------------------------------------------------------------

    def record_succeeded(
        self,
        record: TaskRecord,
        *,
        request_id: str | None = None,
        code: int | None = None,
        processing: float | None = None,
    ) -> TaskRecord:
        """
        Write the vendor's good verdict and free the slot.

        :param processing: seconds that the vendor took, where the end was seen closely; teaches
            :meth:`typical_seconds`.
        :raises LostRace: the row stands elsewhere.
        """
        return self._database.write(
            lambda conn: moves.record_succeeded(
                conn, record, request_id=request_id, code=code, processing=processing
            )
        )

    def record_failed(
        self,
        record: TaskRecord,
        *,
        code: int | None = None,
        message: str,
        request_id: str | None = None,
        new_attempt: bool = False,
    ) -> TaskRecord:
        """
        Write the vendor's bad verdict and free the slot.

        :param new_attempt: whether the vendor allows another attempt; without it the verdict stays final.
        :raises LostRace: the row stands elsewhere.
        """
        return self._database.write(
            lambda conn: moves.record_failed(
                conn, record, code=code, message=message, request_id=request_id, new_attempt=new_attempt
            )
        )

    def record_expired(self, record: TaskRecord, *, code: int | None = None, message: str) -> TaskRecord:
        """
        Write that the result was not harvested within 12 hours, or that the vendor no longer knows the task.

        :raises LostRace: the row stands elsewhere.
        """
        return self._database.write(
            lambda conn: moves.record_expired(conn, record, code=code, message=message)
        )

    # -- landings
    # ----------------------------------------------------------------------------------------------

    def record_landing(
        self,
        record: TaskRecord,
        *,
        uri: str,
        size: int,
        etag: str | None = None,
        sha256: str,
        content_type: str | None = None,
        part: int = 1,
    ) -> LandingRecord:
        """
        Write that the result lies at a place, after it does; the first landing makes the row ``landed``.

        :param part: which of a task's results, where it made several; a further one changes no row.
        :raises LostRace: the row is neither succeeded nor landed.
        """
        return self._database.write(
            lambda conn: landings.record_landing(
                conn,
                record,
                uri=uri,
                size=size,
                etag=etag,
                sha256=sha256,
                content_type=content_type,
                part=part,
            )
        )

    def move_landing(self, old_uri: str, new_uri: str, *, etag: str | None = None) -> LandingRecord:
        """
        Write that a result was moved to another place, where the store gave it an etag of its own.

        :raises LostRace: the ledger knows of a landing at neither place.
        """
        return self._database.write(lambda conn: landings.move_landing(conn, old_uri, new_uri, etag=etag))

    def renew_etag(self, landing: LandingRecord, etag: str | None) -> None:
        """Write that a store gave a landed file, whose bytes were compared, another etag."""
        self._database.write(lambda conn: landings.renew_etag(conn, landing, etag))

    def asked_again(self, record: TaskRecord, try_number: int) -> None:
        """Write that a later try of its own task instance goes on with a row, as if it had begun it."""
        self._database.write(lambda conn: moves.asked_again(conn, record, try_number))

    def forget_landing(self, uri: str) -> bool:
        """Write that nothing lies at a place any more; tell whether the ledger thought so."""
        return self._database.write(lambda conn: landings.forget_landing(conn, uri))

    # -- what all processes share about a scope

    def note_refused(
        self,
        scope: Scope,
        *,
        kind: Literal["rate", "concurrency"],
        in_use: int | None = None,
        retry_after: float | None = None,
        jitter: float = 0.0,
    ) -> None:
        """
        Begin the shared cool-down after a refusal.

        ``rate`` is 50429 and the gateway's flow limit; ``concurrency`` is 50430, which also teaches a limit.
        Write the row's own outcome (:meth:`record_rejected`) as well.

        :param in_use: tasks that ran at the vendor when it refused; ``None``: as the ledger knows.
        :param retry_after: seconds the vendor asked for.
        :param jitter: in [0, 1); spreads the wake-ups.
        """
        self._database.write(
            lambda conn: limits.note_refused(
                conn,
                scope,
                concurrency=kind == "concurrency",
                in_use=in_use,
                retry_after=retry_after,
                jitter=jitter,
            )
        )

    def note_misconfigured(self, scope: Scope, *, reason: str, jitter: float = 0.0) -> None:
        """Count a refusal for the account's set-up: the third in a row opens the breaker, for a while."""
        self._database.write(
            lambda conn: limits.note_misconfigured(conn, scope, reason=reason, jitter=jitter)
        )

    def pause(self, account: str, by: str, reason: str) -> None:
        """Stop every claim of an account; when this returns, none that began before is still under way."""
        self._database.write(lambda conn: limits.set_paused(conn, account, by=by, reason=reason, paused=True))

    def resume(self, account: str, by: str, reason: str) -> None:
        """Undo :meth:`pause`."""
        self._database.write(
            lambda conn: limits.set_paused(conn, account, by=by, reason=reason, paused=False)
        )

    def trip_breaker(self, scope: Scope, reason: str) -> None:
        """Stop every claim of a scope until :meth:`clear_breaker`."""
        self._database.write(lambda conn: limits.set_breaker(conn, scope, reason))

    def clear_breaker(self, scope: Scope) -> None:
        """Undo :meth:`trip_breaker`."""
        self._database.write(lambda conn: limits.set_breaker(conn, scope, None))

    def drop_ticket(self, scope: Scope, waiter: str) -> None:
        """Leave the queue, so that nobody waits for a waiter that gave up."""
        self._database.write(lambda conn: limits.drop_ticket(conn, scope, waiter))
