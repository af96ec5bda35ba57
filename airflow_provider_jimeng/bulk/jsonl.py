# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Manifests in JSON Lines: an object per line."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, NoReturn

from airflow_provider_jimeng.bulk.fields import Row
from airflow_provider_jimeng.bulk.snapshot import BOM

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ten times what the longest URLs and generous notes take; a longer line is not held in memory.
MAX_LINE_BYTES = 1024 * 1024
MAX_DEPTH = 64


def physical_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """
    Yield number and bytes of each line, the line's end taken off; ``None`` for one that is too long.

    Only a line feed ends a line (a carriage return before it belongs to the end): JSON and CSV may hold
    every other character that Unicode takes for one.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if not line.endswith(b"\n") and len(line) > MAX_LINE_BYTES:
            _skip_line(file)
            yield number, None
            continue
        if number == 1:
            line = line.removeprefix(BOM)
        yield number, line.rstrip(b"\r\n")


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def json_rows(file: IO[bytes], after_line: int = 0) -> Iterator[Row]:
    """Yield a row for each line that is not blank."""
    for number, line in physical_lines(file):
        if number <= after_line or (line is not None and not line.strip()):
            continue
        yield _row(number, line)


def _row(number: int, line: bytes | None) -> Row:
    if line is None:
        return Row(number, None, f"it is longer than {MAX_LINE_BYTES} bytes")
    if b"\x00" in line:
        return Row(number, None, "it holds a NUL byte")
    try:
        return Row(number, _parse(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        return Row(number, None, f"it is not UTF-8 (at byte {error.start + 1})")
    except json.JSONDecodeError as error:
        return Row(number, None, _told(line, error))
    except (_UnfitError, ValueError) as error:
        return Row(number, None, _words(error))
    except RecursionError:
        return Row(number, None, "it is nested too deeply")


class _UnfitError(ValueError):
    """JSON that has no exact meaning here."""


def _words(error: ValueError) -> str:
    # The only other one is Python's refusal of integers with thousands of digits.
    return str(error) if isinstance(error, _UnfitError) else "it holds a number with too many digits"


def _parse(text: str) -> dict[str, Any]:
    value = _DECODER.decode(text)
    if not isinstance(value, dict):
        kind = "an array" if isinstance(value, list) else "a single value"
        raise _UnfitError(f"it is {kind}; an object per line is needed: {{...}}")
    if text.count("{") + text.count("[") > MAX_DEPTH and depth_of(value) > MAX_DEPTH:
        raise _UnfitError("it is nested too deeply")
    return value


def depth_of(value: object) -> int:
    """Return how many containers are inside each other, no deeper than it matters."""
    level: list[Any] = [value]
    for depth in range(MAX_DEPTH + 1):
        level = [each for each in level if isinstance(each, dict | list | tuple)]
        if not level:
            return depth
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return MAX_DEPTH + 1


def _told(line: bytes, error: json.JSONDecodeError) -> str:
    start = line.lstrip()[:1]
    if line.strip() in (b"[", b"{"):
        return "one JSON value is spread over many lines; write each object on a line of its own (JSON Lines)"
    if start == b"<":
        return "it looks like HTML or XML, not JSON"
    if start == b"{" and not line.rstrip().endswith(b"}"):
        return "it is not JSON: the closing } is missing (a line cut short, or an object over many lines?)"
    return f"it is not JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _UnfitError(f"the key {twice[:40]!r} is there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _UnfitError("it holds a number too large for JSON readers")
    return number


def _no_constant(name: str) -> NoReturn:
    raise _UnfitError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
