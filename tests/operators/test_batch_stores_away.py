# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A bulk run whose stores are away, of outputs or of inputs: nothing paid is given up, and no leg waits in vain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.bulk import landing_pool, scout, submits
from airflow_provider_jimeng.exceptions import JimengLandingError, JimengToleranceExceededError
from airflow_provider_jimeng.lifecycle.land import Lander
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench
from tests.operators.test_batch_corrected import batch


@pytest.fixture(autouse=True)
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for each in (landing_pool, scout, submits):
        monkeypatch.setattr(each, "backoff_delay", lambda *_, **__: 0.1)
    yield


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
    assert isinstance(first, JimengLandingError)
    assert "2 paid results" in str(first)
    assert "1 items came to nothing, and tolerance allows 0" in str(first)
    assert isinstance(second, JimengToleranceExceededError)
    assert second is told.value
    assert sorted(bench.states()) == ["failed", "landed", "landed"]
    assert sorted(path.name for path in (bench.folder / "out").glob("*.mp4")) == ["b.mp4", "c.mp4"]
    assert bench.accepted == 3
