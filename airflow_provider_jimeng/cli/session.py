# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What every command needs: the ledger, who is asking, and a yes before anything changes."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

from airflow_provider_jimeng.cli.render import plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin

__all__ = [
    "NotConfirmed",
    "Refusal",
    "WrongUse",
    "account_of",
    "as_a_command_of_airflow",
    "confirm",
    "open_admin",
    "say",
    "url_of",
    "who",
]


class NotConfirmed(Exception):
    """Nobody said yes; nothing was changed."""


class Refusal(Exception):
    """What was asked for can't be done; nothing was changed."""


class WrongUse(Exception):
    """The arguments don't fit together; nothing was changed."""


def open_admin(url: str | None) -> LedgerAdmin:
    """
    Open the ledger that Airflow's configuration names, or another; never makes one.

    :param url: SQLAlchemy URL; without it ``[jimeng]`` of Airflow's configuration is asked.
    :raises JimengError: there is no ledger, it can't be reached, or the configuration names no usable one.
    """
    from airflow_provider_jimeng.ledger.admin import LedgerAdmin

    return LedgerAdmin(url_of(url))


def url_of(url: str | None) -> str:
    """
    Return the URL of a ledger: the given one, or the one that Airflow's configuration names.

    :raises JimengError: the configuration names no usable one.
    """
    if url is not None:
        return url
    as_a_command_of_airflow()
    from airflow_provider_jimeng.hooks.ledger import ledger_url

    return ledger_url()


def as_a_command_of_airflow() -> None:
    """
    Let connections be read from Airflow's database, as for Airflow's own commands.

    They say the same of themselves, in the same way; without it only the environment is asked.
    """
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def account_of(options: argparse.Namespace) -> str | None:
    """
    Return the account that the arguments name, by its own name or by a connection.

    :raises WrongUse: both are given.
    """
    name: str | None = options.account
    if options.conn_id is None:
        return name
    if name is not None:
        raise WrongUse("An account and --conn-id are both given; nothing was changed. Keep one of them.")
    as_a_command_of_airflow()
    from airflow_provider_jimeng.hooks.volcengine import VolcengineHook

    return VolcengineHook(volcengine_conn_id=options.conn_id).settings.account


def who() -> str:
    """Return who runs this command and where."""
    try:
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        # A container's user often has no name.
        user = f"uid-{os.getuid()}" if hasattr(os, "getuid") else os.environ.get("USERNAME", "somebody")
    return f"{user}@{socket.gethostname()}"


def say(*lines: str) -> None:
    """Tell a person something that is no part of the output."""
    for line in lines:
        print(plain(line), file=sys.stderr)


def confirm(options: argparse.Namespace, lines: Iterable[str]) -> None:
    """
    Say what will happen and what it means for money, and ask.

    :raises NotConfirmed: the answer is not yes, or there is nobody to ask and no ``--yes``.
    """
    say(*lines)
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed("Nothing was changed: there is no terminal to ask on, and --yes is not given.")
    print("Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise NotConfirmed("Nothing was changed.")
