# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a bulk run is about: an item of the manifest, what became of it, and what is wrong with a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(StrEnum):
    """
    What became of an item; every line of the report has exactly one.

    ``LANDED`` was paid in this run, ``REUSED`` landed without a new submit (also the second of two equal
    lines). ``FAILED``, ``INVALID``, ``UNKNOWN`` and ``EXPIRED`` count against the operator's tolerance;
    ``SKIPPED`` is what a budget, a deadline or the tolerance left for the next run.
    """

    LANDED = "landed"
    REUSED = "reused"
    FAILED = "failed"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    SKIPPED = "skipped"


#: Outcomes that count against ``tolerance``.
BAD_OUTCOMES = frozenset({Outcome.FAILED, Outcome.INVALID, Outcome.UNKNOWN, Outcome.EXPIRED})


@dataclass(frozen=True, slots=True)
class Item:
    """
    A line of the manifest that is in good form.

    :param line: the line of the file on which it begins, from 1, a header counted; in Parquet and in a list
        its row, from 1.
    :param id: names the output file; unique in its manifest, whatever the case or Unicode form.
    :param image: URL as given; may carry a presigned query, so it is never printed as it is.
    :param video: URL as given, likewise.
    :param variant: makes equal inputs another wish.
    :param req_key: the product, the run's default filled in.
    :param carried: the line's other fields, unread.
    """

    line: int
    id: str
    image: str = field(repr=False)
    video: str = field(repr=False)
    variant: int
    req_key: str
    carried: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fate:
    """
    What became of one line; a line of ``report.jsonl`` before the carried fields.

    :param line: the line of its item.
    :param attempts: attempts of its content, earlier runs included; 0 where none was made.
    :param code: the vendor's code of the verdict, where there was one.
    :param message: the vendor's text of the verdict.
    :param uri: where the result is.
    :param submitted_at: epoch seconds.
    :param finished_at: epoch seconds.
    :param elapsed: seconds the vendor took.
    :param error: what went wrong, in this product's words; no URL with a query string.
    """

    line: int
    id: str
    outcome: Outcome
    content_key: str | None = None
    task_id: str | None = None
    attempts: int = 0
    code: int | None = None
    message: str | None = None
    uri: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    submitted_at: float | None = None
    finished_at: float | None = None
    elapsed: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Something wrong with a manifest.

    :param line: the line it is about; ``None`` where it is about the whole.
    :param field: the field it is about; ``None`` where it is about the whole line.
    :param message: what is wrong, without quoting what may be a secret.
    :param fatal: nobody can tell where the lines are, or all of them are affected: skipping this one line is
        no remedy.
    """

    line: int | None
    field: str | None
    message: str
    fatal: bool = False

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line is not None else []
        where += [self.field] if self.field is not None else []
        return f"{', '.join(where)}: {self.message}" if where else self.message


@dataclass(frozen=True, slots=True)
class BadLine:
    """
    A line of the manifest that is in bad form.

    :param id: what it would have been called; its line number where its own id is no fit name.
    :param problems: what is wrong with it, at least one.
    :param named: whether ``id`` would do as the name of an output, if the line were right otherwise.
    """

    line: int
    id: str
    problems: tuple[Problem, ...]
    carried: Mapping[str, Any] = field(default_factory=dict, repr=False)
    named: bool = False

    @property
    def reason(self) -> str:
        """What is wrong, as one text."""
        return "; ".join(
            f"{each.field}: {each.message}" if each.field else each.message for each in self.problems
        )
