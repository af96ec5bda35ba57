# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``ledger identity`` and ``take-over``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command
    from tests.ledger.kit import Bench

WHY = ("--reason", "the disk was lost")
OTHER = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """Return the URL of a ledger that no other test shares."""
    return f"sqlite:///{tmp_path}/ledger.db"


def test_an_identity_is_told(bench: Bench, ledger: Command):
    now = bench.ledger.advance()
    (told,) = ledger("identity", "--json").lines
    assert (told["ledger"], told["mark"]) == (now.uuid, now.mark)
    words = ledger("identity").out
    assert f"ledger {now.uuid} at " in words
    assert f"mark       {now.mark}\n" in words


def test_another_ledgers_place_is_taken_with_who_and_why(bench: Bench, ledger: Command):
    done = ledger("take-over", OTHER.upper(), *WHY, typed="yes\n")
    assert done.code == 0
    assert "is paid a second time" in done.err
    assert done.out == f"Ledger {bench.ledger.uuid} took the place of {OTHER}: its submits go on.\n"
    assert bench.ledger.identity().took_over[OTHER].endswith(": the disk was lost")
    assert f"took over  {OTHER}: " in ledger("identity").out

    again = ledger("take-over", OTHER, *WHY)
    assert (again.code, again.out) == (0, "")
    assert "nothing was changed" in again.err


def test_a_restored_ledger_gets_a_new_identity(bench: Bench, ledger: Command):
    was = bench.ledger.uuid
    done = ledger("take-over", was, *WHY, "--yes", "--json")
    assert done.code == 0
    assert "gets a new UUID" in done.err
    (told,) = done.lines
    assert told["ledger"] == bench.ledger.identity().uuid != was
    assert list(told["took_over"]) == [was]


def test_nothing_is_taken_over_without_a_yes_a_reason_and_a_uuid(bench: Bench, ledger: Command):
    before = bench.ledger.identity()
    assert ledger("take-over", OTHER, *WHY, typed="no\n").code == 3
    for wrong in ((OTHER, "--yes"), ("mine", *WHY, "--yes")):
        with pytest.raises(SystemExit, match="2"):
            ledger("take-over", *wrong)
    now = bench.ledger.identity()
    assert (now.uuid, now.took_over) == (before.uuid, before.took_over)
