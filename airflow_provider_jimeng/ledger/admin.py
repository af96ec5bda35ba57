# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The ledger for the people who look after it: lists, counts, and changes by hand.

Operators, hooks and triggers use :class:`~airflow_provider_jimeng.ledger.store.Ledger`; this is for commands.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger import census, limits, listing, runs, upkeep, views
from airflow_provider_jimeng.ledger.engine import Database, database_for, read_clock
from airflow_provider_jimeng.ledger.identity import Identified
from airflow_provider_jimeng.ledger.parts import keys_of
from airflow_provider_jimeng.ledger.rows import get

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from airflow_provider_jimeng.ledger.records import LandingRecord, Scope, TaskRecord
    from airflow_provider_jimeng.ledger.states import TaskState

__all__ = ["LedgerAdmin", "NoLedger"]

#: Rows deleted in one transaction: others wait for no longer than that. Old SQLites take 999 parameters.
_BATCH = 900


class NoLedger(JimengLedgerError):
    """The database is there and holds no ledger. Whoever asks by hand must not make an empty one."""


class LedgerAdmin(Identified):
    """
    A ledger that is there.

    :param url: a SQLAlchemy URL of SQLite (a file), PostgreSQL or MySQL.
    :raises NoLedger: there is none at this place; none is made.
    :raises JimengLedgerError: the database can't be reached, or a newer release wrote the ledger.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        if not self._database.holds_ledger():
            raise NoLedger(
                f"There is no ledger at {self.place}. The first submit makes one; until then nothing was "
                "submitted through it. Nothing was changed. If there should be one, correct [jimeng] "
                "ledger_conn_id or ledger_url, AIRFLOW_HOME, or --ledger-url."
            )

    @property
    def _database(self) -> Database:
        return database_for(self._url)

    # -- questions
    # ---------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the database's clock, in epoch seconds."""
        return self._database.read(read_clock)

    def page(self, wanted: listing.Wanted, *, after: TaskRecord | None = None, limit: int) -> listing.Page:
        """
        Return a page of rows, newest first.

        :param after: the last row of the page before.
        """
        place = None if after is None else (after.created_at, after.id)
        return self._database.read(lambda conn: listing.newest_first(conn, wanted, after=place, limit=limit))

    def get(self, record_id: int) -> TaskRecord | None:
        """Return a row by its number."""
        return self._database.read(lambda conn: get(conn, record_id))

    def latest(self, content_key: str) -> TaskRecord | None:
        """Return what stands for a content: its live row, else its newest attempt."""
        return self._database.read(lambda conn: views.latest(conn, content_key))

    def history(self, content_key: str) -> list[TaskRecord]:
        """Return every attempt at a content, oldest first."""
        return self._database.read(lambda conn: views.history(conn, content_key))

    def by_task_id(self, task_id: str) -> TaskRecord | None:
        """Return the row that keeps a vendor's id."""
        return self._database.read(lambda conn: views.by_task_id(conn, task_id, None))

    def landing_at(self, uri: str) -> LandingRecord | None:
        """Return what this product put at a place."""
        return self._database.read(lambda conn: views.landing_at(conn, uri))

    def keys_with_prefix(self, prefix: str, limit: int) -> list[str]:
        """Return the content keys that begin with some hexadecimal digits."""
        return self._database.read(lambda conn: listing.with_key_prefix(conn, prefix, limit))

    def landings_of(self, records: Iterable[TaskRecord]) -> dict[tuple[str, int], Sequence[LandingRecord]]:
        """Return where the results of some rows lie, by content key and attempt."""
        keys = {key for record in records for key in keys_of(record.content_key, record.scope.req_key)}
        return self._database.read(lambda conn: listing.landings_by_key(conn, keys))

    def run_view(self, attempt_scopes: Collection[str]) -> runs.RunView:
        """Return what some task instances came to so far."""
        return self._database.read(lambda conn: runs.run_view(conn, attempt_scopes))

    def rows_of_run(
        self,
        attempt_scopes: Collection[str],
        states: Collection[TaskState],
        *,
        before: int | None = None,
        limit: int,
    ) -> list[TaskRecord]:
        """Return some rows of some task instances, newest first; see :func:`.runs.rows_of_run`."""
        return self._database.read(
            lambda conn: runs.rows_of_run(conn, attempt_scopes, states, before=before, limit=limit)
        )

    def census(self, account: str | None = None) -> list[census.AccountCensus]:
        """Count rows, slots, waiters and spending, per account, endpoint and req_key."""
        return self._database.read(lambda conn: census.census(conn, account))

    def switches(self, account: str) -> list[str]:
        """Return what stops the claims of an account now, each with its reason."""
        return self._database.read(lambda conn: census.switches(conn, account))

    # -- changes, each with who and why
    # ------------------------------------------------------------------------

    def release(
        self, record_id: int, *, reason: str, by: str, min_age_seconds: float | None = None
    ) -> TaskRecord:
        """Give an unknown free for another attempt; see :func:`.upkeep.release`."""
        return self._database.write(
            lambda conn: upkeep.release(
                conn, record_id, reason=reason, by=by, min_age_seconds=min_age_seconds
            )
        )

    def adopt(self, record_id: int, task_id: str, *, reason: str, by: str) -> TaskRecord:
        """Keep an id that a person found; see :func:`.upkeep.adopt`."""
        return self._database.write(lambda conn: upkeep.adopt(conn, record_id, task_id, by=f"{by}: {reason}"))

    def forget_row(self, seen: TaskRecord, *, reason: str, by: str) -> TaskRecord:
        """Delete a row with its landings; see :func:`.upkeep.forget_row`."""
        return self._database.write(lambda conn: upkeep.forget_row(conn, seen, reason=reason, by=by))

    def forget_landing(self, uri: str, *, reason: str, by: str) -> LandingRecord:
        """Write that nothing lies at a place any more; see :func:`.upkeep.forget_landing`."""
        return self._database.write(lambda conn: upkeep.forget_landing(conn, uri, reason=reason, by=by))

    def pause(self, account: str, *, reason: str, by: str) -> None:
        """Stop every claim of an account; when this returns, none that began before is still under way."""
        self._database.write(lambda conn: limits.set_paused(conn, account, by=by, reason=reason, paused=True))

    def resume(self, account: str, *, reason: str, by: str) -> list[Scope]:
        """Undo a pause and close the account's circuit breakers; return the scopes of those."""
        return self._database.write(lambda conn: upkeep.resume(conn, account, reason=reason, by=by))

    def prunable(self, what: upkeep.Prunable) -> Mapping[tuple[str, TaskState], int]:
        """Count the rows that :meth:`prune` would delete, per account and state."""
        return self._database.read(lambda conn: upkeep.prunable(conn, what))

    def prune(
        self,
        what: upkeep.Prunable,
        counted: Mapping[tuple[str, TaskState], int],
        *,
        reason: str,
        by: str,
        progress: Callable[[int], None] = lambda deleted: None,
    ) -> Mapping[tuple[str, TaskState], int]:
        """
        Delete finished rows in short transactions, so that claims go on meanwhile; return what went.

        It can be interrupted at any time and begun again.

        :param counted: what :meth:`prunable` told, for the accounts' notes.
        :param progress: told the number of rows that are gone, now and then.
        """
        for account in sorted({account for account, _ in counted}):
            numbers = ", ".join(
                f"{number} {state}" for (owner, state), number in sorted(counted.items()) if owner == account
            )
            words = f"pruning of {numbers} begun by {by}: {reason}"
            self._note_pruning(account, words)
        gone: Counter[tuple[str, TaskState]] = Counter()
        while some := self._database.write(lambda conn: upkeep.prune_some(conn, what, limit=_BATCH)):
            gone.update(some)
            progress(gone.total())
        return gone

    def _note_pruning(self, account: str, words: str) -> None:
        self._database.write(lambda conn: upkeep.note_pruning(conn, account, words))
