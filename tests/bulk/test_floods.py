# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A bulk run in a storm of refusals: it keeps to its rates, sends next to nothing, and goes on afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.policy import slots

from tests.bulk.kit import Works, items, outcomes
from tests.legs import quick
from tests.network.calls import Calls, counted, most_within

SUBMIT_QPS, QUERY_QPS = 10.0, 12.0
STORM_SECONDS = 1.5
#: A call's way through a busy machine differs from the next one's.
LATENESS = 1
STORMS = {
    "50429": "submit:50429,times=0",
    "50430": "submit:50430,times=0",
    "flow limit": "submit:gateway,code=100018,name=FlowLimitExceeded,http_status=429,times=0",
}


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=8, duration=0.4, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    quick(monkeypatch)
    monkeypatch.setattr(slots, "COOL_DOWN_SECONDS_MAX", 1.0)
    monkeypatch.setattr(slots, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(slots, "CONFIGURED_PROBE_SECONDS", 0.5)
    made = Works(emu, tmp_path, submit_qps=SUBMIT_QPS, query_qps=QUERY_QPS)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


def within_rates(calls: Calls) -> None:
    assert most_within(calls.submits, 1.0) <= SUBMIT_QPS + 1 + LATENESS
    assert most_within(calls.queries, 1.0) <= QUERY_QPS + 1 + LATENESS


@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS)
def test_a_storm_of_refused_submits_costs_a_handful_of_calls(works: Works, emu: Emulator, storm: str) -> None:
    # A rate at which it is the cool-down that stops the calls: without one there would be forty.
    works.settings = replace(works.settings, submit_qps=3 * SUBMIT_QPS)
    fault = emu.add_fault(storm)
    over = threading.Timer(STORM_SECONDS, emu.clear_faults, args=(fault,))
    over.start()
    with counted(emu) as calls:
        fates = works.run(items(emu, range(16)))
    over.join()

    assert outcomes(fates) == {"landed": 16}
    assert works.accepted == 16
    assert works.paid_twice() == []
    assert most_within(calls.submits, 1.0) <= 3 * SUBMIT_QPS + 1 + LATENESS
    refused = sum(works.refused.values())
    # Three bursts of at most eight slots, between cool-downs of 0.3, 0.6 and 1 s; mostly the first refusal of
    # a burst stops it after three or four.
    assert 2 <= refused <= 20
    assert len(calls.submits) == 16 + refused


@pytest.mark.parametrize("storm", ["query:50429,times=24", "query:50430,times=24"])
def test_a_storm_of_refused_queries_fails_no_task_and_keeps_the_rate(
    works: Works, emu: Emulator, storm: str
) -> None:
    emu.add_fault(storm)
    with counted(emu) as calls:
        fates = works.run(items(emu, range(16)))

    assert outcomes(fates) == {"landed": 16}
    assert works.accepted == 16
    within_rates(calls)


def test_limits_of_the_vendor_at_the_connections_rates_are_never_hit(works: Works, emu: Emulator) -> None:
    # One a second more than the connection allows itself: its first call is not spread.
    emu.configure(submit_qps=SUBMIT_QPS + 1 + LATENESS, query_qps=QUERY_QPS + 1 + LATENESS)
    with counted(emu) as calls:
        fates = works.run(items(emu, range(24)))

    assert outcomes(fates) == {"landed": 24}
    assert works.refused == {}
    assert emu.ledger()["queries_refused"] == {}
    within_rates(calls)
