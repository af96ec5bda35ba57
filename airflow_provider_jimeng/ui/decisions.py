# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Unknowns, and what a person decides about them: the same changes as ``ledger release`` and ``adopt``.

Each wants a reason, says who asked, and is made only if the row is still what the person saw.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.api.validation import check_task_id
from airflow_provider_jimeng.ledger.keys import redact_text
from airflow_provider_jimeng.ledger.listing import Wanted, has_fallen_silent
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ui.advice import meaning_of
from airflow_provider_jimeng.ui.gallery import inputs_of

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ui.request import Asked

__all__ = ["NotOfThisDag", "adopt", "release", "unknowns"]

log = logging.getLogger(__name__)

_MOST = 100
_UNKNOWN = frozenset({TaskState.UNKNOWN})


class NotOfThisDag(Exception):
    """The DAG has no such row; whether another has, is nobody's business here."""


def unknowns(admin: LedgerAdmin, asked: Asked) -> dict[str, Any]:
    """Return the DAG's unknowns, those of the run first, newest first."""
    page = admin.page(Wanted(states=_UNKNOWN, dag_id=asked.dag_id), limit=_MOST)
    told = [_told(row, page.now, asked) for row in page.records]
    return {"unknowns": sorted(told, key=lambda each: not each["mine"]), "more": page.more}


def _told(row: TaskRecord, now: float, asked: Asked) -> dict[str, Any]:
    by = row.provenance
    wait = 0.0 if row.never_sent else max(0.0, row.resubmit_age_seconds - (now - row.base))
    return {
        "id": row.id,
        "revision": row.revision,
        "mine": asked.covers(row),
        "run_id": by.run_id,
        "airflow_task": by.task_id,
        "map_index": by.map_index,
        "account": row.scope.account,
        "req_key": row.scope.req_key,
        "sent_at": row.sent_at,
        "created_at": row.created_at,
        "never_sent": row.never_sent,
        "wait_seconds": wait,
        "forgotten": now - row.base > TASK_LIFETIME_SECONDS,
        "code": row.code,
        "message": redact_text(row.message) or "No answer came.",
        "meaning": meaning_of(row.code),
        "request_id": row.request_id,
        "note": redact_text(row.note),
        **inputs_of(row),
    }


def _seen(admin: LedgerAdmin, dag_id: str, record_id: int, revision: int) -> TaskRecord:
    row = admin.get(record_id)
    if row is None or row.provenance.dag_id != dag_id:
        raise NotOfThisDag
    if row.revision != revision:
        raise LostRace(
            f"Row {row.id} was changed meanwhile: it is {row.state} now. Nothing was changed by this; look "
            "at it again."
        )
    if row.state is not TaskState.UNKNOWN and not has_fallen_silent(row, admin.now()):
        raise LostRace(f"Row {row.id} is {row.state}: nobody has to decide about it. Nothing was changed.")
    return row


def release(
    admin: LedgerAdmin, dag_id: str, record_id: int, *, revision: int, reason: str, by: str
) -> dict[str, Any]:
    """
    Give an unknown free for another attempt, which is paid again if the vendor has the first one.

    Young ones wait until their send can't be on its way any more; the command's ``--even-if-young`` has no
    counterpart here.

    :raises NotOfThisDag: the DAG has no such row.
    :raises LostRace: it is not what the person saw, or too young; nothing was changed.
    """
    row = _seen(admin, dag_id, record_id, revision)
    least = None if row.never_sent else row.resubmit_age_seconds
    done = admin.release(row.id, reason=reason, by=by, min_age_seconds=least)
    log.info("Row %s of the ledger (DAG %s) was released by %s: %s", row.id, dag_id, by, reason)
    return {
        "id": done.id,
        "state": str(done.state),
        "told": "Released: the next run of this item submits again.",
    }


def adopt(
    admin: LedgerAdmin, dag_id: str, record_id: int, *, revision: int, task_id: str, reason: str, by: str
) -> dict[str, Any]:
    """
    Keep the task id that a person found at the vendor: nothing is paid again.

    :raises JimengInputError: the id is in no good form.
    :raises NotOfThisDag: the DAG has no such row.
    :raises LostRace: it is not what the person saw, or another row has the id; nothing was changed.
    """
    task_id = check_task_id(task_id.strip(), "task id")
    row = _seen(admin, dag_id, record_id, revision)
    other = admin.by_task_id(task_id)
    if other is not None and other.id != row.id:
        # Which one it is, may be another DAG's affair.
        raise LostRace("The ledger keeps this id for another item already. Nothing was changed.")
    done = admin.adopt(row.id, task_id, reason=reason, by=by)
    log.info("Row %s of the ledger (DAG %s) took task %s, by %s: %s", row.id, dag_id, task_id, by, reason)
    told = f"Adopted: the next run waits for task {task_id}, and pays nothing."
    return {"id": done.id, "state": str(done.state), "told": told}
