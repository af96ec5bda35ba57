# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The provider's numbers as Airflow's metrics (StatsD, Datadog or OpenTelemetry, as ``[metrics]`` says).

Names and tags are listed in ``docs/metrics.md``, which a test holds against :data:`METRICS`.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.client import meter
from airflow_provider_jimeng.client.meter import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["METRICS", "PREFIX", "publish", "start", "watch_from_triggerer"]

PREFIX = "jimeng."

_TASKS = ("account", "req_key")
_RUN = ("dag_id", "task_id")
#: Name without prefix: what kind of number it is, and its tags.
METRICS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "submits": (Kind.COUNT, _TASKS),
    "refused": (Kind.COUNT, (*_TASKS, "code")),
    "unknown": (Kind.COUNT, _TASKS),
    "queries": (Kind.COUNT, _TASKS),
    "finished": (Kind.COUNT, (*_TASKS, "outcome")),
    "landed": (Kind.COUNT, _TASKS),
    "landed_bytes": (Kind.COUNT, _TASKS),
    "slot_wait": (Kind.SECONDS, _TASKS),
    "processing": (Kind.SECONDS, _TASKS),
    "landing": (Kind.SECONDS, _TASKS),
    "bulk.total": (Kind.GAUGE, _RUN),
    "bulk.done": (Kind.GAUGE, _RUN),
    "bulk.failed": (Kind.GAUGE, _RUN),
    "bulk.refused": (Kind.GAUGE, _RUN),
    "bulk.slots_in_use": (Kind.GAUGE, _RUN),
}

#: Where Airflow keeps its ``Stats``. Since 3.2 workers and components have one each, and only their own is
#: set up in a process; 3.1 has one for all.
_OF_WORKERS = ("airflow.sdk.observability.stats", "airflow.stats")
_OF_COMPONENTS = ("airflow.observability.stats", "airflow.stats")
_where = _OF_WORKERS

#: What every backend takes in a tag's value.
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")


def start() -> None:
    """Publish this process's numbers through Airflow; asking again changes nothing."""
    meter.publish_to(publish)


def watch_from_triggerer() -> None:
    """
    Publish through the triggerer's own ``Stats``; blocks, so off the event loop.

    The worker's is not set up in a triggerer and drops what it is told.
    """
    global _where
    _where = _OF_COMPONENTS
    _stats(_where)


def publish(kind: Kind, name: str, value: float, tags: Mapping[str, str]) -> None:
    """
    Publish one number.

    :param name: without the prefix.
    :param value: seconds where it is a duration; Airflow makes of it what its backend wants.
    :raises Exception: whatever the backend raises; :mod:`~airflow_provider_jimeng.client.meter` stops it.
    """
    stats = _stats(_where)
    if stats is None:
        return
    fit = {key: tag_value(each) for key, each in tags.items()}
    if kind is Kind.COUNT:
        stats.incr(PREFIX + name, int(value), tags=fit)
    elif kind is Kind.GAUGE:
        stats.gauge(PREFIX + name, value, tags=fit)
    else:
        stats.timing(PREFIX + name, dt.timedelta(seconds=value), tags=fit)


@cache
def tag_value(text: str) -> str:
    """
    Return a text that every backend takes as a tag's value.

    StatsD's client sends ASCII only, and InfluxDB's line format knows commas and spaces as its own. A name
    in Chinese gets its Punycode, as in the names of hosts, so that two accounts stay two.
    """
    if not text.isascii():
        text = "xn--" + text.encode("punycode").decode("ascii")
    return _UNFIT.sub("_", text) or "_"


@cache
def _stats(where: tuple[str, ...]) -> Any:
    for name in where:
        try:
            return import_module(name).Stats
        except (ImportError, AttributeError):
            continue
    return None
