# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One line of a manifest, from its raw fields to an item or to all that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_jimeng.api.products import OPTIONS
from airflow_provider_jimeng.api.validation import check_media_url, check_req_key, check_variant
from airflow_provider_jimeng.bulk.ids import read_id
from airflow_provider_jimeng.bulk.items import BadLine, Item, Problem
from airflow_provider_jimeng.exceptions import JimengInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUIRED = ("image", "video")
KNOWN = frozenset({"id", "image", "video", "variant", "req_key"})
T = TypeVar("T")

_TAKES_IMAGE_AND_VIDEO = tuple(OPTIONS)


@dataclass(frozen=True, slots=True)
class Row:
    """
    A line as its format delivers it.

    :param line: see :class:`~airflow_provider_jimeng.bulk.items.Item`.
    :param values: its fields; ``None`` where it could not be read.
    :param flaw: why not.
    :param fatal: see :class:`~airflow_provider_jimeng.bulk.items.Problem`.
    """

    line: int
    values: Mapping[str, Any] | None
    flaw: str = ""
    fatal: bool = False


def read_line(row: Row, default_req_key: str) -> Item | BadLine:
    """Turn a row into an item, or tell everything that is wrong with it at once."""
    if row.values is None:
        return BadLine(row.line, str(row.line), (Problem(row.line, None, row.flaw, row.fatal),))
    return _Reader(row.line, row.values).read(default_req_key)


class _Reader:
    def __init__(self, line: int, values: Mapping[str, Any]) -> None:
        self._line = line
        self._values = values
        self._problems: list[Problem] = []

    def read(self, default_req_key: str) -> Item | BadLine:
        given = self._field("id", read_id, str(self._line))
        name = given if given is not None else str(self._line)
        image, video = self._url("image"), self._url("video")
        variant = self._field("variant", check_variant, 0)
        req_key = self._field(
            "req_key", lambda value: _known_req_key(value, default_req_key), default_req_key
        )
        carried = {key: value for key, value in self._values.items() if key not in KNOWN}
        if self._problems or image is None or video is None or variant is None or req_key is None:
            return BadLine(self._line, name, tuple(self._problems), carried, given is not None)
        return Item(self._line, name, image, video, variant, req_key, carried)

    def _url(self, field: str) -> str | None:
        if self._values.get(field) in (None, ""):
            self._complain(field, _missing(field, self._values))
            return None
        return self._field(field, lambda url: check_media_url(url, field), None)

    def _field(self, field: str, read: Callable[[Any], T], default: T | None) -> T | None:
        """Read a field; a null, and in a table an empty cell, is a field that is not there."""
        value = self._values.get(field)
        if value is None:
            return default
        try:
            return read(value)
        except JimengInputError as error:
            self._complain(field, _without_frame(error.message))
        except ValueError as error:
            self._complain(field, str(error))
        return None

    def _complain(self, field: str, message: str) -> None:
        self._problems.append(Problem(self._line, field, message))


def _known_req_key(value: Any, default_req_key: str) -> str:
    req_key = check_req_key(value)
    known = (*_TAKES_IMAGE_AND_VIDEO, default_req_key)
    if req_key not in known:
        raise ValueError(f"a product that takes an image and a video is needed: {' or '.join(known[:2])}")
    return req_key


def _missing(field: str, values: Mapping[str, Any]) -> str:
    alike = [key for key in values if key != field and key.strip().lower() == field]
    if field in values:
        return "it is empty; a URL is needed"
    return f"it is missing{f'; {alike[0][:40]!r} is not the same name' if alike else ''}"


def _without_frame(message: str) -> str:
    """Take the field's name and the assurance of no cost off a message: a list of problems says them once."""
    text = message.partition(": ")[2] or message
    return text.removesuffix(" Nothing was sent, nothing was paid.").removesuffix(".")
