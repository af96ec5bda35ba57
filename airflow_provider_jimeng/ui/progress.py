# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How far a run is: counts, slots over time, an estimate of the end, and what failed for which reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.timeline import Timeline
from airflow_provider_jimeng.ledger.keys import redact_text
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ui.advice import cost_of, meaning_of, what_to_do
from airflow_provider_jimeng.ui.reports import reports_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.records import Scope, SlotView
    from airflow_provider_jimeng.ledger.runs import RunView
    from airflow_provider_jimeng.ui.reports import Report
    from airflow_provider_jimeng.ui.request import Asked

__all__ = ["progress"]

_BUCKETS = 300
_GROUPS = 50
#: What becomes of an item as the page says it, by the state of its row.
_WORDS: Mapping[TaskState, str] = {
    TaskState.LANDED: "landed",
    TaskState.SUCCEEDED: "landing",
    TaskState.SUBMITTED: "running",
    TaskState.INTENT: "sending",
    TaskState.UNKNOWN: "unknown",
    TaskState.FAILED: "failed",
    TaskState.REJECTED: "refused",
    TaskState.EXPIRED: "expired",
    TaskState.RELEASED: "released",
}
#: Outcomes that leave no row of the run in the ledger: only a report knows of them.
_REPORTED = ("reused", "invalid", "skipped")
#: Outcomes of a report that the ledger knows too.
_SHARED = ("landed", "failed", "unknown", "expired")
_GOING_ON = ("landing", "running", "sending")


def progress(admin: LedgerAdmin, asked: Asked) -> dict[str, Any]:
    """Return what the page shows of some task instances' progress, as JSON values."""
    view = admin.run_view(asked.scopes)
    reports = reports_of(admin, asked)
    total, counts = _outcomes(view, reports)
    waiting = max(0, total - sum(counts.values())) if total is not None else 0
    rate = _rate(view)
    left = waiting + sum(counts.get(each, 0) for each in _GOING_ON)
    return {
        "now": view.now,
        "counts": {**counts, "waiting": waiting},
        "total": total,
        "complete": bool(reports) and all(each.complete for each in reports),
        "submits": view.submits,
        "refused_submits": view.refused,
        "possibly_billed": view.possibly_billed,
        "started_at": view.started_at,
        "rate": rate,
        "seconds_left": left / rate if rate and left else None,
        "slots": [_slots(scope, each) for scope, each in view.slots.items()],
        "timeline": _timeline(view),
        "errors": _errors(view, reports),
        "folders": [each.folder for each in reports],
        "reports": [_report(each) for each in reports],
    }


def _outcomes(view: RunView, reports: Sequence[Report]) -> tuple[int | None, dict[str, int]]:
    """Return the number of items, if it is known, and how many came to what."""
    counts = {_WORDS[state]: number for state, number in view.counts.items()}
    if not reports:
        return None, counts
    total = sum(each.count("total") for each in reports)
    told = {name: sum(each.count(name) for each in reports) for name in (*_REPORTED, *_SHARED)}
    if all(each.complete for each in reports) and not any(counts.get(each) for each in _GOING_ON):
        return total, _as_reported(told, counts)
    counts |= {name: told[name] for name in ("invalid", "skipped") if told[name]}
    # A run that was cleared reuses what its own first pass has landed.
    reused = min(told["reused"], max(0, total - sum(counts.values())))
    if reused:
        counts["reused"] = reused
    return max(total, sum(counts.values())), counts


def _as_reported(told: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    # What a person released or adopted since then is no unknown any more.
    unknown = min(told["unknown"], counts.get("unknown", 0))
    found = {**told, "unknown": unknown, "released": told["unknown"] - unknown}
    return {name: number for name, number in found.items() if number}


def _rate(view: RunView) -> float | None:
    """Return landed results a second, lately; ``None`` if nobody knows."""
    ends = view.landed_lately
    if len(ends) < 2 or view.now <= ends[0]:
        return None
    return (len(ends) - 1) / (view.now - ends[0])


def _slots(scope: Scope, view: SlotView) -> dict[str, Any]:
    return {
        "req_key": scope.req_key,
        "account": scope.account,
        "in_use": view.in_use,
        "limit": view.limit,
        "queue": len(view.waiting),
        "cooldown_until": view.cooldown_until,
        "blocked": None if view.blocked is None else redact_text(view.blocked),
    }


def _timeline(view: RunView) -> dict[str, Any] | None:
    timeline = Timeline.of_intervals((begin, view.now if end is None else end) for begin, end in view.spans)
    span = timeline.span
    if span is None or span[1] <= span[0]:
        return None
    slots = max((each.limit for each in view.slots.values()), default=0)
    return {
        "start": span[0],
        "end": span[1],
        "slots": slots,
        "top": max(slots, timeline.most, 1),
        "values": [round(each, 2) for each in timeline.averages(*span, _BUCKETS)],
    }


def _errors(view: RunView, reports: Sequence[Report]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "outcome": _WORDS[each.state],
            "code": each.code,
            "message": redact_text(each.message),
            "meaning": meaning_of(each.code),
            "advice": what_to_do(each.state, each.code),
            "cost": cost_of(each.state),
            "count": each.count,
            "example": each.row,
        }
        for each in view.troubles[:_GROUPS]
    ]
    for report in reports:
        found += (
            {
                "outcome": "invalid",
                "code": None,
                "message": redact_text(words),
                "meaning": "",
                "advice": "Correct these lines of the manifest or their files, and run it again: what is "
                "landed costs nothing.",
                "cost": "nothing was sent, nothing was paid",
                "count": number,
                "example": None,
            }
            for words, number in report.invalid.items()
        )
    return found


def _report(report: Report) -> dict[str, Any]:
    names = (
        "total",
        "submits",
        "possibly_billed",
        "started_at",
        "finished_at",
        "slot_utilisation",
        "complete",
    )
    return {name: report.summary.get(name) for name in names} | {"folder": report.folder}
