# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Finding ids that are there twice among a million, in a few bytes for each."""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.ids import fold_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class RepeatFinder:
    """
    Holds eight bytes for each id; where two digests agree the ids are read again and compared in full.

    ``hash()`` would do were it not salted only sometimes: a manifest made to collide must cost nothing.
    """

    def __init__(self) -> None:
        self._digests = array("Q")

    def add(self, name: str) -> None:
        """Take the next id."""
        self._digests.append(_digest(fold_id(name)))

    def suspects(self) -> frozenset[int]:
        """Return the digests that came more than once."""
        found = set()
        previous = None
        for each in sorted(self._digests):
            if each == previous:
                found.add(each)
            previous = each
        return frozenset(found)


def repeats(
    names: Callable[[], Iterator[tuple[int, str]]], suspects: frozenset[int]
) -> Iterator[tuple[int, str, int, str]]:
    """
    Yield each line whose id an earlier line has: line, id, the first line, its id.

    :param names: gives line and id of every line, from the start.
    :param suspects: digests to look at.
    """
    if not suspects:
        return
    first: dict[str, tuple[int, str]] = {}
    for line, name in names():
        folded = fold_id(name)
        if _digest(folded) not in suspects:
            continue
        earlier = first.setdefault(folded, (line, name))
        if earlier[0] != line:
            yield line, name, *earlier


def _digest(folded: str) -> int:
    data = folded.encode("utf-8", errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
