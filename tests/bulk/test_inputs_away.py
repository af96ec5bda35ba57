# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Stores of inputs that do not answer: each is waited for by itself, and holds up nobody else's lines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.bulk import away as module, landing_pool, scout, submits
from airflow_provider_jimeng.bulk.away import InputsAway, stores_of
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.exceptions import JimengInputStoreError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.lifecycle.ensured import Waiting

from tests.bulk.kit import Works, items, lines_after, outcomes

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import Item


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=4, duration=0.1, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    for each in (landing_pool, scout, submits):
        monkeypatch.setattr(each, "backoff_delay", lambda *_, **__: 0.05, raising=False)
    made = Works(emu, tmp_path)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


class Stores:
    """The stores of some lines' inputs, which can't be looked at as long as ``away`` says so."""

    def __init__(self, away: Callable[[str, int], bool]) -> None:
        self.away, self.asked = away, dict[str, int]()

    def inspect(self, wanted: Any) -> Any:
        name = wanted.sources["image_url"].rpartition("/n-")[2].removesuffix(".png")
        self.asked[name] = self.asked.get(name, 0) + 1
        if self.away(name, self.asked[name]):
            raise JimengInputStoreError(f"{name}: 503. Nothing was sent")
        return wanted, None


def elsewhere(each: Item) -> Item:
    """Return an item whose image is on another host."""
    return replace(each, image=each.image.replace("127.0.0.1", "localhost"))


@pytest.mark.parametrize("away", [1, 12])
def test_lines_behind_some_that_wait_for_their_inputs_are_submitted_meanwhile(
    works: Works, emu: Emulator, away: int
) -> None:
    # They answer once what stands behind them was paid for.
    stores = Stores(lambda name, asked: int(name) < away and works.accepted < 6)
    tools = {"inspect": stores.inspect}
    fates = works.run(items(emu, range(away + 6)), tools=tools, input_patience=12.0)

    assert outcomes(fates) == {"landed": away + 6}
    assert works.accepted == away + 6
    assert min(stores.asked[str(each)] for each in range(away)) > 1


def test_what_waits_for_its_inputs_is_not_passed_over_by_the_next_leg(works: Works, emu: Emulator) -> None:
    emu.configure(duration=3600.0, concurrency=2)
    works.settings = replace(works.settings, max_concurrency=2)
    fates: list[Any] = []
    stores = Stores(lambda name, asked: name == "1" and asked < 4)
    lines = items(emu, range(4))
    run = works.prepare(lines, fates, tools={"inspect": stores.inspect}, input_patience=60.0)
    parked = run.run(leg=True)

    assert parked is not None
    assert parked.after_line <= 1
    assert len(parked.open) == 2
    emu.configure(duration=0.1)
    emu.advance(7200.0)
    stores.away = lambda name, asked: False
    rest = list(lines_after(lines, parked.after_line))
    later = works.prepare(rest, fates, tools={"inspect": stores.inspect}, poll_interval=0.1)
    assert later.run() is None
    assert outcomes(fates) == {"landed": 4 - parked.after_line}
    assert works.accepted == 4


def test_one_stores_trouble_is_not_taken_for_anothers(works: Works, emu: Emulator) -> None:
    failed = threading.Event()

    def away(name: str, asked: int) -> bool:
        # The other store answers with an error once, a moment after this one was given up.
        return name == "0" or (name == "2" and failed.wait(10.0) and asked == 1)

    def tell(fate: Any, line: Any) -> None:
        fates.append(fate)
        if str(fate.outcome) == "failed":
            failed.set()

    fates: list[Any] = []
    lines = items(emu, range(3))
    lines[2] = elsewhere(lines[2])
    tools = {"inspect": Stores(away).inspect, "report": tell}
    works.prepare(lines, fates, tools=tools, input_patience=0.3).run()

    assert {each.id: str(each.outcome) for each in fates} == {"0": "failed", "1": "landed", "2": "landed"}


def test_a_later_leg_waits_no_more_for_a_store_that_an_earlier_one_has_waited_for(
    works: Works, emu: Emulator
) -> None:
    stores = Stores(lambda name, asked: True)
    away = InputsAway()
    terms: dict[str, Any] = {"input_patience": 0.5}
    works.run(items(emu, "a"), tools={"inspect": stores.inspect, "away": away}, **terms)
    told = json.loads(json.dumps(away.left()))
    assert stores.asked["a"] >= 3
    assert list(told) == ["until"]

    tools = {"inspect": stores.inspect, "away": InputsAway(told)}
    fates = works.run([*items(emu, "bc"), elsewhere(items(emu, "xyzd")[3])], tools=tools, **terms)
    assert outcomes(fates) == {"failed": 3}
    assert (stores.asked["b"], stores.asked["c"]) == (1, 1)
    assert stores.asked["d"] >= 3
    assert works.accepted == 0


def test_what_was_waited_for_counts_over_all_legs(works: Works, emu: Emulator) -> None:
    stores = Stores(lambda name, asked: name == "a")
    told: dict[str, Any] = {}
    emu.configure(duration=3600.0)
    works.settings = replace(works.settings, max_concurrency=1)
    legs = 0
    began = time.monotonic()
    fates: list[Any] = []
    while not fates and legs < 20:
        away = InputsAway(told)
        tools = {"inspect": stores.inspect, "away": away}
        left = works.prepare(items(emu, "abc"), fates, tools=tools, input_patience=0.6).run(leg=True)
        assert left is not None
        told, legs = json.loads(json.dumps(away.left())), legs + 1
        time.sleep(0.1)

    assert outcomes(fates) == {"failed": 1}
    assert legs > 1
    assert time.monotonic() - began < 10.0


def test_a_store_that_answered_a_content_that_waits_for_a_slot_is_not_blamed_for_the_time_since(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in trouble twice before the wait, and once more long after: two troubles, not one of minutes."""
    clock = [time.time()]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: clock[0]))
    monkeypatch.setattr(submits, "backoff_delay", lambda *_, **__: 0.02)
    works.settings = replace(works.settings, max_concurrency=1)
    away, usual = InputsAway(), works.tools([], Provenance("dag", "run-1", "batch")).ensure
    tries = {"a": 0, "b": 0}

    def ensure(wanted: Any, **more: Any) -> Any:
        name = wanted.sources["image_url"].partition("/n-")[2][0]
        tries[name] += 1
        if name == "b" and tries[name] in (1, 2, 4):
            clock[0] += 1200.0 if tries[name] == 4 else 0.0
            raise JimengInputStoreError("s3://inputs: 503")
        if name == "b" and tries[name] == 3:
            return Waiting("slots", 99, limit=1, in_use=1)
        return usual(wanted, **more)

    fates = works.run(items(emu, "ab"), tools={"ensure": ensure, "away": away})
    assert outcomes(fates) == {"landed": 2}
    assert tries["b"] >= 5


# -- the rules by themselves


def wanted(works: Works, item: Item) -> Any:
    return works.tools([], Provenance("dag", "run-1", "batch")).want(item)


def test_a_store_that_was_waited_for_fails_others_at_once_for_a_while(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.3)
    first, second, third = (wanted(works, each) for each in items(emu, "abc"))
    away = InputsAway()
    assert all(away.bears(first, "look", 0.0) for _ in range(2))
    time.sleep(0.01)
    assert not away.bears(first, "look", 0.0)
    assert not away.bears(second, "look", 60.0)
    assert not away.bears(second, "submit", 60.0)
    time.sleep(0.3)
    assert away.bears(third, "look", 60.0)


def test_a_store_that_has_answered_since_is_asked_once_more(works: Works, emu: Emulator) -> None:
    first, second, third = (wanted(works, each) for each in items(emu, "abc"))
    away = InputsAway({"until": {stores_of(first): time.time() + 60.0}})
    away.answered(second, "look")
    assert away.bears(third, "look", 60.0)
    assert not away.bears(third, "look", 60.0)


def test_what_is_told_to_the_next_leg_is_small_and_holds_no_secret(works: Works, emu: Emulator) -> None:
    away = InputsAway()
    one = items(emu, "a")[0]
    for number in range(100):
        away.bears(
            wanted(works, replace(one, image=f"https://h{number}.example/a?X-Amz-Signature=5ec2e7")),
            "look",
            9,
        )
        away.bears(wanted(works, replace(one, image=f"s3://conn@b{number}/a.png")), "submit", 9)
    told = json.dumps(away.left())
    assert len(told) < 5000
    assert "5ec2e7" not in told
    assert away.left() == InputsAway(json.loads(told)).left()
    assert stores_of(wanted(works, replace(one, image="s3://conn@bucket/a.png"))).endswith("s3://conn@bucket")


def test_a_leg_on_a_machine_whose_clock_is_ahead_does_not_make_a_store_away_for_longer(
    works: Works, emu: Emulator
) -> None:
    first = wanted(works, items(emu, "a")[0])
    left = InputsAway({"until": {stores_of(first): time.time() + 9000.0}}).left()
    assert left["until"][stores_of(first)] <= time.time() + module.AWAY_SECONDS
