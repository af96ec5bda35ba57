# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Names for what a task made beside its first result: some products give several pictures for one task.

Each lies somewhere of its own, so each has landings of its own, under a key made of the content's: nothing
that looks for a content's result can take the second picture for the first.
"""

from __future__ import annotations

from airflow_provider_jimeng.api.models import MOST_RESULTS
from airflow_provider_jimeng.api.products import takes_image_and_video

__all__ = ["content_of", "keys_of", "part_key"]


def part_key(content_key: str, number: int) -> str:
    """
    Return the key under which the landings of one of a task's results are kept.

    :param number: which of them, from 1; the first has the content's own key.
    """
    return content_key if number == 1 else f"{content_key}/{number}"


def content_of(key: str) -> str:
    """Return the content that a landing's key belongs to."""
    return key.partition("/")[0]


def keys_of(content_key: str, req_key: str) -> list[str]:
    """Return all keys that landings of a content may have."""
    most = 1 if takes_image_and_video(req_key) else MOST_RESULTS
    return [part_key(content_key, number) for number in range(1, most + 1)]
