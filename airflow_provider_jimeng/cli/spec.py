# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The commands and their arguments, declared once for argparse and for Airflow.

Importing this loads neither SQLAlchemy nor Airflow: every start of ``airflow`` reads it. Help texts hold
neither square brackets, which Airflow's help takes for markup, nor percent signs, which are argparse's.
"""

from __future__ import annotations

import argparse
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["COMMANDS", "Argument", "Command", "Group", "duration", "states"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


def duration(text: str) -> float:
    """Return the seconds of ``90d``, ``12h``, ``30m`` or ``45s``; the unit has to be there."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration: write a number and s, m, h or d, as in 90d"
        )
    return float(match[1]) * _UNITS[match[2]]


def states(text: str) -> frozenset[TaskState]:
    """Return the states of a list such as ``unknown,expired``."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        found = frozenset(TaskState(name) for name in names)
    except ValueError as error:
        known = ", ".join(TaskState)
        raise argparse.ArgumentTypeError(f"{error}: the states are {known}") from None
    if not found:
        raise argparse.ArgumentTypeError("no state is named")
    return found


def _words(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it must not be empty")
    return text.strip()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError("it is no JSON") from None


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UUID of a ledger") from None


def _page(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument; ``options`` are argparse's."""

    flags: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command.

    :param handler: dotted name of ``(LedgerAdmin, argparse.Namespace) -> int``, imported when it is run;
        without the ledger where the command finds its own.
    :param opens_ledger: whether it is given the ledger, which then has to be there.
    """

    name: str
    help: str
    handler: str
    arguments: tuple[Argument, ...]
    description: str = ""
    opens_ledger: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """Some commands under one name."""

    name: str
    help: str
    commands: tuple[Command, ...]


def _flag(name: str, help: str) -> Argument:
    return Argument((name,), {"action": "store_true", "default": False, "help": help})


def _value(
    name: str, help: str, *, metavar: str, type: Callable[[str], Any] = str, **options: Any
) -> Argument:
    return Argument((name,), {"help": help, "metavar": metavar, "type": type, **options})


_URL = _value(
    "--ledger-url",
    "SQLAlchemy URL of the ledger, instead of the one that Airflow's configuration names",
    metavar="URL",
)
_JSON = _flag("--json", "one JSON object per line, for programs")
_COMMON = (_URL, _JSON)
_YES = (
    Argument(
        ("-y", "--yes"),
        {"action": "store_true", "default": False, "help": "don't ask; needed without a terminal"},
    ),
    *_COMMON,
)
_CHANGE = (
    _value(
        "--reason", "why; it is kept in the ledger with your name", metavar="TEXT", type=_words, required=True
    ),
    *_YES,
)
_ACCOUNT = (
    _value("--account", "only this account's rows, by its name in the ledger", metavar="NAME"),
    _value("--conn-id", "only the account of this Airflow connection", metavar="CONN_ID"),
)
_FILTERS = (
    _value(
        "--state",
        "only rows in these states, separated by commas; unknown also finds intents whose owner fell silent",
        metavar="STATES",
        type=states,
    ),
    *_ACCOUNT,
    _value("--dag-id", "only rows that this DAG asked for", metavar="DAG_ID"),
    _value(
        "--older-than",
        "only rows made longer ago than this: 90d, 12h, 30m, 45s",
        metavar="AGE",
        type=duration,
    ),
    _value("--newer-than", "only rows made within this time", metavar="AGE", type=duration),
)
_WHICH_ACCOUNT = (
    Argument(
        ("account",),
        {"nargs": "?", "metavar": "ACCOUNT", "help": "the account's name in the ledger; see stats"},
    ),
    _value("--conn-id", "the account of this Airflow connection, instead of its name", metavar="CONN_ID"),
)


def _target(help: str, **options: Any) -> Argument:
    return Argument(("target",), {"metavar": "RECORD", "help": help, **options})


_RECORD = "number or content key of a row; the first 8 digits of a key will do where they are unique"
_LOOK = "airflow_provider_jimeng.cli.look"
_CHANGES = "airflow_provider_jimeng.cli.change"
_REMOVALS = "airflow_provider_jimeng.cli.remove"

_LEDGER = Group(
    "ledger",
    "Look after the ledger of paid tasks",
    (
        Command(
            "list",
            "List rows, newest first",
            f"{_LOOK}.list_rows",
            (
                *_FILTERS,
                _value(
                    "--limit",
                    "rows per page, at most 10000 (default: 50)",
                    metavar="N",
                    type=_page,
                    default=50,
                ),
                _value(
                    "--after",
                    "the next page: the number of the last row that was shown",
                    metavar="ROW",
                    type=int,
                ),
                *_COMMON,
            ),
        ),
        Command(
            "show",
            "Show everything about a content: its attempts, landings and history",
            f"{_LOOK}.show",
            (_target("number of a row, content key, task id of the vendor, or place of a result"), *_COMMON),
        ),
        Command(
            "stats",
            "Count rows, slots, waiters and spending per account and req_key",
            f"{_LOOK}.stats",
            (*_ACCOUNT, *_COMMON),
        ),
        Command(
            "identity",
            "Tell which ledger this is, how far it has come, and whose place it took",
            f"{_LOOK}.identity",
            _COMMON,
        ),
        Command(
            "export",
            "Write rows as JSON lines or CSV, newest first",
            "airflow_provider_jimeng.cli.export.export",
            (
                *_FILTERS,
                Argument(
                    ("--format",),
                    {"choices": ("jsonl", "csv"), "default": "jsonl", "help": "jsonl (default) or csv"},
                ),
                _value(
                    "--output",
                    "a new file to write to, instead of standard output",
                    metavar="FILE",
                    type=_words,
                ),
                _URL,
            ),
        ),
        Command(
            "release",
            "Release unknowns, so that they may be submitted again",
            f"{_CHANGES}.release",
            (
                _target(_RECORD, nargs="+"),
                _flag("--even-if-young", "although the send may still be on its way"),
                *_CHANGE,
            ),
            description=(
                "Give rows whose submit has an unknown outcome free for another attempt. If the vendor "
                "did accept "
                "the submit, the content is paid for twice: look at the vendor's console or bill first, "
                "and use "
                "adopt where there is a task."
            ),
        ),
        Command(
            "adopt",
            "Write the task id that the vendor has for a row",
            f"{_CHANGES}.adopt",
            (
                _target(_RECORD),
                Argument(("task_id",), {"metavar": "TASK_ID", "help": "the vendor's task id"}),
                *_CHANGE,
            ),
            description=(
                "Keep a task id that you found in the vendor's console or in a log. The next run of the "
                "content "
                "waits for that task and pays nothing."
            ),
        ),
        Command(
            "forget",
            "Forget a landing, or a row; the content may be paid for again",
            f"{_REMOVALS}.forget",
            (_target("place of a result, number of a row, or a content key (all its rows)"), *_CHANGE),
            description=(
                "Of a landing: write that nothing lies there any more. Of a row: delete it with its "
                "landings. "
                "Files are left alone. Rows that run, wait to be fetched or are unknown can't be forgotten."
            ),
        ),
        Command(
            "pause",
            "Stop all new submits of an account",
            f"{_CHANGES}.pause",
            (
                *_WHICH_ACCOUNT,
                _flag("--unseen", "although the ledger has not met this account yet"),
                *_CHANGE,
            ),
            description="Stop all new submits of an account, in all DAGs. What runs goes on and is landed.",
        ),
        Command(
            "resume",
            "Allow new submits of an account again, after a pause or an open circuit breaker",
            f"{_CHANGES}.resume",
            (*_WHICH_ACCOUNT, *_CHANGE),
        ),
        Command(
            "take-over",
            "Let this ledger go on where another one, or a newer state of it, paid",
            f"{_CHANGES}.take_over",
            (
                Argument(
                    ("ledger",),
                    {"metavar": "LEDGER", "type": _uuid, "help": "UUID of the ledger that is missing"},
                ),
                *_CHANGE,
            ),
            description=(
                "Submits stop where the configured ledger is not the one that paid before: an empty one, "
                "another machine's, or one that was restored from a backup (then LEDGER is its own UUID). "
                "This lets it go on, and what it does not know of is paid for again where it is wanted."
            ),
        ),
        Command(
            "prune",
            "Delete old finished rows",
            f"{_REMOVALS}.prune",
            (
                *_ACCOUNT,
                _value(
                    "--older-than",
                    "rows that were finished longer ago than this, at least 1d: 90d",
                    metavar="AGE",
                    type=duration,
                    required=True,
                ),
                _flag("--landed", "landed rows and their landings too: a rerun pays for them again"),
                _flag("--dry-run", "only count what would go"),
                _value("--reason", "why; needed unless it is a dry run", metavar="TEXT", type=_words),
                *_YES,
            ),
            description=(
                "Delete rejected, failed, expired and released rows. Open and unknown rows are never "
                "deleted, "
                "landed ones only with --landed."
            ),
        ),
    ),
)

_PLAN = Command(
    "plan",
    "Tell what a run of a manifest would do and cost; nothing is sent, nothing is written",
    "airflow_provider_jimeng.cli.plan.plan_manifest",
    (
        Argument(
            ("manifest",),
            {"metavar": "MANIFEST", "help": "path or URL of a JSON Lines, CSV or Parquet file"},
        ),
        _value(
            "--conn-id",
            "the Airflow connection that would pay (default: volcengine_default)",
            metavar="CONN_ID",
            default="volcengine_default",
        ),
        _value("--req-key", "the product of lines that name none", metavar="REQ_KEY", default=None),
        _value(
            "--force-new", "as the operator's argument: a reason to pay again", metavar="REASON", type=_words
        ),
        _value("--options", "as the operator's argument: switches per product", metavar="JSON", type=_json),
        Argument(
            ("--on-unknown-submit",),
            {"choices": ("fail", "resubmit"), "default": "fail", "help": "as the operator's argument"},
        ),
        Argument(
            ("--on-missing-output",),
            {"choices": ("fail", "resubmit"), "default": "fail", "help": "as the operator's argument"},
        ),
        _URL,
        _JSON,
    ),
    description=(
        "Look every line up in the ledger and count what a run would do with it. Files, inputs and the "
        "vendor are not looked at. The exit code is 1 where a line can't be read."
    ),
    opens_ledger=False,
)

#: What stands below ``airflow jimeng`` and ``python -m airflow_provider_jimeng``.
COMMANDS: tuple[Group | Command, ...] = (_LEDGER, _PLAN)
