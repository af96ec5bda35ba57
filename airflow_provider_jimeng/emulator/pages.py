# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Two small pages for people: the state of the account, and one task."""

from __future__ import annotations

import datetime as dt
import json
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
body{color:#1c2230;background:#fbfbfd}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #dde1ea;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em}video{max-width:100%;background:#000}
.bad{color:#a3122a;font-weight:600}.good{color:#11663a}
"""

#: Tasks shown on the status page; the ledger has all.
_SHOWN = 200


def status_page(
    ledger: Mapping[str, Any], config: Mapping[str, Any], faults: Sequence[Mapping[str, Any]]
) -> str:
    """What was accepted and refused, the slots, the newest tasks, the faults."""
    totals = ledger["totals"]
    twice = ledger["paid_more_than_once"]
    verdict = (
        f'<p class="bad">{len(twice)} contents paid more than once</p>'
        if twice
        else '<p class="good">No content paid more than once</p>'
    )
    slots = [
        (key, usage["in_use"], usage["max_in_use"], f"{usage['busy_seconds']:.1f}")
        for key, usage in ledger["slots"].items()
    ]
    newest = sorted(ledger["tasks"].values(), key=lambda task: -task["number"])[:_SHOWN]
    rows = [
        (
            _link(task["task_id"]),
            task["req_key"],
            task["status"],
            task["verdict"],
            _time(task["submitted_at"]),
            _time(task["done_at"]),
            _seconds(task["noticed_after"]),
            task["queries"],
            task["downloads_completed"],
        )
        for task in newest
    ]
    heads = (
        "task",
        "req_key",
        "status",
        "verdict",
        "submitted",
        "done",
        "noticed after",
        "queries",
        "downloads",
    )
    return _page(
        "Jimeng emulator",
        verdict
        + _table(("", "count"), [(name.replace("_", " "), value) for name, value in totals.items()])
        + "<h2>Refused submits</h2>"
        + _table(("reason", "count"), sorted(ledger["refused"].items()))
        + "<h2>Slots</h2>"
        + _table(("req_key", "in use", "most", "busy seconds"), slots)
        + f"<h2>Tasks (newest {len(rows)})</h2>"
        + _table(heads, rows)
        + "<h2>Faults</h2>"
        + _table(("fault",), [(json.dumps(fault),) for fault in faults])
        + "<h2>Settings</h2>"
        + _table(("", ""), [(name, json.dumps(value)) for name, value in config.items()])
        + '<p><a href="/_emulator/ledger">The whole ledger as JSON</a></p>',
    )


def task_page(task: Mapping[str, Any], video_url: str | None) -> str:
    """One task, with its result where there is one."""
    rows: list[tuple[object, object]] = []
    for name, value in task.items():
        shown: object = json.dumps(value) if isinstance(value, (dict, list)) else value
        if name.endswith(("_at", "_until", "_noticed", "_query")):
            shown = _time(value)
        rows.append((name.replace("_", " "), "" if shown is None else shown))
    video = ""
    if video_url is not None and task["verdict"] == 10000:
        video = f'<video src="{escape(video_url)}" controls loop muted></video>'
    return _page(
        f"Task {task['task_id']}", video + _table(("", ""), rows) + '<p><a href="/">All tasks</a></p>'
    )


def _link(task_id: str) -> _Html:
    text = escape(task_id)
    return _Html(f'<a href="/_emulator/tasks/{text}"><code>{text}</code></a>')


class _Html(str):
    """Markup that is not to be escaped."""

    __slots__ = ()


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    if not body:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, _Html):
        return f"<td>{value}</td>"
    if isinstance(value, (int, float)):
        return f'<td class="n">{value}</td>'
    return f"<td>{escape(str(value))}</td>"


def _time(value: float | None) -> str:
    if value is None:
        return ""
    return dt.datetime.fromtimestamp(value, dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
