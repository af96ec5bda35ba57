# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A bulk run whose stores are away, of outputs or of inputs: nothing paid is given up, no slot idles."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.bulk import landing_pool, scout, submits
from airflow_provider_jimeng.exceptions import (
    JimengInputStoreError,
    JimengLandingError,
    JimengToleranceExceededError,
)
from airflow_provider_jimeng.hooks import jimeng as hook
from airflow_provider_jimeng.hooks.inputs import fetchable_body
from airflow_provider_jimeng.lifecycle import asking
from airflow_provider_jimeng.lifecycle.land import Lander
from airflow_provider_jimeng.lifecycle.revive import revive
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, Deferred
from tests.operators.test_batch_corrected import batch


@pytest.fixture(autouse=True)
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (landing_pool, scout, submits):
        monkeypatch.setattr(each, "backoff_delay", lambda *_, **__: 0.1)


def terms(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let the operator's runs work on other terms."""
    usual = JimengBatchOperator._terms
    monkeypatch.setattr(
        JimengBatchOperator, "_terms", lambda self, context: replace(usual(self, context), **changes)
    )


def test_paid_results_that_could_not_be_stored_are_stored_by_a_retry_though_another_line_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms(monkeypatch, landing_patience=0.3)
    bench.emu.add_fault("done", "code", code=50518, match="n-a.", times=0)
    instance, usual = batch(bench, "abc", deferrable=False), Lander.land

    def land(lander: Lander, *given: Any, **named: Any) -> Any:
        if instance.ti.try_number == 1:
            raise JimengLandingError("503 Slow Down")
        return usual(lander, *given, **named)

    monkeypatch.setattr(Lander, "land", land)
    with pytest.raises(AirflowFailException) as told:
        instance.finish()

    first, second = instance.errors
    assert second is told.value
    assert isinstance(first, JimengLandingError)
    assert "2 paid results" in str(first)
    assert "1 items came to nothing, and tolerance allows 0" in str(first)
    assert isinstance(second, JimengToleranceExceededError)
    assert sorted(bench.states()) == ["failed", "landed", "landed"]
    assert sorted(path.name for path in (bench.folder / "out").glob("*.mp4")) == ["b.mp4", "c.mp4"]
    assert bench.accepted == 3


def lose(bench: Bench, how: str) -> None:
    """Have two results that were paid for, and that exist nowhere any more."""
    batch(bench, "ab").finish()
    shutil.rmtree(bench.folder / "out")
    if how == "file is gone":
        bench.emu.advance(13 * 3600.0)
        bench.alter(
            "UPDATE jimeng_tasks SET created_at = created_at - 46800, submitted_at = submitted_at - 46800"
        )
    else:
        bench.alter(
            "UPDATE jimeng_tasks SET state = 'expired', task_id = '9999999999999999' || id, "
            "landed_at = NULL, finished_at = ?, submitted_at = submitted_at - 3600",
            time.time() - 700,
        )
        bench.alter("DELETE FROM jimeng_landings")


class KeysAway:
    """The keys to the inputs, which a submit presigns them with: they can't be had while ``away``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away, self.asked = True, 0
        monkeypatch.setattr(hook, "fetchable_body", self._present)

    def _present(self, body: Any) -> Any:
        self.asked += 1
        if self.away:
            raise JimengInputStoreError("keys to s3://inputs can't be had: 503")
        return fetchable_body(body)


@pytest.mark.parametrize("how", ["file is gone", "given up"])
def test_a_leg_bears_keys_that_are_away_at_the_submit_only_and_a_retry_pays_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    terms(monkeypatch, input_patience=0.5)
    lose(bench, how)
    keys = KeysAway(monkeypatch)
    instance = batch(bench, "ab", on_missing_output="resubmit", run_id="run-2")
    with pytest.raises(JimengInputStoreError, match="a retry asks it again"):
        instance.a_try()

    assert len(instance.story) <= 4
    assert keys.asked >= 4
    assert bench.accepted == 2

    keys.away = False
    assert instance.clear().finish()["landed"] == 2
    assert bench.accepted == 4


def test_a_leg_whose_slots_are_full_does_not_stay_for_a_line_whose_keys_are_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms(monkeypatch, input_patience=20.0)
    lose(bench, "given up")
    bench.emu.configure(duration=3600.0)
    tried: list[float] = []

    def present(body: Any) -> Any:
        if "n-a.png" in str(body):
            tried.append(time.monotonic())
            raise JimengInputStoreError("keys to s3://inputs can't be had: 503")
        return fetchable_body(body)

    def one_after_the_other(ledger: Any, client: Any, record: Any) -> Any:
        back = revive(ledger, client, record)
        while "n-a.png" not in record.inputs and not tried and time.monotonic() - began < 5.0:
            time.sleep(0.02)
        return back

    monkeypatch.setattr(hook, "fetchable_body", present)
    monkeypatch.setattr(asking, "revive", one_after_the_other)
    began = time.monotonic()
    instance = batch(bench, "abc", on_missing_output="resubmit", run_id="run-2")
    assert isinstance(instance.leg(), Deferred)

    assert tried
    assert time.monotonic() - began < 10.0
    assert bench.accepted == 4


def test_only_the_first_leg_of_a_run_waits_for_a_store_of_inputs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms(monkeypatch, input_patience=1.0)
    asked: list[int] = []
    usual = hook.JimengHook.look_at_inputs

    def look(made: Any, wanted: Any, **named: Any) -> Any:
        if "n-b.png" in wanted.inputs:
            asked.append(len(instance.deferrals))
            raise JimengInputStoreError("s3://inputs: 503")
        return usual(made, wanted, **named)

    monkeypatch.setattr(hook.JimengHook, "look_at_inputs", look)
    bench.emu.configure(duration=3600.0)
    instance = batch(bench, "ab", tolerance=1)
    left = instance.leg()
    assert isinstance(left, Deferred)
    assert asked.count(0) >= 3
    assert json.loads(left.handed_on)["inputs_away"]["until"]

    bench.emu.advance(7200.0)
    summary = instance.leg(left, instance.watch(left))
    assert (summary["landed"], summary["failed"]) == (1, 1)
    # A leg reads what is left of the lines, and at last all of them for the report.
    assert 1 <= asked.count(1) <= 2
    assert bench.accepted == 1
