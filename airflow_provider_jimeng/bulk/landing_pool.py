# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Landing beside the waiting: a few threads, so that a big file or a slow store never delays a refill.

The bytes land once, under a name that no other content can take; the wanted names are copies of that. So a
reordered manifest, two swapped lines and tomorrow's manifest in the same folder overwrite no only copy.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengLandingError,
    JimengLedgerError,
    JimengOutputExistsError,
)

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.content import Content, Folder
    from airflow_provider_jimeng.bulk.items import Item
    from airflow_provider_jimeng.bulk.tools import Tools
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord
    from airflow_provider_jimeng.lifecycle.land import Landed, Lander

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LandingResult:
    """
    What became of one landing.

    :param record: the content's row as the landing left it.
    :param landed: where each line's result is.
    :param failed: lines whose place is taken for good.
    :param trouble: why the rest is not there yet.
    """

    record: TaskRecord | None
    landed: list[tuple[Item, Landed]] = field(default_factory=list)
    failed: list[tuple[Item, JimengError]] = field(default_factory=list)
    trouble: JimengError | None = None


def land(tools: Tools, content: Content, items: tuple[Item, ...], url: str | None) -> LandingResult:
    """
    Land a content's result for some lines; whatever happens, the task stays paid, known and fetchable.

    :param url: the result's URL, if it was obtained a moment ago.
    """
    result = LandingResult(content.record)
    try:
        record = _current(tools, content)
        result.record = record
        source: LandingRecord | None = None
        for item in items:
            target = tools.folder.output(item.id)
            there = tools.lander.find(record.content_key, target)
            if there is None:
                source = source or _safe(tools.lander, tools.folder, record, tools, url)
                try:
                    there = tools.lander.copy(record, source, target)
                except JimengOutputExistsError as error:
                    result.failed.append((item, error))
                    continue
            result.landed.append((item, there))
        result.record = tools.ledger.get(record.id) or record
    except (JimengLandingError, JimengLedgerError) as error:
        result.trouble = error
        if isinstance(error, JimengLandingError) and not error.retry_helps:
            result.record = tools.ledger.latest(content.key)
    return result


def _current(tools: Tools, content: Content) -> TaskRecord:
    """Return the row as it is now: a landing that was interrupted has moved it."""
    seen = content.record
    found = None if seen is None else tools.ledger.get(seen.id)
    if found is None:
        raise JimengLedgerError("The ledger's row of a paid result is gone", content_key=content.key)
    return found


def _safe(lander: Lander, folder: Folder, record: TaskRecord, tools: Tools, url: str | None) -> LandingRecord:
    """Return the landing under the content's own name, putting it there first where it is not."""
    place = folder.safe(record)
    # Nobody else's file can bear this name: what stands there unrecorded is a leftover of our own.
    replace(lander, overwrite=True).land(record, place, tools.fetch(record, url))
    for landing in tools.ledger.landings(record.content_key):
        if landing.uri == place.uri:
            return landing
    raise JimengLedgerError(
        "The ledger forgot a landing that it was just told", content_key=record.content_key
    )
