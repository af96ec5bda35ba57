# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A run in virtual time is a run: all is landed, no slot is used twice, and a thousand slots are filled."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.benchmarks.virtual.works import Case, run


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def test_every_item_is_landed_and_no_slot_is_used_twice() -> None:
    told = run(Case(items=60, slots=4, told=4, submit_qps=5, query_qps=20))
    assert told.landed == told.vendor.accepted == 60
    assert told.vendor.refused == 0
    assert told.vendor.most == 4
    assert told.vendor.utilisation > 0.95


def test_slots_that_nobody_named_are_found() -> None:
    told = run(Case(items=80, slots=5, told=None, submit_qps=5, query_qps=20))
    assert told.landed == 80
    assert told.vendor.most == 5
    assert 0 < told.vendor.refused < 5


def test_more_slots_than_a_run_reads_ahead_are_all_filled_and_their_results_landed() -> None:
    told = run(Case(items=1800, slots=600, told=600, submit_qps=40, query_qps=100))
    assert told.landed == 1800
    assert told.vendor.most == 600
    # Four landers of two seconds each would take a quarter of an hour for what is done in ten minutes.
    assert told.span < 13 * 60


def test_the_ledger_makes_no_difference_to_what_is_done(tmp_path: Path) -> None:
    case = Case(items=12, slots=3, told=3, submit_qps=5, query_qps=20)
    memory = run(case).vendor
    written = run(Case(items=12, slots=3, told=3, submit_qps=5, query_qps=20, ledger=str(tmp_path))).vendor
    assert (written.accepted, written.queries, written.most) == (memory.accepted, memory.queries, memory.most)
    assert written.utilisation == pytest.approx(memory.utilisation)
