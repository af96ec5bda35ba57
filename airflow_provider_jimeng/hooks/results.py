# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Landing all that a task made: one video, or one or several pictures, each of them paid for."""

from __future__ import annotations

import logging
import posixpath
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import MOST_RESULTS
from airflow_provider_jimeng.api.products import takes_image_and_video
from airflow_provider_jimeng.exceptions import JimengMissingOutputError
from airflow_provider_jimeng.hooks.landing import fetch_from_vendor, fresh_urls, watched_of
from airflow_provider_jimeng.ledger.parts import part_key
from airflow_provider_jimeng.media.kinds import suffix_of

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_jimeng.hooks.jimeng import JimengHook
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.harvest import Watched
    from airflow_provider_jimeng.lifecycle.land import Fetch, Landed, Lander
    from airflow_provider_jimeng.media.download import Downloaded
    from airflow_provider_jimeng.media.target import Target

log = logging.getLogger(__name__)

_ALIKE = {".jpeg": ".jpg", ".jpe": ".jpg"}


def land_all(hook: JimengHook, landing: Lander, record: TaskRecord, target: Target) -> list[Landed]:
    """
    Bring all that a finished task made to a place, the first result to the place itself.

    The further ones go first: once the first is landed nothing is missing, and a try that died between two of
    them goes on with what is left. How many there are is asked at the first landing, and is the ledger's to
    know from then on.

    :return: the first, then the others in the vendor's order.
    :raises JimengOutputExistsError: a foreign file stands at one of the places; the bytes are kept beside it.
    :raises JimengLandingError: not all is stored yet; the task is not lost.
    """
    watched = watched_of(record)
    if takes_image_and_video(record.scope.req_key):
        return [landing.land(record, target, _fetch(hook, watched, 1, None))]
    urls: list[str] = []
    count = _known(landing, record)
    if count is None:
        try:
            urls = fresh_urls(hook, watched)
        except JimengMissingOutputError as error:
            return _what_is_left(landing, record, target, error)
        count = len(urls)
    further = []
    for number in range(2, count + 1):
        fetch = _fetch(hook, watched, number, urls[number - 1] if urls else None)
        further.append(landing.land(record, target.numbered(number), fetch, number))
    first = landing.land(record, target, _fetch(hook, watched, 1, urls[0] if urls else None))
    _tell_of_suffix(first)
    return [first, *further]


def _what_is_left(
    landing: Lander, record: TaskRecord, target: Target, error: JimengMissingOutputError
) -> list[Landed]:
    """
    Take what a killed try stored of a task that the vendor has no more, or write down that it is lost.

    The first is landed last: where it is stored, all the others are, and are known.

    :raises JimengOutputExistsError: an unknown file stands where it was wanted.
    """

    def gone(into: Path) -> Downloaded:
        raise error

    first = landing.land(record, target, gone)
    numbers = range(2, _at_least(landing, record) + 1)
    return [first, *(landing.land(record, target.numbered(each), gone, each) for each in numbers)]


def _known(landing: Lander, record: TaskRecord) -> int | None:
    """Return how many results the task is known to have made, ``None`` before its first landing."""
    return _at_least(landing, record) if _landed(landing, record, 1) else None


def _at_least(landing: Lander, record: TaskRecord) -> int:
    count = 1
    while count < MOST_RESULTS and _landed(landing, record, count + 1):
        count += 1
    return count


def _landed(landing: Lander, record: TaskRecord, part: int) -> bool:
    known = landing.ledger.landings(part_key(record.content_key, part))
    return any(each.attempt == record.attempt for each in known)


def _fetch(hook: JimengHook, watched: Watched, part: int, url: str | None) -> Fetch:
    """Return what downloads one result: by a link that is at hand, and by fresh ones after that."""
    at_hand = [url]

    def fetch(into: Path) -> Downloaded:
        first = at_hand.pop() if at_hand else None
        return fetch_from_vendor(hook, watched, into, first_url=first, part=part)

    return fetch


def _tell_of_suffix(landed: Landed) -> None:
    suffix = posixpath.splitext(landed.uri)[1].lower()
    is_a = suffix_of(landed.content_type)
    if landed.fresh and suffix and _ALIKE.get(suffix, suffix) != is_a:
        log.warning("%s is named as it was asked for, but it is %s.", landed.uri, landed.content_type)
