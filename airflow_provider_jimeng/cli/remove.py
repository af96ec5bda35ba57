# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Commands that take something out of the ledger: ``forget`` and ``prune``."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from airflow_provider_jimeng.cli.change import describe, tell
from airflow_provider_jimeng.cli.render import age, iso, json_line, landing_values, plain, table
from airflow_provider_jimeng.cli.session import Refusal, WrongUse, account_of, confirm, say, who
from airflow_provider_jimeng.cli.targets import content_key, row_by_number
from airflow_provider_jimeng.ledger.parts import content_of
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.upkeep import Prunable, may_be_forgotten

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.records import LandingRecord, TaskRecord

__all__ = ["forget", "prune"]

#: Younger rows count for the daily limit, and results can still be fetched.
_LEAST_AGE = 86400.0

_KEEP = {
    TaskState.INTENT: "a send may be under way; wait for its end",
    TaskState.SUBMITTED: "a paid task runs, or waits to be fetched: run what asked for it again",
    TaskState.SUCCEEDED: "its paid result is not stored yet: run what asked for it again",
    TaskState.UNKNOWN: "nobody knows whether it was paid for: adopt or release it first",
}
_COST = {
    TaskState.LANDED: "It was paid for. The next run of the content pays for it again.",
    TaskState.SUCCEEDED: "It was paid for; a newer attempt took its place.",
    TaskState.FAILED: (
        "The vendor's verdict is forgotten: the next run submits again, and pays if that succeeds."
    ),
    TaskState.EXPIRED: "It may have been billed. The next run of the content pays for it again.",
    TaskState.REJECTED: "Nothing was paid for it.",
    TaskState.RELEASED: "It may have been billed, and that is forgotten.",
}


def forget(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Forget a landing, or rows."""
    for uri in (options.target, options.target.removeprefix("file://")):
        landing = admin.landing_at(uri)
        if landing is not None:
            return _forget_landing(admin, options, landing)
    row = row_by_number(admin, options.target)
    if row is not None:
        return _forget_rows(admin, options, [row])
    key = content_key(admin, options.target)
    if key is None:
        raise Refusal(
            f"The ledger at {admin.place} knows no landing, row or content key of this name: "
            f"{options.target}. Nothing was changed."
        )
    return _forget_rows(admin, options, admin.history(key))


_COPIED = "  {} other landings of the content are known: the next run copies from one that is still there."
_FETCHED = (
    "  No other landing is known. Within 12 hours of the submit the next run fetches the result anew for "
    "nothing; after that on_missing_output decides whether it fails or pays again."
)


def _forget_landing(admin: LedgerAdmin, options: argparse.Namespace, landing: LandingRecord) -> int:
    stands = admin.latest(content_of(landing.content_key))
    known = () if stands is None else itertools.chain(*admin.landings_of([stands]).values())
    # Where a task made several pictures, each has a key of its own: another one is no copy of this one.
    left = sum(each.content_key == landing.content_key and each.id != landing.id for each in known)
    lines = [
        f"Landing {landing.uri} of content {landing.content_key}, attempt {landing.attempt}.",
        "  The file is left alone.",
        _COPIED.format(left) if left > 0 else _FETCHED,
    ]
    confirm(options, lines)
    gone = admin.forget_landing(landing.uri, reason=options.reason, by=who())
    print(json_line(landing_values(gone)) if options.json else plain(f"{gone.uri} is forgotten."))
    return 0


def _forget_rows(admin: LedgerAdmin, options: argparse.Namespace, rows: list[TaskRecord]) -> int:
    lines = []
    places, standing = admin.landings_of(rows), admin.latest(rows[0].content_key)
    for row in rows:
        if not may_be_forgotten(row, standing):
            raise Refusal(f"{describe(row)}. It can't be forgotten: {_KEEP[row.state]}. Nothing was changed.")
        lines += [describe(row), f"  {_COST[row.state]}"]
        for landing in places.get((row.content_key, row.attempt), ()):
            lines.append(
                f"  The landing {landing.uri} is forgotten too. The file stays, is nobody's from then "
                "on, and is "
                "only replaced with overwrite=True."
            )
    numbers = {row.id for row in rows}
    kept = [each for each in admin.history(rows[0].content_key) if each.id not in numbers]
    if kept:
        lines.append(
            f"Of the same content these stay: {', '.join(f'row {each.id} ({each.state})' for each in kept)}."
        )
    confirm(options, lines)
    for row in rows:
        gone = admin.forget_row(row, reason=options.reason, by=who())
        tell(options, gone, f"Row {gone.id} is forgotten.")
    return 0


def prune(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Delete old finished rows."""
    if options.older_than < _LEAST_AGE:
        raise WrongUse("--older-than must be at least 1d: younger rows count for the daily limit.")
    if options.reason is None and not options.dry_run:
        raise WrongUse("--reason is missing; nothing was changed.")
    what = Prunable(account_of(options), admin.now() - options.older_than, options.landed)
    counted = admin.prunable(what)
    if not counted:
        say(f"No finished row is older than {age(options.older_than)}; nothing was changed.")
        return 0
    if options.dry_run:
        _print_counts(options, counted, deleted=False)
        return 0
    numbers = table(
        ("ACCOUNT", "STATE", "ROWS"),
        [(each[0], str(each[1]), str(counted[each])) for each in sorted(counted)],
    )
    confirm(options, [*numbers, *_what_prune_means(what)])
    gone = admin.prune(
        what,
        counted,
        reason=f"{options.reason} (finished before {iso(what.before)})",
        by=who(),
        progress=_Progress(sum(counted.values())),
    )
    _print_counts(options, gone, deleted=True)
    return 0


class _Progress:
    """Says about ten times how far it is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = 0.1

    def __call__(self, deleted: int) -> None:
        if deleted >= self._next * self._total:
            self._next += 0.1
            say(f"{deleted} of {self._total} rows are gone.")


def _what_prune_means(what: Prunable) -> list[str]:
    lines = [
        f"These rows, finished before {iso(what.before)}, are deleted for good; export them first if anybody "
        "may ask for them.",
        "Failed verdicts and doubts about the bill are forgotten with them: whoever wants such a content "
        "again submits it again.",
    ]
    if what.landed:
        lines.append(
            "LANDED rows and their landings go too: the files stay, but whoever wants such a content again "
            "PAYS AGAIN."
        )
    return lines


def _print_counts(
    options: argparse.Namespace, counts: Mapping[tuple[str, TaskState], int], *, deleted: bool
) -> None:
    for (account, state), number in sorted(counts.items()):
        if options.json:
            print(json_line({"account": account, "state": str(state), "rows": number, "deleted": deleted}))
        else:
            print(plain(f"{account}: {number} {state} rows {'deleted' if deleted else 'would be deleted'}"))
