# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A manifest: what a bulk run is asked to do, a line per item.

It is streamed and never held: what stays in memory for a line is eight bytes. All that is wrong with its form
is told at once, before anything is paid.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.validation import check_req_key
from airflow_provider_jimeng.bulk.fields import Row, read_line
from airflow_provider_jimeng.bulk.items import BadLine, Item, Problem
from airflow_provider_jimeng.bulk.jsonl import json_rows
from airflow_provider_jimeng.bulk.parquet import parquet_rows, require_pyarrow
from airflow_provider_jimeng.bulk.repeats import RepeatFinder, repeats
from airflow_provider_jimeng.bulk.snapshot import BOM, Snapshot, flaw_of_text
from airflow_provider_jimeng.bulk.tables import csv_rows, list_rows
from airflow_provider_jimeng.exceptions import JimengInputError, JimengNotCreatedError
from airflow_provider_jimeng.ledger.keys import redact_text, redact_url

if TYPE_CHECKING:
    from airflow_provider_jimeng.media.target import Target

_JSON_LINES = frozenset({".jsonl", ".ndjson", ".jsonlines"})
_PARQUET = frozenset({".parquet", ".pq"})
_COMPRESSED = frozenset({".gz", ".gzip", ".zst", ".bz2", ".xz", ".zip"})

#: Gives the rows of a manifest behind a line, any number of times.
RowSource = Callable[[int], Iterator[Row]]


class Problems(list[Problem]):
    """
    What is wrong with a manifest, in its order, up to a limit.

    :ivar total: how many there are in all.
    """

    def __init__(self, problems: Iterable[Problem] = (), total: int | None = None) -> None:
        super().__init__(problems)
        self.total = len(self) if total is None else total


class Manifest:
    """
    The items of a bulk run, readable in order any number of times.

    Made by :func:`open_manifest`.

    :ivar digest: SHA-256 of what it holds; two manifests with the same digest are the same, so a later leg of
        a run need not check again what an earlier one found to be in order.
    """

    def __init__(
        self,
        rows: RowSource,
        *,
        digest: str,
        default_req_key: str,
        flaw: Problem | None = None,
        may_be_empty: bool = True,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.digest = digest
        self.close = close
        self._rows = rows
        self._default_req_key = default_req_key
        self._flaw = flaw
        self._may_be_empty = may_be_empty
        self._total: int | None = None
        self._products: frozenset[str] = frozenset()
        # Lines whose id is taken, and the line that has it, in ascending order.
        self._repeated, self._first = array("Q"), array("Q")

    @property
    def total(self) -> int:
        """How many lines it has, those in bad form included; costs a pass unless it was checked."""
        if self._total is None:
            self.check(limit_errors=0)
        return self._total or 0

    @property
    def products(self) -> frozenset[str]:
        """The products that its lines name; empty where it was not checked."""
        return self._products

    def check(self, limit_errors: int = 100) -> Problems:
        """
        Read it once, and tell all that is wrong with the form of every line.

        Ids that clash cost another pass. A million lines take about half a minute of processor time.

        :param limit_errors: how many problems to return; all are counted, fatal ones always returned.
        """
        self._total = 0
        if self._flaw is not None:
            return Problems([self._flaw])
        found = _Collector(limit_errors)
        ids, products = RepeatFinder(), set[str]()
        for entry in self._read(0):
            self._total += 1
            if isinstance(entry, BadLine):
                found.take(entry.problems)
            else:
                products.add(entry.req_key)
            if isinstance(entry, Item) or entry.named:
                ids.add(entry.id)
        self._products = frozenset(products)
        if self._total == 0 and not self._may_be_empty:
            found.take([Problem(None, None, "it is empty: was it written whole?", fatal=True)])
        taken = _Collector(limit_errors)
        self._repeated, self._first = array("Q"), array("Q")
        for line, name, first, first_name in repeats(self._names, ids.suspects()):
            self._repeated.append(line)
            self._first.append(first)
            taken.take([_repeated(line, first, name == first_name)])
        return _in_order(found, taken, limit_errors)

    def items(self, after_line: int = 0) -> Iterator[Item]:
        """
        Yield the lines that are in good form, in order.

        :param after_line: leave out lines up to this one.
        """
        return (entry for entry in self.lines(after_line) if isinstance(entry, Item))

    def lines(self, after_line: int = 0) -> Iterator[Item | BadLine]:
        """
        Yield every line in order, also those in bad form.

        Ids that an earlier line has make a line bad; that is known only once :meth:`check` was called.

        :raises JimengInputError: it can't be read any further.
        """
        if self._flaw is not None:
            raise_for([self._flaw])
        for entry in self._read(after_line):
            if isinstance(entry, BadLine):
                raise_for(entry.problems, skip_invalid=True)
            yield self._unless_repeated(entry)

    def _read(self, after_line: int) -> Iterator[Item | BadLine]:
        return (read_line(row, self._default_req_key) for row in self._rows(after_line))

    def _names(self) -> Iterator[tuple[int, str]]:
        for entry in self._read(0):
            if isinstance(entry, Item) or entry.named:
                yield entry.line, entry.id

    def _unless_repeated(self, entry: Item | BadLine) -> Item | BadLine:
        at = bisect_left(self._repeated, entry.line)
        if at == len(self._repeated) or self._repeated[at] != entry.line:
            return entry
        problem = _repeated(entry.line, self._first[at], same=False)
        problems = (*entry.problems, problem) if isinstance(entry, BadLine) else (problem,)
        return BadLine(entry.line, entry.id, problems, entry.carried)


class _Collector:
    """Counts problems, and keeps the first few and every fatal one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept: list[Problem] = []
        self.count = 0

    def take(self, problems: Iterable[Problem]) -> None:
        for each in problems:
            self.count += 1
            if each.fatal or len(self.kept) < self._limit:
                self.kept.append(each)


def _in_order(found: _Collector, taken: _Collector, limit: int) -> Problems:
    both = merge(found.kept, taken.kept, key=lambda each: each.line or 0)
    kept = [each for rank, each in enumerate(both) if rank < limit or each.fatal]
    return Problems(kept, found.count + taken.count)


def _repeated(line: int, first: int, same: bool) -> Problem:
    if same:
        return Problem(line, "id", f"line {first} has the same id")
    return Problem(
        line,
        "id",
        f"line {first} has the same id, or one that some file systems take for the same name "
        "(upper and lower case, composed and decomposed letters)",
    )


def raise_for(problems: Sequence[Problem], *, skip_invalid: bool = False, listed: int = 20) -> None:
    """
    Raise if there is a problem.

    :param skip_invalid: only for those that skipping single lines can't get around.
    :param listed: how many to name; the rest is counted.
    :raises JimengInputError: naming line and field of each.
    """
    count = problems.total if isinstance(problems, Problems) else len(problems)
    if skip_invalid:
        problems = [each for each in problems if each.fatal]
        count = len(problems)
    if not problems and not count:
        return
    told = [f"  {each}" for each in problems[:listed]]
    if count > len(told):
        told.append(f"  and {count - len(told)} more")
    what = "a problem" if count == 1 else f"{count} problems"
    raise JimengInputError(
        "\n".join([f"manifest: {what} of form; nothing was sent, nothing was paid:", *told])
    )


def open_manifest(
    source: object,
    *,
    resolve: Callable[[str], Target],
    default_req_key: str,
) -> Manifest:
    """
    Open a manifest: JSON Lines, CSV or Parquet (by its extension) on any filesystem, or a list of dicts.

    A file is copied to this machine's temporary folder first, so that what is checked is what is run even if
    somebody writes it anew in the meantime.

    :param source: a URI, or a sequence of mappings; anything else is an error that says so.
    :param resolve: turns a URI into a place, with credentials.
    :param default_req_key: the product of lines that name none.
    :raises JimengInputError: there is no such file, or nothing says how to read it.
    :raises JimengNotCreatedError: the store can't be read just now.
    """
    check_req_key(default_req_key)
    if isinstance(source, str):
        return _open_file(source, resolve, default_req_key)
    if not isinstance(source, Sequence) or isinstance(source, bytes | bytearray):
        raise JimengInputError(
            f"manifest: a URI or a list of dicts is needed, not {type(source).__name__}. Nothing was paid."
        )
    rows = tuple(source)
    return Manifest(
        lambda after: list_rows(rows, after), digest=_digest_of(rows), default_req_key=default_req_key
    )


def _open_file(uri: str, resolve: Callable[[str], Target], default_req_key: str) -> Manifest:
    target = resolve(uri)
    extension = posixpath.splitext(target.path)[1].lower()
    named = redact_url(target.uri)
    if extension not in (*_JSON_LINES, *_PARQUET, ".csv"):
        raise JimengInputError(f"manifest: {named}: {_what_to_do(extension)}. Nothing was paid.")
    if extension in _PARQUET:
        require_pyarrow()
    snapshot = _copy(target, named)
    rows: RowSource
    if extension in _PARQUET:
        flaw = None if snapshot.head(4) == b"PAR1" else Problem(None, None, "it is not Parquet", fatal=True)
        rows = lambda after: parquet_rows(snapshot.open(), after)  # noqa: E731
    else:
        read = csv_rows if extension == ".csv" else json_rows
        empty = not snapshot.head(4).removeprefix(BOM)
        flaw = _EMPTY if empty else flaw_of_text(snapshot.head())
        rows = lambda after: read(snapshot.open(), after)  # noqa: E731
    return Manifest(
        rows,
        digest=snapshot.digest,
        default_req_key=default_req_key,
        flaw=flaw,
        may_be_empty=extension not in _JSON_LINES,
        close=snapshot.close,
    )


_EMPTY = Problem(None, None, "it is empty: was it written whole?", fatal=True)


def _what_to_do(extension: str) -> str:
    if extension in _COMPRESSED:
        return "it is compressed by its name: decompress it, manifests are read as they are"
    if extension == ".json":
        return "JSON Lines is needed: write one object per line, and name it .jsonl"
    return "its name must end in .jsonl, .csv or .parquet, which says how to read it"


def _copy(target: Target, named: str) -> Snapshot:
    try:
        with target.fs.open(target.path, "rb") as file:
            return Snapshot(file)
    except FileNotFoundError:
        raise JimengInputError(f"manifest: {named} is not there. Nothing was paid.") from None
    except IsADirectoryError:
        raise JimengInputError(f"manifest: {named} is a folder. Nothing was paid.") from None
    except JimengInputError:
        raise
    except Exception as error:
        reason = redact_text(str(error).partition("\n")[0][:200])
        raise JimengNotCreatedError(
            f"manifest: {named} could not be read ({type(error).__name__}: {reason}). Nothing was paid; "
            "a retry reads it again."
        ) from None


def _digest_of(rows: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        # What JSON can't hold is a problem of its line, told by the check.
        digest.update(_text_of(row).encode() + b"\n")
    return digest.hexdigest()


def _text_of(row: Any) -> str:
    try:
        plain = dict(row) if isinstance(row, Mapping) else row
        return json.dumps(plain, default=lambda value: type(value).__name__, skipkeys=True)
    except (ValueError, RecursionError):
        return type(row).__name__
