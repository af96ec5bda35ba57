# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Nothing goes wrong: paid once, landed once, and found again by whoever asks for the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.legs import Bench, DagRun, Output


def landed(bench: Bench) -> bytes:
    return Path(bench.output).read_bytes()


@pytest.mark.parametrize("deferrable", [True, False])
def test_building_blocks_pay_once_and_land(bench: Bench, deferrable: bool) -> None:
    result = bench.blocks(deferrable=deferrable)

    assert set(result) == {"uri", "bytes", "sha256", "content_type"}
    assert result["sha256"] == hashlib.sha256(landed(bench)).hexdigest()
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_all_in_one_pays_once_and_lands(bench: Bench, deferrable: bool) -> None:
    instance = bench.imitation(deferrable=deferrable)
    result = instance.finish()

    assert result["sha256"] == hashlib.sha256(landed(bench)).hexdigest()
    assert bool(instance.deferrals) is deferrable
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def test_a_cleared_run_a_second_run_and_a_second_dag_pay_nothing(bench: Bench) -> None:
    instance = bench.imitation()
    first = instance.finish()

    again = [
        instance.clear().finish(),
        bench.imitate(DagRun("run-2")),
        bench.imitate(DagRun("other", dag_id="other")),
    ]
    assert [each["sha256"] for each in again] == [first["sha256"]] * 3
    assert all(each["reused"] for each in again)
    assert bench.accepted == 1
    assert bench.emu.ledger()["totals"]["downloads"] == 1


def test_a_submit_tells_whether_the_task_was_there_before(bench: Bench) -> None:
    first = bench.submit()
    second = bench.submit(DagRun("run-2"))

    assert (first["reused"], second["reused"]) == (False, True)
    assert {"task_id", "req_key", "content_key", "submitted_at"} <= set(first)
    assert second["task_id"] == first["task_id"]
    assert bench.accepted == 1


def test_all_in_one_and_blocks_share_their_tasks(bench: Bench) -> None:
    bench.imitate()
    result = bench.blocks(DagRun("run-2"), output=str(bench.folder / "elsewhere.mp4"))

    assert Path(result["uri"]).read_bytes() == landed(bench)
    assert bench.accepted == 1
    assert bench.emu.ledger()["totals"]["downloads"] == 1


def test_references_survive_as_xcom_of_a_mapped_upstream(bench: Bench) -> None:
    run = DagRun()
    bench.submit(run)
    result = bench.wait(Output("submit"), run)

    assert result["status"] == "done"
    assert result["code"] == 10000
    assert result["video_url"].startswith(bench.emu.url)
    assert result["elapsed"] > 0
    assert result["content_key"] == bench.rows()[0].content_key
