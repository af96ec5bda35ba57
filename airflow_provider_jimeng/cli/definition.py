# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The commands for ``airflow jimeng`` (Airflow 3.2 and later, through the provider's ``cli`` key)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand
from airflow_provider_jimeng.cli.spec import COMMANDS, Argument, Command, Group

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["get_jimeng_cli_commands"]


def get_jimeng_cli_commands() -> list[CLICommand]:
    """Return what Airflow adds to its own commands."""
    return [
        GroupCommand(
            name="jimeng",
            help="Look after what was paid for at Volcengine Jimeng",
            subcommands=[_translated(entry) for entry in COMMANDS],
        )
    ]


def _translated(entry: Group | Command) -> CLICommand:
    if isinstance(entry, Group):
        return GroupCommand(
            name=entry.name, help=entry.help, subcommands=[_translated(each) for each in entry.commands]
        )
    return ActionCommand(
        name=entry.name,
        help=entry.help,
        description=entry.description or entry.help,
        func=_function(entry),
        args=[_argument(each) for each in entry.arguments],
    )


def _argument(argument: Argument) -> Arg:
    make: Any = Arg  # Airflow declares no types for it.
    made: Arg = make(flags=argument.flags, **argument.options)
    return made


def _function(command: Command) -> Callable[[argparse.Namespace], None]:
    def function(options: argparse.Namespace) -> None:
        from airflow_provider_jimeng.cli.main import run

        # Airflow drops what a command returns.
        code = run(command, options)
        if code:
            raise SystemExit(code)

    function.__name__ = command.name
    return function
