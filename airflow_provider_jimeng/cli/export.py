# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``export``: rows as JSON lines or CSV, in constant memory."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
import unicodedata
import uuid
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_jimeng.cli.look import wanted
from airflow_provider_jimeng.cli.render import COLUMNS, json_line, landing_values, record_values
from airflow_provider_jimeng.cli.session import Refusal, WrongUse, say
from airflow_provider_jimeng.ledger.listing import has_fallen_silent

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.listing import Wanted

__all__ = ["export", "safe_cell"]

_PAGE = 900
#: What makes a formula of a cell, in letters of either width.
_FORMULA = tuple("=+-@＝＋－＠")


def safe_cell(value: Any) -> Any:
    """
    Return a value as a cell that no spreadsheet runs.

    Numbers stay numbers; a text that a spreadsheet could take for a formula, or that hides one behind white
    space, begins with an apostrophe.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json_line(value)
    seen = text.lstrip("".join(char for char in set(text) if unicodedata.category(char)[0] in "CZ"))
    return f"'{text}" if seen.startswith(_FORMULA) or text[:1] in ("\t", "\r", "\n") else text


def _rows(admin: LedgerAdmin, filters: Wanted) -> Iterator[dict[str, Any]]:
    last = None
    more = True
    while more:
        page = admin.page(filters, after=last, limit=_PAGE)
        places = admin.landings_of(page.records)
        for record in page.records:
            values = record_values(record, silent=has_fallen_silent(record, page.now))
            landings = places.get((record.content_key, record.attempt), ())
            yield {**values, "landings": [landing_values(each) for each in landings]}
        more = page.more
        last = page.records[-1] if page.records else None


def _write(rows: Iterator[dict[str, Any]], stream: IO[str], kind: str) -> int:
    written = 0
    writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    if kind == "csv":
        writer.writerow([*COLUMNS, "landings"])
    for values in rows:
        written += 1
        if kind == "csv":
            writer.writerow([safe_cell(value) for value in values.values()])
        else:
            stream.write(json_line(values) + "\n")
    return written


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o660)


def export(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Write rows to standard output or to a new file."""
    rows = _rows(admin, wanted(options))
    if options.output is None:
        _write(rows, sys.stdout, options.format)
        return 0
    if os.path.lexists(options.output):
        raise WrongUse(f"{options.output} is there already; nothing was written. Name a new file.")
    part = f"{options.output}.{uuid.uuid4().hex}.part"
    try:
        try:
            # As the ledger itself: nothing for every user of the machine.
            with open(part, "x", encoding="utf-8", newline="", opener=_private) as stream:
                count = _write(rows, stream, options.format)
            os.replace(part, options.output)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
    except OSError as error:
        raise Refusal(f"{options.output} can't be written: {error}") from None
    say(f"{count} rows written to {options.output}.")
    return 0
