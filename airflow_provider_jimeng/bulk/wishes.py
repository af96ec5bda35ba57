# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Whether a leg of a bulk run asks for what the ones before it asked for."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.items import Item
from airflow_provider_jimeng.exceptions import JimengInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from airflow_provider_jimeng.bulk.items import BadLine
    from airflow_provider_jimeng.lifecycle.wanted import Wanted

__all__ = ["digest_of", "to_tell", "why_not", "wishes_of"]


_ANOTHER_WISH = (
    "the manifest, force_new, req_key, options or the connection's account are others than in this try's "
    "earlier legs, which would pay for other things, or for the same ones again. Templates are rendered in "
    "every leg: keep what differs from one rendering to the next (the time, a token) out of them, or name "
    "the token in [jimeng] volatile_query_params. What the earlier legs paid for is brought home under "
    ".jimeng; clear the task to go on with what it says now"
)
#: Wishes that a leg tells the next one of: those with the smallest digests.
_TOLD = 64


def wishes_of(lines: Iterable[Item | BadLine], want: Callable[[Item], Wanted]) -> frozenset[str]:
    """Return what lines ask for, as digests, which what signs a URL is no part of."""
    wishes = set()
    for line in lines:
        try:
            wanted = want(line) if isinstance(line, Item) else None
        except JimengInputError:
            continue
        if wanted is not None:
            wish = (wanted.scope.req_key, wanted.inputs, wanted.variant, wanted.force_new)
            wishes.add(hashlib.sha256(repr(wish).encode("utf-8", "surrogatepass")).hexdigest()[:16])
    return frozenset(wishes)


def digest_of(*asked: Any) -> str:
    """Return a digest of what is asked for beside the manifest."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def to_tell(wishes: Collection[str]) -> list[str]:
    """Return what of them the next leg is told."""
    return sorted(wishes)[:_TOLD]


def why_not(
    before: tuple[str | None, Sequence[str] | None], now: tuple[str, Collection[str] | None]
) -> str | None:
    """
    Return why a leg must not submit: it asks for other things in the place of what earlier legs asked for.

    A list of URLs with the time in them would be another bulk run in each leg, and each would pay for itself.
    One that grows, shrinks or has another order is none.

    :param before: what the leg before told: what it asked for beside the manifest, and some of its wishes.
    :param now: the same of this one, all its wishes; ``None`` where they are the same, or may change.
    """
    if before[0] not in (None, now[0]):
        return _ANOTHER_WISH
    if not before[1] or now[1] is None:
        return None
    told, wishes = before[1], now[1]
    reach = max(told) if len(told) == _TOLD else None
    gone = [each for each in told if each not in wishes]
    others = [each for each in wishes if each not in told and (reach is None or each < reach)]
    return _ANOTHER_WISH if gone and others else None
