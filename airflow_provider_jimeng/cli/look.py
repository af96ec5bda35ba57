# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Commands that only look: ``list``, ``show``, ``stats``, ``identity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.cli.render import (
    age,
    asker,
    identity_values,
    iso,
    json_line,
    landing_values,
    plain,
    record_values,
    state_words,
    table,
)
from airflow_provider_jimeng.cli.session import Refusal, account_of, say
from airflow_provider_jimeng.cli.targets import content_key, row_by_number
from airflow_provider_jimeng.ledger.listing import Wanted, has_fallen_silent
from airflow_provider_jimeng.ledger.parts import content_of

if TYPE_CHECKING:
    import argparse

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.census import AccountCensus, ScopeCensus
    from airflow_provider_jimeng.ledger.records import TaskRecord

__all__ = ["identity", "list_rows", "show", "stats", "wanted"]

_HEAD = ("ROW", "STATE", "AGE", "ACCOUNT", "ASKED BY", "TASK ID", "CONTENT", "CODE", "MESSAGE")
_MESSAGE = 48


def wanted(options: argparse.Namespace) -> Wanted:
    """Return the filters that the arguments name."""
    return Wanted(
        states=options.state,
        account=account_of(options),
        dag_id=options.dag_id,
        older_than=options.older_than,
        newer_than=options.newer_than,
    )


def list_rows(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """List rows, newest first."""
    after = None if options.after is None else admin.get(options.after)
    if options.after is not None and after is None:
        raise Refusal(f"--after: row {options.after} is not in the ledger (any more). Begin anew without it.")
    page = admin.page(wanted(options), after=after, limit=options.limit)
    if options.json:
        for record in page.records:
            print(json_line(record_values(record, silent=has_fallen_silent(record, page.now))))
    elif page.records:
        print(*table(_HEAD, [_cells(record, page.now) for record in page.records]), sep="\n")
    else:
        say(f"No rows in the ledger at {admin.place} are so.")
    if page.more:
        say(f"There are more: --after {page.records[-1].id}")
    return 0


def _cells(record: TaskRecord, now: float) -> tuple[str, ...]:
    message = " ".join(record.message.split())
    return (
        str(record.id),
        state_words(record, has_fallen_silent(record, now)),
        age(now - record.created_at),
        record.scope.account,
        asker(record),
        record.task_id or "-",
        record.content_key[:12],
        "-" if record.code is None else str(record.code),
        message if len(message) <= _MESSAGE else f"{message[: _MESSAGE - 1]}…",
    )


def show(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Show everything about a content."""
    records = _history(admin, options.target)
    now, places = admin.now(), admin.landings_of(records)
    for record in records:
        values: dict[str, Any] = record_values(record, silent=has_fallen_silent(record, now))
        landings = [landing_values(each) for each in places.get((record.content_key, record.attempt), ())]
        if options.json:
            print(json_line({**values, "landings": landings}))
            continue
        print(f"row {record.id}: {state_words(record, values['silent'])}")
        for name, value in values.items():
            if value not in (None, "") and name not in ("id", "state", "silent", "note"):
                print(f"  {name:<20} {plain(value if isinstance(value, str) else json_line(value))}")
        for landing in landings:
            print(
                plain(
                    f"  {'landing':<20} {landing['uri']} ({landing['bytes']} bytes, {landing['landed_at']})"
                )
            )
        for line in values["note"].splitlines():
            print(plain(f"  {'note':<20} {line}"))
    return 0


def _history(admin: LedgerAdmin, text: str) -> list[TaskRecord]:
    row = row_by_number(admin, text)
    if row is not None:
        return admin.history(row.content_key)
    key = content_key(admin, text)
    if key is None:
        row, place = admin.by_task_id(text), admin.landing_at(text)
        key = row.content_key if row is not None else None if place is None else content_of(place.content_key)
    found = [] if key is None else admin.history(key)
    if not found:
        raise Refusal(
            f"The ledger at {admin.place} knows no row, content key, task id or landing of this name: {text}"
        )
    return found


def identity(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Tell which ledger this is."""
    now = admin.identity()
    if options.json:
        print(json_line(identity_values(now)))
        return 0
    print(plain(f"ledger {now.uuid} at {admin.place}"))
    print(f"  mark       {now.mark}")
    for ledger, words in sorted(now.took_over.items()):
        for line in words.splitlines():
            print(plain(f"  took over  {ledger}: {line}"))
    return 0


def stats(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Count rows, slots, waiters and spending."""
    account = account_of(options)
    found = admin.census(account)
    if account is not None and not found:
        raise Refusal(f"The ledger at {admin.place} knows no account {account}; it knows {_known(admin)}.")
    if options.json:
        for each in found:
            for scope in each.scopes:
                print(json_line(_values(each, scope)))
        return 0
    if not found:
        say(f"Nothing was ever asked for through the ledger at {admin.place}.")
    for each in found:
        print(*map(plain, _words(each)), sep="\n")
    return 0


def _known(admin: LedgerAdmin) -> str:
    return ", ".join(admin.accounts()) or "none"


def _values(account: AccountCensus, scope: ScopeCensus) -> dict[str, Any]:
    view = scope.view
    return {
        "account": account.account,
        "endpoint": scope.scope.endpoint,
        "req_key": scope.scope.req_key,
        "counts": {str(state): number for state, number in scope.counts.items()},
        "possibly_billed": scope.possibly_billed,
        "in_use": view.in_use,
        "limit": view.limit,
        "configured_limit": scope.configured,
        "cooldown_until": iso(view.cooldown_until),
        "tickets": len(view.waiting),
        "submits_today": scope.submits_today,
        "paused": account.paused,
        "breaker": scope.breaker,
    }


def _words(account: AccountCensus) -> list[str]:
    paused = "" if account.paused is None else f"  PAUSED {account.paused}"
    lines = [f"account {account.account}{paused}"]
    for each in account.scopes:
        view = each.view
        learned = " (learned)" if each.configured is None else ""
        cooling = (
            "" if view.cooldown_until is None else f", cooling down for {age(view.cooldown_until - view.now)}"
        )
        lines += [
            f"  {each.scope.req_key} at {each.scope.endpoint}",
            f"    slots            {view.in_use} of {view.limit}{learned} in use, {len(view.waiting)} "
            f"waiting{cooling}",
            f"    submits today    {each.submits_today}",
            "    rows             "
            f"{', '.join(f'{number} {state}' for state, number in each.counts.items()) or 'none'}",
            f"    possibly billed  {each.possibly_billed}",
        ]
        if each.breaker is not None:
            lines.append(f"    BREAKER OPEN     {each.breaker}")
    lines += [f"  note {line}" for line in account.note.splitlines()[-5:]]
    return lines
