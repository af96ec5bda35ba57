# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Results that are late: given up too early, or stored by a try that was killed before it could say so."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from airflow_provider_jimeng.exceptions import JimengError, JimengTaskExpiredError
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator

from tests.legs import Bench, DagRun


@pytest.mark.parametrize(
    ("words", "told"), [("generating,times=1", None), ("not_found,times=0", JimengTaskExpiredError)]
)
def test_nothing_is_stored_for_a_task_that_is_still_given_up(
    bench: Bench, words: str, told: type[JimengError] | None
) -> None:
    reference = bench.submit()
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference)
    bench.emu.clear_faults()
    bench.emu.add_fault(f"query:status,status={words}")

    instance = DagRun("run-2").instance(JimengLandResultOperator, "land", task=reference, output=bench.output)
    with pytest.raises(told) if told else nullcontext():
        instance.finish()
    assert not any(isinstance(each, LostRace) for each in instance.errors)
    assert Path(bench.output).exists() is (told is None)
    assert bench.states() == ["landed" if told is None else "expired"]
    assert bench.accepted == 1
