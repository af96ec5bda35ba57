# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
``report.html``: one file that opens from a disk or a bucket, without a server and without anybody's script.

All that comes from a manifest or the vendor goes into it as data, never as markup; the page's own script and
style are named by their hashes in its content security policy, so nothing else on it runs, whatever it says.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import html
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_jimeng.bulk.chart import chart
from airflow_provider_jimeng.bulk.items import BAD_OUTCOMES, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from airflow_provider_jimeng.bulk.timeline import Timeline

#: A page with more rows than this is slow to open; ``report.jsonl`` has them all.
MAX_ROWS = 20_000
_OUTCOMES = tuple(outcome.value for outcome in Outcome)
_TROUBLE = frozenset(outcome.value for outcome in BAD_OUTCOMES)
_MAX_TEXT = 500
#: What would end a script element, begin markup, or end a line for older readers of JavaScript.
_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """
    An item as the gallery sees it.

    :param outcome: in its text form.
    :param image: URL without its query; empty for a line that could not be read.
    :param video: likewise.
    :param submitted_at: ISO 8601.
    """

    id: str
    line: int
    outcome: str
    code: int | None
    message: str | None
    error: str | None
    image: str
    video: str
    uri: str | None
    attempts: int
    elapsed: float | None
    task_id: str | None
    submitted_at: str | None


def write_gallery(
    path: Path,
    rows: Iterable[GalleryRow],
    summary: Mapping[str, Any],
    timeline: Timeline,
    folder: str,
    slots: int | None,
) -> None:
    """
    Write the page.

    :param rows: in the manifest's order; of more than :data:`MAX_ROWS` those in trouble are kept first.
    :param folder: the URI of the folder that the page will be in; results there are linked relative to it.
    :param slots: how many the run could use.
    """
    svg, averages = chart(timeline, slots)
    places = _Places()
    style, script = _asset("gallery.css"), _asset("gallery.js")
    head, tail = _asset("page.html").split("{{ROWS}}")
    fixed = {
        "CSP": _policy(script, style),
        "TITLE": html.escape(folder),
        "STYLE": style,
        "SCRIPT": script,
        "CHART": svg,
        "TOTALS": html.escape(", ".join(f"{summary[name]} {name}" for name in _OUTCOMES)),
    }
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(_filled(head, fixed))
        shown = 0
        for text in _rows_as_text(_chosen(rows), places, folder):
            file.write((",\n" if shown else "") + text)
            shown += 1
        about = {
            "summary": summary,
            "outcomes": _OUTCOMES,
            "shown": shown,
            "folder": folder,
            "places": places.names,
            "timeline": averages,
        }
        file.write(_filled(tail, {**fixed, "ABOUT": _data(about)}))


def _chosen(rows: Iterable[GalleryRow]) -> Iterator[GalleryRow]:
    """Yield all rows, or of too many those in trouble and then the first, in their order."""
    kept: list[tuple[bool, int, GalleryRow]] = []
    for at, row in enumerate(rows):
        entry = (row.outcome in _TROUBLE, -at, row)
        if len(kept) < MAX_ROWS:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)
    return (row for _, _, row in sorted(kept, key=lambda entry: -entry[1]))


class _Places:
    """Folders of URLs, each written once: five thousand rows name a handful of them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def split(self, url: str) -> list[Any]:
        folder, slash, name = url.rpartition("/")
        number = self._numbers.setdefault(folder + slash, len(self.names))
        if number == len(self.names):
            self.names.append(folder + slash)
        return [number, name]


def _rows_as_text(rows: Iterable[GalleryRow], places: _Places, folder: str) -> Iterator[str]:
    for row in rows:
        yield _data(
            [
                row.id,
                row.line,
                _OUTCOMES.index(row.outcome),
                row.code,
                _short(row.message),
                _short(row.error),
                places.split(row.image),
                places.split(row.video),
                _relative(row.uri, folder),
                row.attempts,
                row.elapsed,
                row.task_id,
                row.submitted_at,
            ]
        )


def _relative(uri: str | None, folder: str) -> str | None:
    """Return a result's address as seen from the page; ``None`` where a browser has no way to it."""
    if uri is None:
        return None
    base = folder.rstrip("/") + "/"
    return "./" + quote(uri[len(base) :], errors="replace") if uri.startswith(base) else None


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _data(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Fill in each place once; what is filled in is not looked at again."""
    pieces = template.split("{{")
    done = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        done += [values[name], rest]
    return "".join(done)


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    # Inputs are shown from where they are; results from beside the page, be that a disk or a bucket.
    media = "'self' file: https: http://localhost:* http://127.0.0.1:*"
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src {media} data:; "
        f"media-src {media}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
