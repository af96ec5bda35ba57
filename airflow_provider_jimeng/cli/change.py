# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Commands that change something: each says what it costs, asks, and is recorded with who and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.api.validation import check_task_id
from airflow_provider_jimeng.cli.render import (
    age,
    asker,
    identity_values,
    iso,
    json_line,
    plain,
    record_values,
)
from airflow_provider_jimeng.cli.session import Refusal, WrongUse, account_of, confirm, say, who
from airflow_provider_jimeng.cli.targets import latest, row_by_number
from airflow_provider_jimeng.ledger.listing import has_fallen_silent
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState, may_move

if TYPE_CHECKING:
    import argparse

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.records import TaskRecord

__all__ = ["adopt", "pause", "release", "resume", "take_over"]


def describe(record: TaskRecord) -> str:
    """Return one line that tells a person which row this is."""
    return (
        f"Row {record.id}: {record.state}, content {record.content_key}, account {record.scope.account}, "
        "asked "
        f"for by {asker(record)}, {'sent' if record.sent_at else 'made'} {iso(record.base)}"
    )


def tell(options: argparse.Namespace, record: TaskRecord, words: str) -> None:
    """Print what became of a row."""
    print(json_line(record_values(record, silent=False)) if options.json else plain(words))


def release(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Give unknowns free for another attempt."""
    now = admin.now()
    found = {row.id: row for row in (latest(admin, each) for each in options.target)}
    rows = [row for row in found.values() if row.state is not TaskState.RELEASED]
    for row in found.values():
        if row not in rows:
            say(f"Row {row.id} is released already.")
    lines = [line for row in rows for line in _what_release_means(row, now, options.even_if_young)]
    if not rows:
        return 0
    confirm(options, lines)
    failed = 0
    for row in rows:
        least = None if options.even_if_young or row.never_sent else row.resubmit_age_seconds
        try:
            done = admin.release(row.id, reason=options.reason, by=who(), min_age_seconds=least)
        except LostRace as error:
            failed += 1
            say(f"error: row {row.id}: {error}")
            continue
        tell(options, done, f"Row {row.id} is released: the next run of its content submits again.")
    return 1 if failed else 0


def _what_release_means(row: TaskRecord, now: float, even_if_young: bool) -> list[str]:
    if row.state is not TaskState.UNKNOWN and not has_fallen_silent(row, now):
        raise Refusal(f"{describe(row)}. Only an unknown can be released; nothing was changed.")
    if row.never_sent:
        return [describe(row), "  No send ever began for it: releasing it costs nothing."]
    missing = row.resubmit_age_seconds - (now - row.base)
    if missing > 0 and not even_if_young:
        raise Refusal(
            f"{describe(row)}. The send may still be on its way: wait {missing:.0f} s, or say "
            "--even-if-young. "
            "Nothing was changed."
        )
    return [
        describe(row),
        f"  {row.message or 'No answer came.'}",
        "  If the vendor did accept this submit, it is billed for that, and the next run pays a second time. "
        "Look at the vendor's console or bill first; where there is a task, adopt it instead.",
    ]


def adopt(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Keep an id that a person found."""
    task_id = check_task_id(options.task_id, "TASK_ID")
    row = _adopter(admin, options.target, task_id)
    if row.task_id == task_id:
        tell(options, row, f"Row {row.id} has this id already: it is {row.state}.")
        return 0
    lines = [describe(row)]
    if not may_move(row.state, TaskState.SUBMITTED):
        lines.append(f"  It can't take an id (it has {row.task_id or 'none'}): a further row keeps this one.")
    since = admin.now() - row.base
    if since > TASK_LIFETIME_SECONDS:
        lines.append(
            f"  Its send was {age(since)} ago, and the vendor keeps a task for 12 hours: the next run "
            "finds it "
            "expired, possibly billed, and pays for no other by itself."
        )
    else:
        lines.append(
            f"  Task {task_id} is taken for this content's: the next run waits for it and pays nothing. "
            "If it is "
            "another content's task, its result lands in the wrong place."
        )
    confirm(options, lines)
    done = admin.adopt(row.id, task_id, reason=options.reason, by=who())
    extra = ", beside another attempt" if done.extra else ""
    tell(options, done, f"Row {done.id} is {done.state} with task {task_id}{extra}.")
    return 0


def _adopter(admin: LedgerAdmin, text: str, task_id: str) -> TaskRecord:
    """
    Return the row that an id is meant for.

    :raises Refusal: there is none, or several could take it.
    """
    row = row_by_number(admin, text)
    if row is not None:
        return row
    stands = latest(admin, text)
    history = admin.history(stands.content_key)
    takers = [each for each in history if each.task_id == task_id] or [
        each for each in history if each.task_id is None and may_move(each.state, TaskState.SUBMITTED)
    ]
    if len(takers) > 1:
        rows = "; ".join(describe(each) for each in takers)
        raise Refusal(f"Several rows of this content could take the id; name one by its number. {rows}")
    return takers[0] if takers else stands


def _one_account(options: argparse.Namespace) -> str:
    account = account_of(options)
    if account is None:
        raise WrongUse("Which account? Give its name in the ledger (see stats), or --conn-id.")
    return account


def pause(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Stop all new submits of an account."""
    account = _one_account(options)
    known = admin.accounts()
    if account not in known and not options.unseen:
        raise Refusal(
            f"The ledger at {admin.place} has not met the account {account}, so a pause may stop "
            "nothing; it knows "
            f"{', '.join(known) or 'none'}. Nothing was changed. To pause one that comes later, say --unseen."
        )
    confirm(
        options,
        [
            f"Account {account}: no DAG submits anything new until it is resumed; tasks that want to, "
            "fail with "
            "JimengSpendLimitError. What runs at the vendor goes on, is billed, and is landed.",
        ],
    )
    admin.pause(account, reason=options.reason, by=who())
    _tell_account(options, account, "paused")
    return 0


def resume(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Allow new submits of an account again."""
    account = _one_account(options)
    switches = admin.switches(account)
    if not switches:
        say(f"Account {account} is not paused and no circuit breaker of it is open; nothing was changed.")
        return 0
    confirm(
        options,
        [f"Account {account}: its DAGs submit, and pay, again. Now:", *(f"  {each}" for each in switches)],
    )
    admin.resume(account, reason=options.reason, by=who())
    _tell_account(options, account, "resumed")
    return 0


def _tell_account(options: argparse.Namespace, account: str, word: str) -> None:
    values = {"account": account, "paused": word == "paused", "by": who(), "reason": options.reason}
    print(json_line(values) if options.json else plain(f"Account {account} is {word}."))


def take_over(admin: LedgerAdmin, options: argparse.Namespace) -> int:
    """Let the ledger go on in another's place, or after it was restored."""
    mine = admin.identity()
    if options.ledger in mine.took_over:
        say(f"The ledger at {admin.place} took the place of {options.ledger} before; nothing was changed.")
        return 0
    restored = options.ledger == mine.uuid
    missing = "rows that came after its backup" if restored else f"what ledger {options.ledger} knows"
    lines = [
        f"The ledger at {admin.place} ({mine.uuid}) goes on without {missing}. What was paid for in there, "
        "and is wanted again, is paid a second time; tasks that still run at the vendor are nobody's. Their "
        "ids are in the logs of the Airflow tasks that submitted them.",
    ]
    if restored:
        lines.append("It gets a new UUID, so that it is never again taken for what it was.")
    confirm(options, lines)
    now = admin.take_over(options.ledger, by=who(), reason=options.reason)
    if options.json:
        print(json_line(identity_values(now)))
    else:
        print(plain(f"Ledger {now.uuid} took the place of {options.ledger}: its submits go on."))
    return 0
