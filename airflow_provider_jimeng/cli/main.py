# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Runs a command, and tells by its exit code how it ended."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from airflow_provider_jimeng.cli.session import NotConfirmed, Refusal, WrongUse, open_admin
from airflow_provider_jimeng.cli.spec import COMMANDS, Command, Group
from airflow_provider_jimeng.exceptions import JimengError, JimengInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["main", "run"]

DONE = 0
REFUSED = 1
WRONG_USE = 2
NOT_CONFIRMED = 3
NO_LEDGER = 4
INTERRUPTED = 130
READER_GONE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m airflow_provider_jimeng``; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_jimeng",
        description="Volcengine Jimeng for Airflow: look after what was paid for.",
    )
    _add(parser, COMMANDS)
    options = parser.parse_args(arguments)
    return run(options.command, options)


def _add(parser: argparse.ArgumentParser, entries: Iterable[Group | Command]) -> None:
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    for entry in entries:
        if isinstance(entry, Group):
            _add(below.add_parser(entry.name, help=entry.help, description=entry.help), entry.commands)
            continue
        leaf = below.add_parser(entry.name, help=entry.help, description=entry.description or entry.help)
        for argument in entry.arguments:
            leaf.add_argument(*argument.flags, **argument.options)
        leaf.set_defaults(command=entry)


def run(command: Command, options: argparse.Namespace) -> int:
    """
    Run one command; returns the exit code.

    0: done. 1: refused or not found. 2: wrong use. 3: not confirmed. 4: the ledger is not there, can't be
    reached, or is not configured. 130: interrupted. 141: whoever read the output went away.
    """
    _tolerate_every_letter()
    try:
        if command.opens_ledger:
            code = _handler(command)(open_admin(options.ledger_url), options)
        else:
            code = _handler(command)(options)
        sys.stdout.flush()
    except NotConfirmed as error:
        return _tell(str(error), NOT_CONFIRMED)
    except Refusal as error:
        return _tell(str(error), REFUSED)
    except (WrongUse, JimengInputError) as error:
        return _tell(str(error), WRONG_USE)
    except JimengError as error:
        from airflow_provider_jimeng.ledger.records import LostRace

        return _tell(str(error), REFUSED if isinstance(error, LostRace) else NO_LEDGER)
    except BrokenPipeError:
        # Python would complain about the same once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        return _tell("Interrupted.", INTERRUPTED)
    return code


def _handler(command: Command) -> Callable[..., int]:
    module, _, name = command.handler.rpartition(".")
    handler: Callable[..., int] = getattr(import_module(module), name)
    return handler


def _tell(words: str, code: int) -> int:
    print(f"error: {words}", file=sys.stderr)
    return code


def _tolerate_every_letter() -> None:
    """A terminal that can't show a letter of a DAG's name must not end a command in its middle."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
