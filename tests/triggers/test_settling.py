# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A trigger stays quiet while Airflow may not have noticed that the leg before it has ended."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_jimeng.triggers import jimeng, settling, slots
from airflow_provider_jimeng.triggers.settling import blind_seconds, quiet_seconds

from tests.legs import Bench, first_event


def test_it_is_as_long_as_a_supervisor_may_take_to_notice_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quiet_seconds(real=False) == 0.0
    assert quiet_seconds(real=True) == 6.0
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "2")
    assert quiet_seconds(real=True) == 3.0
    assert blind_seconds() > 3.0


@pytest.mark.parametrize("real", [True, False])
def test_an_end_that_comes_early_is_told_later_with_all_that_ended_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, real: bool
) -> None:
    monkeypatch.setattr(settling, "_MARGIN", 0.5)
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1")
    references = [bench.submit(variant=number) for number in range(2)]
    trigger: Any = jimeng.JimengTaskTrigger(references, poll_interval=0.05, wait_for="any")
    trigger.task_instance = SimpleNamespace(id="ti") if real else None
    began = time.monotonic()
    event = asyncio.run(first_event(trigger))
    assert (time.monotonic() - began >= 1.5) is real
    if real:
        assert len(event["tasks"]) == 2


def test_a_turn_that_comes_early_is_told_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_MARGIN", 0.2)
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1")
    trigger: Any = slots.JimengSlotTrigger("tests", "nowhere", "key", "0" * 64)
    trigger.task_instance = SimpleNamespace(id="ti")
    began = time.monotonic()
    assert asyncio.run(first_event(trigger))["status"] == jimeng.TURN
    assert time.monotonic() - began >= 1.2
