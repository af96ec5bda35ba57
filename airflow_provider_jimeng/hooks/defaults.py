# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the operators and the sensor have in common as Airflow tasks: retries, masking, errors."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.hooks.compat import conf, mask_secret

DEFAULT_CONNECTION = "volcengine_default"
#: A day's tail of an 11 h wait still fits into the vendor's 12 h.
DEFAULT_TIMEOUT_SECONDS = 11 * 3600.0

# Airflow 3.3 fails healthy deferred tasks now and then; a retry re-attaches and costs nothing, so one is
# always there unless the user said otherwise. Airflow's own defaults (no retry, five minutes) count as not
# having said anything.
DEFAULT_RETRIES: int = conf.getint("core", "default_task_retries", fallback=0) or 3
_AIRFLOW_RETRY_DELAY = 300
_configured_delay: int = conf.getint("core", "default_task_retry_delay", fallback=_AIRFLOW_RETRY_DELAY)
DEFAULT_RETRY_DELAY = dt.timedelta(
    seconds=15 if _configured_delay == _AIRFLOW_RETRY_DELAY else _configured_delay
)


def mask_queries(value: Any) -> None:
    """Hide the query string of every URL in a rendered argument: a presigned one is a password."""
    for text in _strings(value):
        try:
            query = urlsplit(text).query
        except ValueError:
            query = text.partition("?")[2]
        if query:
            mask_secret(query)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if "?" in value:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def flag_of(value: Any, field: str) -> bool:
    """
    Return a switch.

    :raises JimengInputError: it is no bool; the text "false" would switch it on.
    """
    if not isinstance(value, bool):
        raise JimengInputError(f"{field} must be True or False, not {value!r}. Nothing was paid")
    return value


def seconds_of(value: Any, field: str) -> float:
    """
    Return the seconds of a duration argument.

    :raises JimengInputError: it is no positive number of seconds and no ``timedelta``.
    """
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not math.isfinite(seconds)
        or seconds <= 0
    ):
        raise JimengInputError(
            f"{field} must be a positive number of seconds or a timedelta, not {value!r}. Nothing was paid"
        )
    return float(seconds)


def whole_number(field: str, value: Any, *, least: int) -> int | None:
    """
    Return a whole number, or ``None`` where there is none.

    :raises JimengInputError: it is something else; nothing was paid.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise JimengInputError(
            f"{field} must be a whole number from {least}, not {value!r}. Nothing was paid"
        )
    return value
