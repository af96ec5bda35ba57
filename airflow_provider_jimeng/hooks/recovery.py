# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Submits of unknown outcome, from within a DAG: listed for people, and settled where a person says how."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.validation import check_task_id
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.hooks.jimeng import JimengHook, current_provenance, iso
from airflow_provider_jimeng.hooks.ledger import ledger_url
from airflow_provider_jimeng.ledger.admin import LedgerAdmin, NoLedger
from airflow_provider_jimeng.ledger.keys import redact_text
from airflow_provider_jimeng.ledger.listing import Wanted
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord

__all__ = ["JimengRecoveryHook"]

_PAGE = 500


class JimengRecoveryHook(JimengHook):
    """
    List, release and adopt the submits whose outcome nobody knows, of one connection's account.

    The vendor can't be asked for them, so only a person who has looked at its console or bill can say what
    became of one. Nothing here decides by itself. The same as ``ledger list|release|adopt``.

    :param volcengine_conn_id: the connection whose account is meant.
    """

    hook_name = "Volcengine Jimeng, recovery"

    @cached_property
    def _admin(self) -> LedgerAdmin:
        return LedgerAdmin(ledger_url())

    def unknowns(self, *, newer_than: float | None = None, limit: int = _PAGE) -> list[dict[str, Any]]:
        """
        Return the account's unknowns, newest first; fit for XCom: no secret, no presigned URL.

        :param newer_than: only those that were made within so many seconds.
        :param limit: the most that are returned.
        :raises JimengLedgerError: the ledger can't be read.
        """
        wanted = Wanted(
            states=frozenset({TaskState.UNKNOWN}), account=self.settings.account, newer_than=newer_than
        )
        try:
            page = self._admin.page(wanted, after=None, limit=limit)
        except NoLedger:
            return []
        return [_shown(record) for record in page.records]

    def release(self, record: int, *, reason: str) -> dict[str, Any]:
        """
        Give an unknown free: the next run of its content submits again.

        If the vendor did accept the first submit, the content is then paid for twice.

        :param record: the row's number, as :meth:`unknowns` tells it.
        :param reason: why; kept in the ledger with the name of the task that asked.
        :raises JimengInputError: it is no row of this account, or no reason is given.
        :raises JimengLedgerError: the row is no unknown, or its submit may still be on its way; nothing was
            changed.
        """
        row = self._row(record, reason)
        least = None if row.never_sent else row.resubmit_age_seconds
        return _shown(self._admin.release(row.id, reason=reason, by=_who(), min_age_seconds=least))

    def adopt(self, record: int, task_id: str, *, reason: str) -> dict[str, Any]:
        """
        Write the vendor's task id for an unknown: the next run of its content waits for that task.

        :param record: the row's number, as :meth:`unknowns` tells it.
        :param task_id: as text: 19 digits don't survive a spreadsheet or a float.
        :param reason: where it was found.
        :raises JimengInputError: as for :meth:`release`, or the id has not the form of one.
        :raises JimengLedgerError: another row has the id; nothing was changed.
        """
        row = self._row(record, reason)
        return _shown(self._admin.adopt(row.id, check_task_id(task_id, "task_id"), reason=reason, by=_who()))

    def _row(self, record: Any, reason: Any) -> TaskRecord:
        if isinstance(record, bool) or not isinstance(record, int):
            raise JimengInputError(f"record must be a row's number, not {record!r}. Nothing was changed.")
        if not isinstance(reason, str) or not reason.strip():
            raise JimengInputError(
                "reason must not be empty: it is what the ledger keeps. Nothing was changed."
            )
        row = self._admin.get(record)
        if row is None or row.scope.account != self.settings.account:
            raise JimengInputError(
                f"record {record} is no row of account {self.settings.account!r}. Nothing was changed."
            )
        return row


def _shown(record: TaskRecord) -> dict[str, Any]:
    return {
        "record": record.id,
        "state": str(record.state),
        "content_key": record.content_key,
        "inputs": redact_text(record.inputs),
        "sent_at": iso(record.sent_at),
        "request_id": record.request_id,
        "task_id": record.task_id,
        "code": record.code,
        "message": redact_text(record.message),
        "asked_by": record.attempt_scope,
    }


def _who() -> str:
    return f"task {current_provenance().attempt_scope}"
