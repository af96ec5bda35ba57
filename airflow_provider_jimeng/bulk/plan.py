# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a run would do, and about what it would cost; nothing is sent, nothing is written."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.items import BadLine, Item
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.ledger.records import DEFAULT_EXPECTED_SECONDS, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.store import Ledger

_AT_ONCE = 1000
#: Vendor facts, section 4: about 18 s of processing per second of video.
_PROCESSING_FACTOR = 18.0
_REUSED = frozenset({TaskState.SUCCEEDED, TaskState.LANDED})
_IN_FLIGHT = frozenset({TaskState.INTENT, TaskState.SUBMITTED})


def plan(
    lines: Iterable[Item | BadLine],
    *,
    ledger: Ledger,
    settings: AccountSettings,
    want: Callable[[Item], Wanted],
) -> dict[str, Any]:
    """
    Count what a run would do with each line.

    ``new`` would be paid for, ``reused`` are there or are wanted twice, ``in_flight`` run already, ``failed``
    and ``expired`` have a final verdict, ``unknown`` wait for a person, ``invalid`` lines can't be read.
    Nothing is looked at but the ledger: whether files and inputs are still there is found out by the run.

    :return: the counts, ``total``, and an ``estimate``: seconds of video and, with the connection's
        ``price_per_second``, what they cost. The length of a clip is inferred from how long such tasks take.
    """
    counts = dict.fromkeys(("new", "reused", "in_flight", "unknown", "failed", "expired", "invalid"), 0)
    seen: set[int] = set()
    seconds = 0.0
    typical: dict[str, float] = {}
    rest = iter(lines)
    while some := list(itertools.islice(rest, _AT_ONCE)):
        wanted = [each for line in some if (each := _wanted(line, want)) is not None]
        counts["invalid"] += len(some) - len(wanted)
        records = ledger.latest_many({each.key for each in wanted})
        for each in wanted:
            short = hash(each.key)
            kind = "reused" if short in seen else _kind(each, records.get(each.key))
            seen.add(short)
            counts[kind] += 1
            if kind == "new":
                req_key = each.scope.req_key
                if req_key not in typical:
                    typical[req_key] = ledger.typical_seconds(each.scope) or DEFAULT_EXPECTED_SECONDS
                seconds += typical[req_key] / _PROCESSING_FACTOR
    price = settings.price_per_second
    return {
        "total": sum(counts.values()),
        **counts,
        "estimate": {
            "video_seconds": round(seconds, 1),
            "cost": None if price is None else round(seconds * price, 2),
        },
    }


def _wanted(line: Item | BadLine, want: Callable[[Item], Wanted]) -> Wanted | None:
    if isinstance(line, BadLine):
        return None
    try:
        return want(line)
    except JimengInputError:
        return None


def _kind(wanted: Wanted, record: TaskRecord | None) -> str:
    if record is None or record.state in (TaskState.REJECTED, TaskState.RELEASED):
        return "new"
    if record.state in _REUSED:
        return "reused"
    if record.state in _IN_FLIGHT:
        return "in_flight"
    if record.state is TaskState.UNKNOWN:
        return "new" if wanted.policies.on_unknown_submit == RESUBMIT else "unknown"
    if record.state is TaskState.EXPIRED:
        return "new" if wanted.policies.on_missing_output == RESUBMIT else "expired"
    return "new" if record.new_attempt_allowed else "failed"
