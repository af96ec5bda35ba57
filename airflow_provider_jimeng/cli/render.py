# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Rows as people and programs read them.

What is shown came from vendors, DAGs and URLs: no control character reaches a terminal, and no query string,
which may hold a secret, reaches anybody.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.ledger.keys import redact_text
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_jimeng.ledger.identity import Identity
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord

__all__ = [
    "COLUMNS",
    "age",
    "asker",
    "identity_values",
    "iso",
    "json_line",
    "landing_values",
    "plain",
    "record_values",
    "state_words",
    "table",
]

#: Names of :func:`record_values`, in their order.
COLUMNS = (
    "id",
    "state",
    "silent",
    "content_key",
    "attempt",
    "account",
    "endpoint",
    "req_key",
    "inputs",
    "variant",
    "force_new",
    "dag_id",
    "run_id",
    "airflow_task_id",
    "map_index",
    "try_number",
    "task_id",
    "request_id",
    "code",
    "message",
    "new_attempt_allowed",
    "possibly_billed",
    "extra",
    "superseded",
    "origin_id",
    "created_at",
    "sent_at",
    "send_count",
    "submitted_at",
    "finished_at",
    "landed_at",
    "elapsed",
    "processing_seconds",
    "expected_seconds",
    "validators",
    "note",
)


def plain(text: str) -> str:
    """Return a text with everything escaped that could move a cursor, hide, or turn letters around."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"
        else char
        for char in text
    )


def iso(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).isoformat(timespec="milliseconds")


def age(seconds: float) -> str:
    """Return a duration in its greatest unit, as short as a table needs."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def json_line(values: Any) -> str:
    """Return a value as one line of JSON in ASCII."""
    return json.dumps(values, ensure_ascii=True, separators=(",", ":"))


def _without_queries(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {name: _without_queries(each) for name, each in value.items()}
    return [_without_queries(each) for each in value] if isinstance(value, list) else value


def _loaded(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return _without_queries(json.loads(text))
    except ValueError:
        return redact_text(text)


def record_values(record: TaskRecord, *, silent: bool) -> dict[str, Any]:
    """
    Return what a program may know of a row, by the names of :data:`COLUMNS`.

    :param silent: whether it is an intent whose owner fell silent.
    """
    special: dict[str, Any] = {
        "state": str(record.state),
        "silent": silent,
        "account": record.scope.account,
        "endpoint": record.scope.endpoint,
        "req_key": record.scope.req_key,
        "inputs": _loaded(record.inputs),
        "force_new": None if record.force_new is None else redact_text(record.force_new),
        "dag_id": record.provenance.dag_id,
        "run_id": record.provenance.run_id,
        "airflow_task_id": record.provenance.task_id,
        "map_index": record.provenance.map_index,
        "try_number": record.provenance.try_number,
        "message": redact_text(record.message),
        "validators": _loaded(record.validators),
        "note": redact_text(record.note),
    }
    times = ("created_at", "sent_at", "submitted_at", "finished_at", "landed_at")
    special.update({name: iso(getattr(record, name)) for name in times})
    return {name: special[name] if name in special else getattr(record, name) for name in COLUMNS}


def identity_values(identity: Identity) -> dict[str, Any]:
    """Return what a program may know of a ledger's identity."""
    took_over = {ledger: words.splitlines() for ledger, words in identity.took_over.items()}
    return {"ledger": identity.uuid, "mark": identity.mark, "took_over": took_over}


def landing_values(landing: LandingRecord) -> dict[str, Any]:
    """Return what a program may know of a landing."""
    return {
        "uri": redact_text(landing.uri),
        "bytes": landing.size,
        "sha256": landing.sha256,
        "etag": landing.etag,
        "content_type": landing.content_type,
        "landed_at": iso(landing.landed_at),
        "attempt": landing.attempt,
    }


def state_words(record: TaskRecord, silent: bool) -> str:
    """Return a row's state as a table shows it."""
    marks = [
        word
        for word, holds in (
            ("silent", silent),
            ("extra", record.extra),
            ("superseded", record.superseded),
            ("billed?", record.possibly_billed and record.state is not TaskState.UNKNOWN),
        )
        if holds
    ]
    return f"{record.state} ({', '.join(marks)})" if marks else str(record.state)


def asker(record: TaskRecord) -> str:
    """Return the task instance that asked for a row."""
    by = record.provenance
    index = f"[{by.map_index}]" if by.map_index >= 0 else ""
    return f"{by.dag_id}.{by.task_id}{index}"


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose columns are as wide as their widest cell."""
    cells = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
