# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A run that dies anywhere goes on where it was: nothing is paid twice, nothing that was paid is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.media.target import Target

from tests.bulk.kit import Works, items, outcomes

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import Fate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=4, duration=0.3, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path) -> Iterator[Works]:
    made = Works(emu, tmp_path)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


#: Where a run is struck: what it calls there, and whether the blow comes before or after it took effect.
POINTS = [
    (owner, name, after)
    for owner, name in (
        (Ledger, "latest_many"),
        (Ledger, "claim"),
        (Ledger, "record_created"),
        (Ledger, "record_succeeded"),
        (Ledger, "record_landing"),
        (Target, "publish"),
        (Target, "copy_to"),
    )
    for after in (False, True)
    if (name, after) != ("record_created", False)
]


@pytest.mark.parametrize(("owner", "name", "after"), POINTS)
def test_a_run_struck_at_any_point_goes_on_and_pays_once(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
) -> None:
    usual = getattr(owner, name)
    calls = iter(range(10_000))
    struck = random.Random(f"{name}{after}").randrange(0, 1 if name == "latest_many" else 6)

    def strike(self: Any, *given: Any, **named: Any) -> Any:
        blow = next(calls) == struck
        if blow and not after:
            raise SystemExit("struck")
        value = usual(self, *given, **named)
        if blow:
            raise SystemExit("struck")
        return value

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, strike)
        with pytest.raises(SystemExit):
            works.prepare(items(emu, range(10)), []).run()

    fates = works.run(items(emu, range(10)))
    assert outcomes(fates) == {"landed": 10}
    assert works.accepted == 10
    assert works.paid_twice() == []
    assert len(set(works.files().values())) == 10


def test_a_silent_ledger_stops_submits_and_loses_nothing(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_jimeng.exceptions import JimengLedgerError

    silent = threading.Event()

    def unless_silent(usual: Any) -> Any:
        def call(self: Any, *given: Any, **named: Any) -> Any:
            if silent.is_set():
                raise JimengLedgerError("silent")
            return usual(self, *given, **named)

        return call

    for name in ("claim", "latest", "record_succeeded", "slot_view", "record_landing", "now"):
        monkeypatch.setattr(Ledger, name, unless_silent(getattr(Ledger, name)))
    fates: list[Fate] = []
    run = works.prepare(items(emu, range(10)), fates)
    thread = threading.Thread(target=run.run)
    thread.start()
    while works.accepted < 3:
        threading.Event().wait(0.02)
    silent.set()
    threading.Event().wait(0.8)
    during = works.accepted
    silent.clear()
    thread.join()

    assert during <= 8
    assert outcomes(fates) == {"landed": 10}
    assert works.accepted == 10
