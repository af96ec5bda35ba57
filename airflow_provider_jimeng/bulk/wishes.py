# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Whether a leg of a bulk run asks for what the ones before it asked for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from airflow_provider_jimeng.bulk.items import Item
from airflow_provider_jimeng.exceptions import JimengInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_jimeng.bulk.items import BadLine
    from airflow_provider_jimeng.lifecycle.wanted import Wanted

__all__ = ["why_not", "wishes_of"]


def wishes_of(lines: Iterable[Item | BadLine], want: Callable[[Item], Wanted], *, all_of_them: bool) -> str:
    """
    Return a digest of what lines ask for, which the account and what signs a URL are no part of.

    :param all_of_them: else the first one stands for all.
    """
    said = hashlib.sha256()
    for line in lines:
        try:
            wanted = want(line) if isinstance(line, Item) else None
        except JimengInputError:
            continue
        if wanted is not None:
            wish = (wanted.scope.req_key, wanted.inputs, wanted.variant, wanted.force_new)
            said.update(repr(wish).encode("utf-8", "surrogatepass"))
            if not all_of_them:
                break
    return said.hexdigest()


def why_not(before: str | None, now: str) -> str | None:
    """
    Return why a leg must not submit: it asks for something else than the ones before it did.

    Airflow renders templates anew in every leg: a list of URLs with the time in them would be another bulk
    run in each, and each would pay for itself.
    """
    if before is None or before == now:
        return None
    return (
        "the manifest, force_new, req_key or options ask for something else than in this try's earlier legs. "
        "Templates are rendered in every leg: keep what differs from one rendering to the next (the time, a "
        "token) out of them, or name the token in [jimeng] volatile_query_params. What the earlier legs paid "
        "for is brought home under .jimeng; a DAG that was changed meanwhile is gone on with when the task "
        "is cleared"
    )
