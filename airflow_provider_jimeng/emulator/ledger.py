# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The book as JSON: what was paid, how the slots were used, how fast results were noticed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.emulator.answers import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_jimeng.emulator.book import Book
    from airflow_provider_jimeng.emulator.tasks import Task


def ledger_view(book: Book, now: float, *, with_tasks: bool = True) -> dict[str, Any]:
    """Everything the emulator can vouch for, at one instant."""
    tasks = sorted(book.tasks.values(), key=lambda task: task.number)
    refused = dict(book.refused["submit"])
    per_content = contents(tasks)
    view: dict[str, Any] = {
        "now": now,
        "totals": {
            "submits": len(tasks) + sum(refused.values()),
            "accepted": len(tasks),
            "refused": sum(refused.values()),
            "queries": book.queries,
            "queries_refused": sum(book.refused["query"].values()),
            "queries_of_unknown_tasks": book.unknown_queries,
            "done": sum(task.done(now) for task in tasks),
            "succeeded": sum(task.done(now) and task.verdict == SUCCESS for task in tasks),
            "noticed": sum(task.first_noticed is not None for task in tasks),
            "downloads": sum(task.downloads for task in tasks),
            "downloads_completed": sum(task.downloads_completed for task in tasks),
            "media_requests": sum(book.media.values()),
        },
        "contents": per_content,
        "paid_more_than_once": sorted(
            key for key, entry in per_content.items() if len(entry["billable_task_ids"]) > 1
        ),
        "refused": refused,
        "queries_refused": dict(book.refused["query"]),
        "downloads_refused": dict(book.refused["download"]),
        "other_calls_refused": dict(book.refused["other"]),
        "slots": slots(tasks, now),
        "latency": latency(tasks),
        "media": dict(book.media),
        "media_fetched_by_vendor": dict(book.media_vendor),
    }
    if with_tasks:
        view["tasks"] = {task.task_id: task.shown(now) for task in tasks}
    return view


def contents(tasks: Iterable[Task]) -> dict[str, dict[str, Any]]:
    """Accepted submits per content; ``billable`` are those not (yet) ended with an error."""
    found: dict[str, dict[str, Any]] = {}
    for task in tasks:
        entry = found.setdefault(
            task.content_key,
            {"content": task.content, "accepted": 0, "task_ids": [], "billable_task_ids": []},
        )
        entry["accepted"] += 1
        entry["task_ids"].append(task.task_id)
        if task.verdict == SUCCESS:
            entry["billable_task_ids"].append(task.task_id)
    return found


def slots(tasks: Iterable[Task], now: float) -> dict[str, dict[str, Any]]:
    """
    Slots over time per req_key, derived from when each task was accepted and done.

    ``busy_seconds`` is the area under the curve up to ``now``: over slots and time it is the utilisation.
    """
    per_key: dict[str, list[Task]] = {}
    for task in tasks:
        per_key.setdefault(task.req_key, []).append(task)
    return {req_key: _usage(group, now) for req_key, group in per_key.items()}


def _usage(tasks: Sequence[Task], now: float) -> dict[str, Any]:
    # At one instant a slot is freed before it is taken: the order of the sort keys.
    held = [task for task in tasks if task.done_at is None or task.done_at > task.submitted_at]
    changes = [(task.submitted_at, 1) for task in held]
    changes += [(task.done_at, -1) for task in held if task.done_at is not None and task.done_at <= now]
    in_use = most = 0
    busy = 0.0
    last: float | None = None
    events = []
    for time, change in sorted(changes):
        if last is not None:
            busy += in_use * (time - last)
        last = time
        in_use += change
        most = max(most, in_use)
        events.append({"time": time, "in_use": in_use})
    if last is not None:
        busy += in_use * max(0.0, now - last)
    return {"in_use": in_use, "max_in_use": most, "busy_seconds": busy, "events": events}


def latency(tasks: Iterable[Task]) -> dict[str, Any]:
    """Done-to-noticed latency in real seconds."""
    values = sorted(value for task in tasks if (value := task.noticed_after) is not None)
    if not values:
        return {"count": 0, "mean": None, "median": None, "p95": None, "max": None}
    return {
        "count": len(values),
        "mean": sum(values) / len(values),
        "median": _quantile(values, 0.5),
        "p95": _quantile(values, 0.95),
        "max": values[-1],
    }


def _quantile(values: Sequence[float], share: float) -> float:
    return values[max(0, math.ceil(share * len(values)) - 1)]
