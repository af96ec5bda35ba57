# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A result that was to be paid for again, and that is there again before the payment: nothing is paid."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import JimengTaskExpiredError
from airflow_provider_jimeng.hooks.admission import Admission
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun


@pytest.mark.parametrize("way", ["all-in-one", "batch"])
def test_what_comes_back_between_the_last_look_and_the_claim_is_not_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    reference = bench.submit(DagRun("run-0"))
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference)
    usual = Admission.admit
    others: list[str] = []
    time.sleep(0.8)

    def admit(admission: Admission, beside: Any) -> None:
        if not others:
            others.append("begun")
            bench.emu.clear_faults()
            with ThreadPoolExecutor(1) as pool:
                another = pool.submit(
                    bench.imitate, DagRun("run-B"), output=str(bench.folder / "B.mp4"), deferrable=False
                )
                others.append(another.result()["task_id"])
        usual(admission, beside)

    monkeypatch.setattr(Admission, "admit", admit)
    if way == "all-in-one":
        bench.imitate(DagRun("run-A"), on_missing_output="resubmit", deferrable=False)
    else:
        run = DagRun("run-A").instance(
            JimengBatchOperator,
            "batch",
            manifest=[{"image": bench.image, "video": bench.video}],
            output=str(bench.folder / "out"),
            on_missing_output="resubmit",
            deferrable=False,
        )
        assert run.finish()["reused"] == 1

    assert others == ["begun", bench.rows()[0].task_id]
    assert bench.states() == ["landed"]
    assert bench.accepted == 1


def test_what_is_stored_anew_while_its_replacement_waits_for_a_slot_is_not_replaced(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    first = bench.imitate(DagRun("run-0"))
    Path(first["uri"]).unlink()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={first['task_id']}")
    # However slow the machine is, the slot is held until the other run has landed it.
    bench.emu.configure(duration=3600.0)
    bench.submit(DagRun("run-X"), variant=7)
    bench.emu.configure(duration=0.2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.imitate, DagRun("run-A"), on_missing_output="resubmit", deferrable=False)
        time.sleep(1.5)
        assert not waiting.done()
        bench.emu.clear_faults()
        again = bench.imitate(DagRun("run-B"), output=str(bench.folder / "B.mp4"))
        assert not waiting.done()
        bench.emu.advance(7200.0)
        out = waiting.result(timeout=60)

    assert first["task_id"] == again["task_id"] == out["task_id"]
    assert Path(out["uri"]).exists()
    assert bench.accepted == 2
