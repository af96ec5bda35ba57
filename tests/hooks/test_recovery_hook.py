# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Unknowns from within a DAG: listed, and settled only as a person says."""

from __future__ import annotations

import json

import pytest

from airflow_provider_jimeng.exceptions import JimengInputError, JimengLedgerError, JimengUnknownSubmitError
from airflow_provider_jimeng.hooks.recovery import JimengRecoveryHook

from tests.legs import Bench, DagRun


@pytest.fixture
def unknown(bench: Bench) -> int:
    """An account with one submit of unknown outcome, of a presigned input."""
    bench.emu.add_fault("submit:50500,created=true")
    signed = f"{bench.image}?X-Amz-Signature=s3cr3t&X-Amz-Credential=c&X-Amz-Algorithm=a"
    with pytest.raises(JimengUnknownSubmitError):
        bench.submit(image_url=signed)
    (row,) = bench.rows()
    return row.id


def aged(bench: Bench) -> None:
    bench.alter("UPDATE jimeng_tasks SET sent_at = sent_at - 1000, created_at = created_at - 1000")


def test_without_a_ledger_nothing_is_unknown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__JIMENG__LEDGER_URL", f"sqlite:///{bench.folder}/nowhere.db")
    assert JimengRecoveryHook().unknowns() == []
    assert not (bench.folder / "nowhere.db").exists()


def test_unknowns_are_listed_without_secrets(bench: Bench, unknown: int) -> None:
    bench.imitate(variant=1)
    (found,) = JimengRecoveryHook().unknowns()
    assert (found["record"], found["state"], found["code"]) == (unknown, "unknown", 50500)
    assert found["asked_by"] == "dag/run-1/submit/-1"
    assert "s3cr3t" not in json.dumps(found)
    assert JimengRecoveryHook().unknowns(newer_than=0.0) == []


def test_a_released_one_is_submitted_by_the_next_run_and_says_who_and_why(bench: Bench, unknown: int) -> None:
    aged(bench)
    released = JimengRecoveryHook().release(unknown, reason="not on the bill")
    assert released["state"] == "released"
    assert "not on the bill" in bench.rows()[0].note
    bench.submit(DagRun("run-2"))
    assert bench.accepted == 2


def test_a_young_one_is_not_released_since_its_submit_may_be_on_its_way(bench: Bench, unknown: int) -> None:
    with pytest.raises(JimengLedgerError, match="may still be on its way"):
        JimengRecoveryHook().release(unknown, reason="in a hurry")
    assert bench.states() == ["unknown"]


def test_an_adopted_one_is_waited_for_and_pays_nothing(bench: Bench, unknown: int) -> None:
    (task_id,) = bench.emu.ledger()["tasks"]
    adopted = JimengRecoveryHook().adopt(unknown, task_id, reason="found in the console")
    assert (adopted["state"], adopted["task_id"]) == ("submitted", task_id)
    landed = bench.imitate(DagRun("run-2"))
    assert landed["task_id"] == task_id
    assert bench.accepted == 1


@pytest.mark.parametrize("record", [True, "1", 1.0, None, 4711])
def test_what_is_no_row_of_the_account_is_refused(bench: Bench, unknown: int, record: object) -> None:
    with pytest.raises(JimengInputError, match="record"):
        JimengRecoveryHook().release(record, reason="why not")  # type: ignore[arg-type]
    assert bench.states() == ["unknown"]


def test_another_accounts_row_is_refused(bench: Bench, unknown: int) -> None:
    bench.connect(account="other")
    assert JimengRecoveryHook().unknowns() == []
    with pytest.raises(JimengInputError, match="no row of account 'other'"):
        JimengRecoveryHook().adopt(unknown, "7392616336519610409", reason="mine?")


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_a_reason_is_needed(bench: Bench, unknown: int, reason: str) -> None:
    aged(bench)
    with pytest.raises(JimengInputError, match="reason"):
        JimengRecoveryHook().release(unknown, reason=reason)
    assert bench.states() == ["unknown"]


@pytest.mark.parametrize("task_id", ["", "no id", "12\n34"])
def test_an_id_has_to_look_like_one(bench: Bench, unknown: int, task_id: str) -> None:
    with pytest.raises(JimengInputError, match="task_id"):
        JimengRecoveryHook().adopt(unknown, task_id, reason="a guess")
    assert bench.states() == ["unknown"]
