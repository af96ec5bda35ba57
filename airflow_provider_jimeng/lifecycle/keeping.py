# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Results that are kept out of the way of others: under which name, and whether they arrived there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengLandingError
from airflow_provider_jimeng.media.kinds import suffix_of

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord
    from airflow_provider_jimeng.media.target import Stat, Target


def kept_name(owner: TaskRecord | LandingRecord, content_type: str | None) -> str:
    """Return a name that no other result can have; a further result's key has a slash in it."""
    return f"{owner.content_key.replace('/', '-')}-{owner.attempt}{suffix_of(content_type)}"


def result_of(owner: TaskRecord | LandingRecord) -> tuple[str, int]:
    """Return which result it is; two that are alike to the last byte are two results."""
    return owner.content_key, owner.attempt


def copied(source: LandingRecord, to: Target) -> Stat:
    """
    Return what a copy of a landing is like; its etag is its own.

    :raises JimengLandingError: it is not all there.
    """
    stat = to.stat()
    if stat is None or stat.size != source.size:
        raise JimengLandingError(
            f"{to.uri} is not what was copied there from {source.uri}; a retry copies it again",
            content_key=source.content_key,
        )
    return stat
