# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Numbers for whoever watches: counted where things happen, published by whom the process has named.

Airflow isn't known here. The hooks name a publisher (:mod:`airflow_provider_jimeng.hooks.metrics`); without
one nothing is published and a count costs a function call. Nothing here ever raises: a number that can't be
published is no reason to lose a task that was paid for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import Enum

__all__ = ["Kind", "Publish", "add", "gauge", "publish_to", "took"]

log = logging.getLogger(__name__)


class Kind(Enum):
    """What a number means: added to a counter, the newest of a value, or a duration in seconds."""

    COUNT = "count"
    GAUGE = "gauge"
    SECONDS = "seconds"


#: Kind, name without a prefix, value, tags.
Publish = Callable[[Kind, str, float, Mapping[str, str]], None]

_publisher: Publish | None = None


def publish_to(publisher: Publish | None) -> None:
    """
    Name who publishes this process's numbers; ``None``: nobody.

    :param publisher: is called by several threads and on event loops: it must not block.
    """
    global _publisher
    _publisher = publisher


def add(name: str, account: str, req_key: str, *, count: int = 1, **tags: object) -> None:
    """
    Add to a counter.

    :param account: the account's name in the ledger, never a secret.
    :param tags: further tags of few values each; those that are ``None`` are left out.
    """
    _publish(Kind.COUNT, name, count, account, req_key, tags)


def took(name: str, seconds: float, account: str, req_key: str, **tags: object) -> None:
    """Tell how long something took; below zero, after a clock was set back, counts as 0."""
    _publish(Kind.SECONDS, name, max(0.0, seconds), account, req_key, tags)


def gauge(name: str, value: float, tags: Mapping[str, str]) -> None:
    """Tell a value as it is now."""
    _guarded(Kind.GAUGE, name, value, tags)


def _publish(
    kind: Kind, name: str, value: float, account: str, req_key: str, tags: Mapping[str, object]
) -> None:
    if _publisher is None:
        return
    further = {key: str(each) for key, each in tags.items() if each is not None}
    _guarded(kind, name, value, {"account": account, "req_key": req_key, **further})


def _guarded(kind: Kind, name: str, value: float, tags: Mapping[str, str]) -> None:
    publisher = _publisher
    if publisher is None:
        return
    try:
        publisher(kind, name, value, tags)
    except Exception:
        log.debug("A metric could not be published.", exc_info=True)
