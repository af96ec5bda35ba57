# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Manifests as tables: CSV with a header, and lists of dicts from Python."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from airflow_provider_jimeng.bulk.fields import REQUIRED, Row
from airflow_provider_jimeng.bulk.jsonl import MAX_DEPTH, MAX_LINE_BYTES, depth_of, physical_lines


class _TableError(Exception):
    """A line at which nobody can tell any more where lines and cells are."""

    def __init__(self, line: int, told: str) -> None:
        super().__init__(told)
        self.line = line


class _Lines:
    """Feeds physical lines to the csv module, and remembers where a record began."""

    def __init__(self, file: IO[bytes]) -> None:
        self._lines = physical_lines(file)
        self.begin = 0
        self._fresh = True
        self._held = 0

    def __iter__(self) -> _Lines:
        return self

    def next_record(self) -> None:
        self._fresh = True
        self._held = 0

    def __next__(self) -> str:
        number, line = next(self._lines)
        if self._fresh:
            self.begin, self._fresh = number, False
        self._held += len(line) if line is not None else MAX_LINE_BYTES
        if line is None or self._held > MAX_LINE_BYTES:
            raise _TableError(
                self.begin, f"it is longer than {MAX_LINE_BYTES} bytes (a quote that is not closed?)"
            )
        if b"\x00" in line:
            raise _TableError(number, "it holds a NUL byte")
        try:
            return line.decode("utf-8") + "\n"
        except UnicodeDecodeError as error:
            raise _TableError(
                number, f"it is not UTF-8 (at byte {error.start + 1}); save the file as CSV UTF-8"
            ) from None


def csv_rows(file: IO[bytes], after_line: int = 0) -> Iterator[Row]:
    """
    Yield a row for each record below the header.

    A record that can't be delimited ends the reading, with a fatal row: what follows would be guesswork.
    """
    lines = _Lines(file)
    try:
        records = csv.reader(lines, strict=True)
        header = _header(records)
        while True:
            lines.next_record()
            cells = next(records, None)
            if cells is None:
                return
            if cells and lines.begin > after_line:
                yield _record(lines.begin, header, cells)
    except _TableError as error:
        yield Row(error.line, None, str(error), fatal=True)
    except csv.Error as error:
        yield Row(lines.begin, None, f"its quotes or cells can't be told apart: {error}", fatal=True)


def _header(records: Iterator[list[str]]) -> list[str]:
    header = [name.strip() for name in next((cells for cells in records if cells), [])]
    if not header:
        raise _TableError(1, "there is no header; the first line must name the columns")
    blank = [number for number, name in enumerate(header, 1) if not name]
    if blank:
        raise _TableError(1, f"column {blank[0]} of the header has no name")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _TableError(1, f"the header names {twice[0][:40]!r} twice")
    _check_columns(header)
    return header


def missing_columns(names: Sequence[str]) -> str | None:
    """Tell which columns that every line needs a table lacks, ``None`` if none."""
    missing = [name for name in REQUIRED if name not in names]
    if not missing:
        return None
    found = ", ".join(repr(name[:40]) for name in names[:20])
    return f"the column{'s' * (len(missing) > 1)} {' and '.join(missing)} must be there; found: {found}"


def _check_columns(header: list[str]) -> None:
    told = missing_columns(header)
    if told is None:
        return
    other = next((char for char in (";", "\t", "|") if len(header) == 1 and char in header[0]), None)
    hint = f"; the cells seem to be separated by {other!r}, where a comma is needed" if other else ""
    raise _TableError(1, told + hint)


def _record(number: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(number, None, f"it has {len(cells)} cells, the header has {len(header)}")
    values: dict[str, Any] = dict(zip(header, cells, strict=True))
    for name in ("id", "variant", "req_key"):
        if values.get(name) == "":
            del values[name]
    return Row(number, values)


def list_rows(rows: Sequence[Any], after_line: int = 0) -> Iterator[Row]:
    """Yield a row for each entry of a list."""
    for number, entry in enumerate(rows, 1):
        if number > after_line:
            flaw = _flaw_of(entry)
            yield Row(number, None, flaw) if flaw else Row(number, entry)


def _flaw_of(entry: Any) -> str | None:
    if not isinstance(entry, Mapping):
        return f"a dict is needed, not {type(entry).__name__}"
    if not all(isinstance(key, str) for key in entry):
        return "every key must be text"
    for key, value in entry.items():
        if isinstance(value, str | int | None):
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return f"{key[:40]!r} holds what JSON cannot (NaN, bytes, an object, itself)"
        if depth_of(value) > MAX_DEPTH:
            return f"{key[:40]!r} is nested too deeply"
    return None
