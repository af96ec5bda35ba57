# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How the commands are reached, what they open, and what their exit codes tell."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.cli import session
from airflow_provider_jimeng.cli.main import main
from airflow_provider_jimeng.cli.spec import COMMANDS, Command, Group
from airflow_provider_jimeng.ledger.admin import LedgerAdmin, NoLedger
from airflow_provider_jimeng.ledger.store import Ledger

from tests.ledger.kit import Bench
from tests.structure.imports import ROOT

NAMES = {
    *("list", "show", "release", "adopt", "forget", "pause", "resume", "prune", "export", "stats"),
    *("identity", "take-over"),
}


@pytest.fixture
def local(tmp_path: Path) -> Bench:
    made = Bench(f"sqlite:///{tmp_path}/ledger.db")
    assert made.ledger.uuid
    return made


def commands(entries: Any = COMMANDS) -> list[Command]:
    return [
        each
        for entry in entries
        for each in (commands(entry.commands) if isinstance(entry, Group) else [entry])
    ]


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_provider_jimeng", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100, **options
    )


def test_the_commands_of_the_contract_are_there():
    (group,) = (entry for entry in COMMANDS if isinstance(entry, Group))
    assert {each.name for each in group.commands} == NAMES
    assert [each.name for each in COMMANDS if isinstance(each, Command)] == ["plan"]


@pytest.mark.parametrize("command", commands(), ids=lambda each: each.name)
def test_help_is_plain_enough_for_both_parsers(command: Command):
    texts = [command.help, command.description, *(each.options["help"] for each in command.arguments)]
    assert not any(char in text for text in texts for char in "[]%")


def test_airflow_gets_the_same_commands():
    from airflow.cli.cli_config import GroupCommand
    from airflow_provider_jimeng.cli.definition import get_jimeng_cli_commands

    (jimeng,) = get_jimeng_cli_commands()
    parser = argparse.ArgumentParser()
    from airflow.cli.cli_parser import _add_command

    _add_command(parser.add_subparsers(), jimeng)
    options = parser.parse_args(["jimeng", "ledger", "list", "--state", "unknown", "--limit", "3"])
    assert (options.limit, options.func.__name__) == (3, "list")
    assert isinstance(jimeng, GroupCommand)
    group, plan = jimeng.subcommands
    assert plan.name == "plan"
    assert {each.name for each in group.subcommands} == NAMES


def test_airflow_ends_with_the_code_of_a_command(local: Bench, capsys: pytest.CaptureFixture[str]):
    from airflow_provider_jimeng.cli.definition import get_jimeng_cli_commands

    (jimeng,) = get_jimeng_cli_commands()
    from airflow.cli.cli_parser import _add_command

    parser = argparse.ArgumentParser()
    _add_command(parser.add_subparsers(), jimeng)
    good = parser.parse_args(["jimeng", "ledger", "list", "--ledger-url", local.url])
    good.func(good)
    bad = parser.parse_args(["jimeng", "ledger", "show", "nothing", "--ledger-url", local.url])
    with pytest.raises(SystemExit) as ended:
        bad.func(bad)
    assert ended.value.code == 1
    assert "nothing" in capsys.readouterr().err


def test_python_runs_a_command_without_airflow(local: Bench):
    row = local.unknown()
    code = (
        "import sys; from airflow_provider_jimeng.cli.main import main; "
        f"code = main(['ledger', 'list', '--json', '--ledger-url', {local.url!r}]); "
        "assert 'airflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == row.id


def test_python_asks_on_a_real_terminal(local: Bench):
    import pty

    row = local.unknown()
    local.age(row, 1000.0)
    ours, theirs = pty.openpty()
    os.write(ours, b"yes\n")
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "airflow_provider_jimeng",
                "ledger",
                "release",
                str(row.id),
                "--reason",
                "x",
            ]
            + ["--ledger-url", local.url],
            cwd=ROOT,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "Type yes to go on" in done.stderr
    assert local.now(row).state == "released"


def test_a_reader_that_goes_away_is_no_traceback(local: Bench):
    local.landed()
    program = (
        "import os, sys; from airflow_provider_jimeng.cli.main import main\n"
        "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)\n"
        f"sys.exit(main(['ledger', 'export', '--ledger-url', {local.url!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 141
    assert done.stderr == ""


def test_no_command_makes_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    url = f"sqlite:///{tmp_path}/typo.db"
    assert main(["ledger", "list", "--ledger-url", url]) == 4
    assert "There is no ledger at" in capsys.readouterr().err
    assert not (tmp_path / "typo.db").exists()
    (tmp_path / "empty.db").touch()
    with pytest.raises(NoLedger):
        LedgerAdmin(f"sqlite:///{tmp_path}/empty.db")


def test_no_ledger_in_an_empty_postgresql_either(postgres_database: str):
    with pytest.raises(NoLedger):
        LedgerAdmin(postgres_database)
    assert Ledger(postgres_database).uuid
    assert LedgerAdmin(postgres_database).accounts() == []
    assert LedgerAdmin(postgres_database).census() == []


def test_an_empty_ledger_says_so(local: Bench, capsys: pytest.CaptureFixture[str]):
    assert main(["ledger", "stats", "--ledger-url", local.url]) == 0
    assert "Nothing was ever asked for" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["no url", "oracle://u:SECRET@h/d", "postgresql://u:SECRET@127.0.0.1:1/none", "sqlite://"]
)
def test_a_ledger_that_can_not_be_reached_is_told_without_its_password(
    url: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["ledger", "list", "--ledger-url", url]) == 4
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "SECRET" not in err


def test_the_configured_ledger_is_opened(
    local: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    row = local.unknown()
    monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", local.url)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    assert main(["ledger", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == row.id
    monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", "sqlite:///relative.db")
    assert main(["ledger", "list"]) == 4
    assert "ledger_url" in capsys.readouterr().err


def test_a_connection_in_airflows_own_database_is_found(local: Bench, airflow_metadata: str):
    """A command runs outside of any task, where Airflow by itself asks the environment only."""
    row = local.unknown()
    path = local.url.removeprefix("sqlite:///")
    program = (
        "import sys\n"
        "from airflow.models import Connection\n"
        "from airflow.utils.session import create_session\n"
        "with create_session() as session:\n"
        f"    session.add(Connection(conn_id='ledger_of_a_command', conn_type='sqlite', host={path!r}))\n"
        "from airflow_provider_jimeng.cli.main import main\n"
        "sys.exit(main(['ledger', 'list', '--json']))\n"
    )
    environment = {
        **os.environ,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_metadata,
        "AIRFLOW__JIMENG__LEDGER_CONN_ID": "ledger_of_a_command",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["id"] == row.id


def test_an_interrupt_has_its_own_code(
    local: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(self: LedgerAdmin, account: str | None = None) -> list[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(LedgerAdmin, "census", interrupted)
    assert main(["ledger", "stats", "--ledger-url", local.url]) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_a_user_without_a_name_is_still_somebody(monkeypatch: pytest.MonkeyPatch):
    import pwd

    assert session.who().count("@") == 1

    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert session.who().startswith(f"uid-{os.getuid()}@")


def test_streams_that_can_not_be_reconfigured_are_left_alone(local: Bench, monkeypatch: pytest.MonkeyPatch):
    class Plain:
        written = ""

        def write(self, text: str) -> int:
            self.written += text
            return len(text)

        def flush(self) -> None: ...

    stream = Plain()
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["ledger", "list", "--ledger-url", local.url]) == 0
    assert "No rows" in stream.written


def test_wrong_use_is_two():
    assert python("ledger").returncode == 2
    assert python("ledger", "nonsense").returncode == 2
    assert "release" in python("ledger", "--help").stdout
