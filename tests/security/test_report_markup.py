# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The gallery as a parser sees it, for every field of text: data, and never markup.

What a browser makes of it is looked at in ``tests/bulk/test_report_page.py``, where there is one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from airflow_provider_jimeng.bulk.items import Fate, Outcome

from tests.bulk.runs import folder_at, item, landed, write_report

HOSTILE = [
    "</script><script>alert(1)</script>",
    "</SCRIPT ><img src=x onerror=alert(1)>",
    "<!--<script>",
    "\"' onload=alert(1) x='",
    "javascript:alert(1)",
    "</title><svg onload=alert(1)>",
    "{{SCRIPT}}{{ROWS}}{{ABOUT}}",
    "\u2028alert(1)//",
]


class Reader(HTMLParser):
    """Collects tags, attributes and the contents of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self._open = ""
        self.contents: dict[str, list[str]] = {"script": [], "style": [], "title": []}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open = tag
        if tag in self.contents:
            self.contents[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.contents:
            self.contents[self._open][-1] += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader


def shape(reader: Reader) -> tuple[list[str], list[tuple[str, str]]]:
    return reader.tags, [(tag, name) for tag, name, _ in reader.attributes]


def write(folder: Path, text: str | None) -> Reader:
    """Write a report in which each field of text is this text, in a folder of that name."""
    out = folder_at(folder / "run" if text is None else folder / text.replace("/", "∕"))
    word = text or "word"
    each = item(1, word, image=f"https://a.example/{word}", video=word, carried={word: word})
    fate = landed(each, out, uri=f"{out.uri}/{word}.mp4", message=word, error=word, task_id=word)
    failed = Fate(2, word, Outcome.FAILED, code=50511, message=word, error=word)
    write_report(out, [(fate, each), (failed, item(2, word, carried={}))])
    return read(Path(out.path) / "report.html")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_changes_the_pages_markup(text: str, tmp_path: Path) -> None:
    usual, hostile = write(tmp_path / "a", None), write(tmp_path / "b", text)
    assert shape(hostile) == shape(usual)
    rows = json.loads(hostile.contents["script"][0])
    assert [row[0] for row in rows] == [text, text]
    values = [value for _, name, value in hostile.attributes if name in ("href", "src", "action", "style")]
    assert not any("alert" in value for value in values)
    assert not any(name.startswith("on") for _, name, _ in hostile.attributes)


def test_the_policy_allows_the_pages_own_script_and_style_and_no_other(tmp_path: Path) -> None:
    page = write(tmp_path, HOSTILE[0])
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert "unsafe" not in policy
    for name, text in (("script-src", page.contents["script"][2]), ("style-src", page.contents["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[name] == f"'sha256-{digest}'"
    kinds = [value for tag, name, value in page.attributes if (tag, name) == ("script", "type")]
    assert (kinds, page.tags.count("script")) == (["application/json"] * 2, 3)


def test_the_script_makes_no_markup_of_text() -> None:
    import airflow_provider_jimeng.bulk as bulk

    script = (Path(bulk.__file__).parent / "page" / "gallery.js").read_text(encoding="utf-8")
    made = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", script
    )
    assert made == []
    assert "textContent" in script
