# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The design names the places where its promises are kept; each of them exists."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.docs.pages import names, page, rows, section
from tests.structure.imports import LAYERS

TEXT = page("docs/design.md")
PLACE = re.compile(r"`((?:[a-z_]+\.)+[a-z_]+|[a-z_]+):([A-Za-z_][\w.]*)`")
PLACES = sorted({f"{module}:{name}" for module, name in PLACE.findall(TEXT)} - {"module:name"})


def test_there_is_something_to_check() -> None:
    assert len(PLACES) > 80


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_the_design_names_exists(place: str) -> None:
    module, _, path = place.partition(":")
    found = importlib.import_module(f"airflow_provider_jimeng.{module}")
    for name in path.split("."):
        assert hasattr(found, name), f"{place}: no {name}"
        found = getattr(found, name)


def test_each_of_the_nine_invariants_is_kept_somewhere() -> None:
    table = rows(section(TEXT, "## Invariants"))

    assert [cell.lstrip("*").partition(".")[0] for cell, _ in table] == [str(n) for n in range(1, 10)]
    assert all(any(PLACE.fullmatch(f"`{name}`") for name in names(places)) for _, places in table)


def test_each_sentence_about_the_ledger_is_kept_somewhere() -> None:
    text = section(TEXT, "## The ledger")
    ledger, landing = text.split("**Landing.**")

    table = [*rows(ledger.lstrip("\n")), *rows(landing.lstrip("\n"))]
    assert len(table) > 35
    unkept = [sentence for sentence, places in table if not any(":" in name for name in names(places))]
    assert unkept == ["The gap between that check and the socket can't be closed."]


def test_each_layer_is_described() -> None:
    described = {name for cell, _ in rows(section(TEXT, "## Layers")) for name in names(cell)}

    assert {*LAYERS, "emulator"} - {"get_provider_info", "bulk", "__main__"} <= described
