# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The items of a run as cards: what was asked for, what came of it, and whether it can be played."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.ledger.keys import redact_text, redact_url
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.media.target import SAFE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord
    from airflow_provider_jimeng.ui.request import Asked

__all__ = ["SHOWN", "inputs_of", "items", "own_landings"]

#: Cards per page.
PAGE = 24
#: Which states stand behind a choice on the page.
SHOWN: Mapping[str, frozenset[TaskState]] = {
    "landed": frozenset({TaskState.LANDED}),
    "running": frozenset({TaskState.INTENT, TaskState.SUBMITTED, TaskState.SUCCEEDED}),
    "trouble": frozenset(
        {TaskState.FAILED, TaskState.EXPIRED, TaskState.UNKNOWN, TaskState.RELEASED, TaskState.REJECTED}
    ),
}


def items(admin: LedgerAdmin, asked: Asked, shown: str, before: int | None) -> dict[str, Any]:
    """
    Return a page of a run's rows, newest first.

    :param shown: a name of :data:`SHOWN`.
    :param before: the number of the last row of the page before.
    """
    rows = admin.rows_of_run(asked.scopes, SHOWN[shown], before=before, limit=PAGE + 1)
    landings = admin.landings_of(rows)
    cards = [_card(row, landings.get((row.content_key, row.attempt), ())) for row in rows[:PAGE]]
    return {"items": cards, "before": rows[PAGE - 1].id if len(rows) > PAGE else None}


def own_landings(landings: Sequence[LandingRecord]) -> list[LandingRecord]:
    """
    Return where a result lies in the folder that it landed in first; a name that people gave it comes first.

    Other DAGs may have copied it elsewhere since; where, is their affair.

    :param landings: all places of one attempt, oldest first.
    """
    if not landings:
        return []
    folder = _folder(landings[0])
    return sorted(
        (each for each in landings if _folder(each) == folder),
        key=lambda each: f"/{SAFE_FOLDER}/" in each.uri,
    )


def _folder(landing: LandingRecord) -> str:
    return landing.uri.rpartition("/")[0].removesuffix(f"/{SAFE_FOLDER}")


def inputs_of(record: TaskRecord) -> dict[str, str]:
    """Return the image and the video of a row, as far as its product has them; without query strings."""
    try:
        told = json.loads(record.inputs)
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    names = {"image_url": "image", "video_url": "video"}
    return {word: redact_url(told[name]) for name, word in names.items() if isinstance(told.get(name), str)}


def _card(record: TaskRecord, landings: Sequence[LandingRecord]) -> dict[str, Any]:
    landing = next(iter(own_landings(landings)), None)
    return {
        "id": record.id,
        "name": _name(record, landing),
        "state": str(record.state),
        "airflow_task": record.provenance.task_id,
        "map_index": record.provenance.map_index,
        "task_id": record.task_id,
        "attempt": record.attempt,
        "code": record.code,
        "message": redact_text(record.message),
        "request_id": record.request_id,
        "submitted_at": record.submitted_at,
        "landed_at": record.landed_at,
        "seconds": record.processing_seconds or record.elapsed,
        "possibly_billed": record.possibly_billed,
        "size": None if landing is None else landing.size,
        "sha256": None if landing is None else landing.sha256,
        "playable": landing is not None and record.state is TaskState.LANDED,
        **inputs_of(record),
    }


def _name(record: TaskRecord, landing: LandingRecord | None) -> str:
    if landing is not None:
        return landing.uri.rpartition("/")[2]
    told = inputs_of(record).get("image", "")
    return told.rpartition("/")[2] or f"row {record.id}"
