# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.cli.main import main

from tests.ledger.conftest import bench, ledger_url

if TYPE_CHECKING:
    from tests.ledger.kit import Bench

__all__ = ["bench", "ledger_url"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it printed with ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def ids(self) -> list[int]:
        return [line["id"] for line in self.lines]


Command = Callable[..., Done]


class Terminal(io.StringIO):
    """A person who types something."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def ledger(bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return what runs ``ledger ...`` on the bench's ledger; ``typed`` is what a person answers."""
    assert bench.ledger.uuid

    def run(*arguments: object, typed: str | None = None) -> Done:
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO() if typed is None else Terminal(typed))
            code = main(["ledger", *map(str, arguments), "--ledger-url", bench.url])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run
