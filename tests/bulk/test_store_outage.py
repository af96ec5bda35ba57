# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A store that is away for a while: no line is given up for it, and none is paid that was not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.bulk import landing_pool, scout, submits
from airflow_provider_jimeng.bulk.items import Outcome
from airflow_provider_jimeng.bulk.job import Finished, judge
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.exceptions import JimengInputStoreError, JimengLandingError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.media.target import Target

from tests.bulk.kit import Works, items, outcomes


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=4, duration=0.1, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    for each in (landing_pool, scout, submits):
        monkeypatch.setattr(each, "backoff_delay", lambda *_, **__: 0.02, raising=False)
    made = Works(emu, tmp_path)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


class Away:
    """A store that can't be looked at, the first few times that somebody tries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.left = times
        usual = Target.stat

        def stat(target: Target) -> Any:
            if target.path.endswith(".mp4") and "/.jimeng/" not in target.path and self.left > 0:
                self.left -= 1
                raise JimengLandingError("503 Slow Down")
            return usual(target)

        monkeypatch.setattr(Target, "stat", stat)


def test_a_line_whose_place_could_not_be_looked_at_is_submitted_only_once_it_was(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.out.mkdir()
    for name in range(6):
        (works.out / f"{name}.mp4").write_bytes(b"somebody's")
    away = Away(monkeypatch, times=20)
    inspected: list[str] = []
    probed: list[str] = []

    def inspect(wanted: Any) -> Any:
        inspected.append(wanted.key)
        return wanted, None

    def probe(wanted: Any) -> None:
        probed.append(wanted.key)

    fates = works.run(items(emu, range(12)), tools={"inspect": inspect, "probe": probe})

    assert away.left == 0
    assert outcomes(fates) == {"invalid": 6, "landed": 6}
    assert works.accepted == 6
    assert len(set(inspected)) == len(set(probed)) == 6
    assert (works.out / "0.mp4").read_bytes() == b"somebody's"


def test_a_store_that_stays_away_while_lines_are_looked_at_costs_nothing_and_a_retry_goes_on(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Away(patch, times=10_000)
        fates = works.run(items(emu, range(10)), landing_patience=0.3)
    assert outcomes(fates) == {"skipped": 10}
    assert works.runs[-1].store_away
    assert works.accepted == 0

    assert outcomes(works.run(items(emu, range(10)))) == {"landed": 10}
    assert works.accepted == 10


def test_what_is_paid_is_waited_for_though_its_place_can_not_be_looked_at(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.run(items(emu, range(4)))
    away = Away(monkeypatch, times=9)
    fates = works.run(items(emu, range(4)), "run-2")

    assert away.left == 0
    assert outcomes(fates) == {"reused": 4}
    assert works.accepted == 4


class Doorkeeper:
    """The note beside the outputs, which every submit asks: it can't be read, from a submit on."""

    def __init__(self, works: Works, *, after: int, times: int) -> None:
        self.after, self.left, self.works = after, times, works

    def tools(self) -> dict[str, Any]:
        fates: list[Any] = []

        def ensure(wanted: Any, **how: Any) -> Any:
            if self.works.accepted >= self.after and self.left > 0:
                self.left -= 1
                raise JimengLandingError("ledger.json can't be read: 503 Slow Down. Nothing was sent")
            return self.works.tools(fates, wanted.provenance).ensure(wanted, **how)

        return {"ensure": ensure}


def test_a_note_that_can_not_be_read_for_a_while_gives_no_line_up(works: Works, emu: Emulator) -> None:
    door = Doorkeeper(works, after=4, times=8)
    fates = works.run(items(emu, range(10)), tools=door.tools())

    assert door.left == 0
    assert outcomes(fates) == {"landed": 10}
    assert works.accepted == 10


def test_a_note_that_can_not_be_read_for_too_long_stops_the_submits_and_a_retry_goes_on(
    works: Works, emu: Emulator
) -> None:
    door = Doorkeeper(works, after=4, times=10_000)
    fates = works.run(items(emu, range(10)), tools=door.tools(), landing_patience=0.3)
    told = outcomes(fates)

    assert set(told) == {"landed", "skipped"}
    assert told["landed"] == works.accepted < 10
    assert "503 Slow Down" in str(next(each.error for each in fates if each.outcome is Outcome.SKIPPED))
    run = works.runs[-1]
    summary = {**{str(each): told.get(str(each), 0) for each in Outcome}, "total": 10}
    with pytest.raises(JimengLandingError, match="Nothing new was paid for those"):
        judge(
            Finished({**summary, "gallery_uri": "", "report_uri": ""}, run.stopped, 0, (), run.store_away), 0
        )

    assert outcomes(works.run(items(emu, range(10)))) == {"landed": 10}
    assert works.accepted == 10


def keys_away(works: Works, where: str, *, times: int) -> dict[str, Any]:
    """Return tools whose probe, or whose submit, can't get at the input of line 3, the first few times."""
    left = [times]

    def ask(wanted: Any, **how: Any) -> Any:
        if "n-3.png" in wanted.inputs and left[0] > 0:
            left[0] -= 1
            raise JimengInputStoreError("the keys to s3://inputs can't be had: 503. Nothing was sent")
        return None if where == "probe" else works.tools([], wanted.provenance).ensure(wanted, **how)

    return {where: ask}


@pytest.mark.parametrize("where", ["probe", "ensure"])
def test_an_inputs_store_that_is_away_for_a_while_fails_no_line(
    works: Works, emu: Emulator, where: str
) -> None:
    fates = works.run(items(emu, range(8)), tools=keys_away(works, where, times=7))

    assert outcomes(fates) == {"landed": 8}
    assert works.accepted == 8


@pytest.mark.parametrize("where", ["probe", "ensure"])
def test_an_inputs_store_that_stays_away_fails_its_own_lines_and_no_other(
    works: Works, emu: Emulator, where: str
) -> None:
    tools = keys_away(works, where, times=10_000)
    fates = works.run(items(emu, range(8)), tools=tools, input_patience=0.3)

    assert outcomes(fates) == {"failed": 1, "landed": 7}
    assert works.accepted == 7
    assert works.runs[-1].inputs_away == 1
