# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import random

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig, Fault
from airflow_provider_jimeng.emulator.faults import KINDS, FaultBook

from tests.emulator.caller import Caller


def strikes(fault: Fault, subjects: list[str], seed: int = 1) -> list[bool]:
    book = FaultBook(random.Random(seed), [fault])
    return [book.strike(fault.on, subject) is not None for subject in subjects]


def test_a_fault_strikes_once_unless_told() -> None:
    assert strikes(Fault("submit", "code"), ["a"] * 3) == [True, False, False]


def test_the_next_n_calls_can_be_struck() -> None:
    assert strikes(Fault("submit", "code", times=2), ["a"] * 4) == [True, True, False, False]
    assert strikes(Fault("submit", "code", times=0), ["a"] * 4) == [True] * 4


def test_calls_can_be_let_through_first() -> None:
    assert strikes(Fault("submit", "code", skip=2), ["a"] * 5) == [False, False, True, False, False]


def test_only_calls_that_match_are_struck_or_counted() -> None:
    fault = Fault("submit", "code", match="b.png", skip=1)
    assert strikes(fault, ["a.png", "b.png", "a.png", "b.png"]) == [False, False, False, True]


def test_random_faults_have_no_end_and_are_repeated_by_a_seed() -> None:
    fault = Fault("query", "code", probability=0.3)
    first = strikes(fault, ["a"] * 1000, seed=5)
    assert strikes(fault, ["a"] * 1000, seed=5) == first
    assert strikes(fault, ["a"] * 1000, seed=6) != first
    assert 240 < sum(first) < 360


def test_random_faults_can_be_limited() -> None:
    fault = Fault("query", "code", probability=0.5, times=3)
    assert sum(strikes(fault, ["a"] * 100)) == 3


def test_the_first_fault_that_matches_wins_and_the_next_takes_over_when_it_is_spent() -> None:
    book = FaultBook(
        random.Random(1), [Fault("submit", "code"), Fault("submit", "html"), Fault("query", "empty")]
    )
    struck = [book.strike("submit", "a") for _ in range(3)]
    assert [item and item.fault.kind for item in struck] == ["code", "html", None]


def test_a_fault_can_be_put_back_and_taken_away() -> None:
    book = FaultBook(random.Random(1))
    first = book.add(Fault("submit", "code"))
    second = book.add(Fault("query", "code"))
    struck = book.strike("submit", "a")
    assert struck is not None
    book.put_back(struck)
    assert book.strike("submit", "a") is struck
    assert book.remove(first) == 1
    assert [item["id"] for item in book.shown()] == [second]
    assert book.remove() == 1
    assert book.shown() == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("submit:50500", Fault("submit", "code", code=50500)),
        ("submit:50500,created=true", Fault("submit", "code", code=50500, created=True)),
        ("submit:html,http_status=504,times=3", Fault("submit", "html", http_status=504, times=3)),
        ("query:race,seconds=20,status=not_found", Fault("query", "race", seconds=20.0, status="not_found")),
        ("done:50411,match=a.png", Fault("done", "code", code=50411, match="a.png")),
        (
            "download:corrupt,probability=0.1,digest=0",
            Fault("download", "corrupt", probability=0.1, digest=False),
        ),
    ],
)
def test_a_fault_can_be_written_as_text(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("html", "on:kind"),
        ("nowhere:html", "on:"),
        ("submit:nothing", "kind:"),
        ("done:html", "kind:"),
        ("submit:html,what=1", "what:"),
        ("submit:html,times", "name=value"),
        ("submit:html,times=x", "times:"),
        ("submit:html,times=-1", "times:"),
        ("submit:delay,seconds=x", "seconds:"),
        ("submit:html,created=perhaps", "created:"),
        ("submit:html,probability=0", "probability:"),
        ("submit:html,probability=1.1", "probability:"),
        ("query:html,created=true", "created:"),
    ],
)
def test_a_wrong_fault_is_refused_by_the_name_of_its_field(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Fault.parse(text)


@pytest.mark.parametrize("values", [{"on": "submit"}, {"on": "submit", "kind": "html", "match": 7}])
def test_a_wrong_fault_as_json_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"kind|match"):
        Fault.from_dict(values)


def test_every_kind_of_fault_has_a_row_in_the_documentation() -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")
    missing = [f"{on}:{kind}" for on, kinds in KINDS.items() for kind in kinds if f"`{kind}`" not in text]
    assert missing == []


def test_faults_can_be_switched_while_it_runs_and_from_the_start() -> None:
    with Emulator(EmulatorConfig(duration=0.0), [Fault("submit", "empty")]) as emulator:
        caller = Caller(emulator)
        assert caller.submit().status_code == 503
        fault_id = emulator.add_fault("submit", "html", times=0)
        emulator.add_fault(Fault("query", "empty", times=0))
        assert caller.submit().status_code == 502
        assert [fault["hits"] for fault in emulator.faults()] == [1, 1, 0]
        assert emulator.clear_faults(fault_id) == 1
        task_id = caller.created()
        assert caller.query(task_id).status_code == 503
        assert emulator.clear_faults() == 2
        assert caller.query(task_id).status_code == 200


def test_a_script_of_faults_is_played_in_order(caller: Caller) -> None:
    for spec in ("submit:50500", "submit:50430,times=2", "submit:html"):
        caller.emulator.add_fault(spec)
    statuses = [caller.submit().status_code for _ in range(5)]
    assert statuses == [500, 429, 429, 502, 200]
