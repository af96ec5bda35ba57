# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Two products in one manifest: neither one's slots idle because the other one's are full."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.api.models import MOTION_IMITATION_2
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.ledger import engine

from tests.bulk.kit import Works, items, outcomes

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import Fate, Item

AHEAD, IN_MEMORY = 4, 20


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=2, duration=3600.0, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path) -> Iterator[Works]:
    made = Works(emu, tmp_path)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


def in_blocks(emu: Emulator, first: int, second: int) -> list[Item]:
    """Return lines of one product, and then those of the other."""
    made = items(emu, range(first + second))
    return [replace(each, req_key=MOTION_IMITATION_2) if each.line > first else each for each in made]


def until(works: Works, accepted: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while works.accepted < accepted and time.monotonic() < end:
        threading.Event().wait(0.05)


def test_the_slots_of_a_product_whose_lines_come_later_are_filled_at_once(
    works: Works, emu: Emulator
) -> None:
    fates: list[Fate] = []
    run = works.prepare(in_blocks(emu, 12, 4), fates, ahead=AHEAD, products=2, poll_interval=0.1)
    thread = threading.Thread(target=run.run)
    thread.start()
    try:
        # Nothing ends yet, so what is accepted now was accepted beside a full window of the first product.
        until(works, 4)
        at_first = works.accepted
    finally:
        emu.configure(duration=0.1)
        emu.advance(7200.0)
        thread.join()

    assert at_first == 4
    assert outcomes(fates) == {"landed": 16}
    assert works.accepted == 16


def test_a_long_block_of_one_product_is_not_held_in_memory(works: Works, emu: Emulator) -> None:
    lines = in_blocks(emu, 60, 2)
    run = works.prepare(lines, [], ahead=AHEAD, products=2, budget=2, poll_interval=0.1)
    most = 0
    add = run._add

    def counting(*given: object, **named: object) -> None:
        nonlocal most
        add(*given, **named)  # type: ignore[arg-type]
        most = max(most, len(run._contents) - len(run._watching))

    run._add = counting  # type: ignore[method-assign]
    thread = threading.Thread(target=run.run)
    thread.start()
    until(works, 2)
    emu.advance(7200.0)
    thread.join()

    assert AHEAD < most <= IN_MEMORY
    assert works.accepted == 2


def test_a_leg_waits_for_the_turns_of_both_products(works: Works, emu: Emulator) -> None:
    others = [replace(each, variant=1) for each in in_blocks(emu, 2, 2)]
    assert works.prepare(others, [], "another run", products=2).run(leg=True) is not None
    left = works.leg(in_blocks(emu, 12, 4), [], ahead=AHEAD, products=2)

    assert works.accepted == 4
    assert left is not None
    assert left.open == ()
    assert left.scope is not None
    assert left.ticket is not None
    (other,) = left.others
    assert {left.scope.req_key, other[0].req_key} == {each.req_key for each in in_blocks(emu, 1, 1)}
