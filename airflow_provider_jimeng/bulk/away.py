# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Stores of inputs that do not answer, and for how long each of them is waited for.

What is known of them outlives a leg: a deferred run that waited for the same store in each of its legs would
leave slots idle each time, and one that began its wait anew each time would never come to the end of it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_jimeng.media.presign import is_private, split_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_jimeng.lifecycle.wanted import Wanted

#: For how long stores that were waited for in vain fail further lines at once.
AWAY_SECONDS = 120.0
#: Stores, and contents, that are told to the next leg at most: it waits for any others anew.
_TOLD = 40
#: How often they are asked for a content at least, before they count as waited for in vain.
_LEAST_ASKED = 3


def stores_of(wanted: Wanted) -> str:
    """Return where a content's inputs are: hosts, buckets with their connections; nothing that is secret."""
    return " ".join(sorted({_store(each) for each in wanted.sources.values()}))


def _store(url: str) -> str:
    if is_private(url):
        scheme, conn_id, bucket, _ = split_object(url)
        return f"{scheme}://{conn_id}@{bucket}" if conn_id else f"{scheme}://{bucket}"
    parts = urlsplit(url)
    return f"{parts.hostname or ''}:{parts.port or parts.scheme}"


class InputsAway:
    """
    Decides how long the stores of a content's inputs are waited for. Used by several threads.

    The image and the video may be in two stores, and which of them is in trouble is not told: each pair that
    occurs is taken for a store of its own, so that one's trouble is never taken for another's.

    :param told: what another leg's :meth:`left` told.
    """

    def __init__(self, told: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        known, now = told or {}, time.time()
        # Another machine's clock may be ahead of this one's.
        self._until = {each: min(at, now + AWAY_SECONDS) for each, at in known.get("until", {}).items()}
        self._since = {each: (min(at, now), asked) for each, (at, asked) in known.get("since", {}).items()}
        self._answered: set[str] = set()
        self._lock = threading.Lock()

    def bears(self, wanted: Wanted, where: str, patience: float) -> bool:
        """
        Return whether a content's stores are waited for, which have just failed it.

        :param where: what of: ``look`` or ``submit``.
        :param patience: seconds for which they are, counted over all legs. Where another content has waited
            for so long a moment ago: once, if they have answered for any since, and else not at all.
        """
        each, stores, now = _name(wanted, where), stores_of(wanted), time.time()
        with self._lock:
            since, asked = self._since.get(each, (now, 0))
            self._since[each] = since, asked + 1
            # Between two legs much time may pass in which nobody asked.
            if now - since > patience and asked + 1 >= _LEAST_ASKED:
                self._until = {store: at for store, at in self._until.items() if at > now}
                self._until[stores] = now + AWAY_SECONDS
                self._answered.discard(stores)
            elif now >= self._until.get(stores, 0.0) or (not asked and stores in self._answered):
                return True
            del self._since[each]
            return False

    def answered(self, wanted: Wanted, where: str) -> None:
        """Note that a content's stores have not failed it."""
        stores = stores_of(wanted)
        with self._lock:
            self._since.pop(_name(wanted, where), None)
            if stores in self._until:
                self._answered.add(stores)

    def left(self) -> dict[str, Any]:
        """Return what the next leg has to know, as JSON, with epoch seconds; nothing where all is well."""
        now = time.time()
        with self._lock:
            until = sorted(self._until.items(), key=lambda each: each[1])[-_TOLD:]
            since = sorted(self._since.items(), key=lambda each: each[1])[:_TOLD]
        left = {
            "until": {each: at for each, at in until if at > now},
            "since": {each: list(trouble) for each, trouble in since},
        }
        return {name: found for name, found in left.items() if found}


def _name(wanted: Wanted, where: str) -> str:
    return f"{where} {wanted.key[-16:]}"
