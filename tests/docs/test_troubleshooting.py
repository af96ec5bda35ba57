# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on troubleshooting: its codes are the product's table, and its messages are ones that are said."""

from __future__ import annotations

import re

import pytest

from airflow_provider_jimeng.api.codes import RULES

from tests.docs.codes_table import BEGIN, END, tables
from tests.docs.pages import ROOT, names, page, rows, section

TEXT = page("docs/troubleshooting.md")


def test_the_codes_are_those_that_the_product_decides_by() -> None:
    shown = TEXT.partition(BEGIN)[2].partition(END)[0]

    assert shown == tables(), "run: python -m tests.docs.codes_table"
    assert len(re.findall(r"^\| \d+ \|", shown, re.M)) == len(RULES)


#: What stands in a quoted message where the code has a value.
PLACEHOLDER = re.compile(
    r"\.\.\.|'[^']*'|\d[\d.]*|\bslots\b|\bcooldown\b|\bprivate\b|\bCeleryExecutor\b|\bimage_url:|\boutput:"
)


def quoted() -> list[str]:
    """Return the pieces of messages that the page quotes: what stands between its placeholders."""
    pieces = []
    for heading in ("## It doesn't start", "## It waits"):
        for row in rows(section(TEXT, heading)):
            for text in names(row[0]):
                pieces += [piece.strip(" ;,()'") for piece in PLACEHOLDER.split(text)]
    return [piece for piece in pieces if len(piece) > 8]


SOURCES = re.sub(
    r'"\s*\n\s*f?"',
    "",
    "".join(path.read_text("utf-8") for path in (ROOT / "airflow_provider_jimeng").rglob("*.py")),
)


@pytest.mark.parametrize("piece", sorted(set(quoted())))
def test_a_message_that_is_quoted_is_one_that_is_said(piece: str) -> None:
    assert piece in SOURCES
