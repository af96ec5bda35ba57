# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a run would do, and about what it would cost; nothing is sent, nothing is written."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_jimeng.bulk.items import BadLine, Item
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.ledger.records import DEFAULT_EXPECTED_SECONDS, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.records import Scope

_AT_ONCE = 1000
#: Vendor facts, section 4: about 18 s of processing per second of video.
_PROCESSING_FACTOR = 18.0
_REUSED = frozenset({TaskState.SUCCEEDED, TaskState.LANDED})
_IN_FLIGHT = frozenset({TaskState.INTENT, TaskState.SUBMITTED})


class History(Protocol):
    """What a plan asks the ledger; a machine that has none yet has no history."""

    def latest_many(self, content_keys: Collection[str]) -> Mapping[str, TaskRecord]:
        """Return what stands for contents."""

    def typical_seconds(self, scope: Scope) -> float | None:
        """Return how long tasks have taken."""


def plan(
    lines: Iterable[Item | BadLine],
    *,
    ledger: History,
    settings: AccountSettings,
    want: Callable[[Item], Wanted],
) -> dict[str, Any]:
    """
    Count what a run would do with each line.

    ``new`` would be paid for, ``reused`` are there or are wanted twice, ``in_flight`` run already, ``failed``
    and ``expired`` have a final verdict, ``unknown`` wait for a person, ``invalid`` lines can't be read.
    Nothing is looked at but the ledger: whether files and inputs are still there is found out by the run.

    :return: the counts, ``total``, and an ``estimate``: seconds of video and, with the connection's
        ``price_per_second``, what they cost; seconds that the account's slots would be busy and, where their
        number is known, how long that would take. The length of a clip is inferred from how long such tasks
        take.
    """
    counts = dict.fromkeys(("new", "reused", "in_flight", "unknown", "failed", "expired", "invalid"), 0)
    seen: set[int] = set()
    busy = 0.0
    spans: dict[str, float] = {}
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
                busy += typical[req_key]
                spans[req_key] = spans.get(req_key, 0.0) + typical[req_key]
    price = settings.price_per_second
    seconds = busy / _PROCESSING_FACTOR
    known = {each: settings.limit_for(each) for each in spans}
    # The slots of one product are no use to another.
    span = max((spans[each] / (slots or 1) for each, slots in known.items()), default=0.0)
    return {
        "total": sum(counts.values()),
        **counts,
        "estimate": {
            "video_seconds": round(seconds, 1),
            "cost": None if price is None else round(seconds * price, 2),
            "slot_seconds": round(busy, 1),
            "run_seconds": None if None in known.values() else round(span, 1),
        },
    }


_WORDS = {
    "new": "would be submitted, and paid where they succeed",
    "reused": "are there, or are wanted by two lines: nothing is paid",
    "in_flight": "run already: nothing more is paid",
    "unknown": "have a submit of unknown outcome: a person decides (ledger list --state unknown)",
    "failed": "have the vendor's final verdict: the inputs have to change",
    "expired": "are gone: on_missing_output decides",
    "invalid": "can't be read",
}


def in_words(planned: Mapping[str, Any]) -> list[str]:
    """Return a plan as lines for people; kinds without an item are left out."""
    total = planned["total"]
    width = len(str(total))
    lines = [f"{total} items:"]
    lines += [
        f"  {planned[kind]:>{width}} {kind.replace('_', ' '):<9} {words}"
        for kind, words in _WORDS.items()
        if planned[kind]
    ]
    estimate = planned["estimate"]
    if planned["new"]:
        told = [f"about {estimate['video_seconds']:.0f} s of video"]
        if estimate["cost"] is not None:
            told.append(f"about {estimate['cost']:.2f} at the connection's price_per_second")
        if estimate["run_seconds"] is not None:
            told.append(f"about {_spell(estimate['run_seconds'])} at the connection's slots")
        lines.append(f"Estimate: {', '.join(told)}.")
    return lines


def _spell(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"


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
