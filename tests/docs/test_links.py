# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Every link between pages leads somewhere, headings included; pictures are there, and small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, without_code

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
#: Bytes of a picture in a page that people open on a phone.
PICTURE_MAX = 300_000


def links(path: Path) -> list[str]:
    return LINK.findall(without_code(path.read_text(encoding="utf-8")))


def test_the_pages_are_found() -> None:
    names = {path.name for path in PAGES}

    assert {
        "README.md",
        "README.zh.md",
        "design.md",
        "connection.md",
        "writing-dags.md",
        "recovery.md",
    } <= names
    assert sum(len(links(path)) for path in PAGES) > 30


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_each_relative_link_resolves(path: Path) -> None:
    broken = []
    for link in links(path):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        place = (path.parent / target).resolve() if target else path
        if not place.exists() or not place.is_relative_to(ROOT):
            broken.append(link)
        elif anchor and anchor not in anchors(place.read_text(encoding="utf-8")):
            broken.append(f"{link}: no such heading")
    assert broken == []


def linked(path: Path) -> set[Path]:
    """Return the pages that a page links to."""
    targets = (link.partition("#")[0] for link in links(path))
    return {(path.parent / target).resolve() for target in targets if target.endswith(".md")}


def test_every_page_of_the_docs_stands_in_their_index() -> None:
    index = ROOT / "docs" / "README.md"

    assert set((ROOT / "docs").glob("*.md")) - {index} <= linked(index)


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_every_page_of_the_docs_is_found_from_the_readme(readme: str) -> None:
    found, waiting = {ROOT / readme}, [ROOT / readme]
    while waiting:
        new = {path for path in linked(waiting.pop()) if path.exists()} - found
        found |= new
        waiting += new

    assert set((ROOT / "docs").glob("*.md")) <= found


def test_pictures_are_shown_and_small() -> None:
    pictures = {path for path in (ROOT / "docs" / "images").iterdir() if path.is_file()}
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in links(page)
        if link.endswith((".png", ".jpg", ".svg"))
    }

    assert pictures == shown
    assert [path.name for path in pictures if path.stat().st_size > PICTURE_MAX] == []
