# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Paid tasks of a bulk run of which it is not certain that the vendor has them: asked about, and told of."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.client.settings import account_digest
from airflow_provider_jimeng.exceptions import JimengRunIncompleteError, JimengToleranceExceededError

from tests.legs import Bench, Deferred, Instance
from tests.operators.test_batch_corrected import batch, lines

HOURS = 7200.0
ON_BOTH = pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])


def submitted(bench: Bench, names: str, **arguments: Any) -> Instance:
    """Return an instance whose first leg has submitted its lines; the vendor takes its time."""
    instance = batch(bench, names, **arguments)
    bench.emu.configure(duration=3600.0)
    assert isinstance(instance.leg(), Deferred)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 120")
    return instance


def give_up(bench: Bench, name: str) -> str:
    """Write down what a watcher does that was told for a quarter of a minute that there is no such task."""
    row = next(each for each in bench.rows() if f"n-{name}.png" in json.dumps(each.inputs))
    bench.ledger.record_expired(row, message="the vendor says not_found, and kept saying so")
    return str(row.task_id)


def finish(bench: Bench) -> None:
    bench.emu.advance(HOURS)
    bench.emu.configure(duration=0.2)


def report(bench: Bench) -> dict[str, dict[str, Any]]:
    text = (bench.folder / "out" / "report.jsonl").read_text()
    return {each["id"]: each for each in map(json.loads, text.splitlines())}


# -- lines that are no longer there --------------------------------------------------------------------------


@ON_BOTH
def test_a_given_up_task_whose_line_was_taken_out_is_asked_about_and_stored(
    bench: Bench, deferrable: bool
) -> None:
    instance = submitted(bench, "ab")
    lost = give_up(bench, "a")
    finish(bench)
    instance.arguments |= {"manifest": lines(bench, "b"), "deferrable": deferrable}
    summary = instance.clear().a_try()

    assert bench.states() == ["landed", "landed"]
    assert [each["task_id"] for each in summary["not_in_manifest_tasks"] if each["uri"]] == [lost]
    assert (summary["possibly_billed"], bench.accepted) == (0, 2)


@ON_BOTH
def test_one_that_stays_away_is_named_after_the_proof_each_time_and_comes_home_later(
    bench: Bench, deferrable: bool
) -> None:
    instance = submitted(bench, "ab")
    lost = [give_up(bench, "a")]
    finish(bench)
    instance.arguments |= {"manifest": lines(bench, "b"), "deferrable": deferrable}
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={lost[0]}")
    began = time.time()
    summary = instance.clear().a_try()

    assert time.time() - began > 0.6
    assert summary["landed"] == 1
    assert [each["task_id"] for each in summary["not_in_manifest_tasks"] if each["error"]] == lost
    assert "a retry or a clear asks for it" in summary["not_in_manifest_tasks"][0]["error"]
    assert summary["possibly_billed"] == 1
    assert len(instance.deferrals) <= 6

    assert instance.clear().a_try()["not_in_manifest"] == 1
    bench.emu.clear_faults()
    home = instance.clear().a_try()
    assert [(each["task_id"], each["error"]) for each in home["not_in_manifest_tasks"]] == [(lost[0], None)]
    assert (home["possibly_billed"], bench.accepted) == (0, 2)


def test_one_that_its_own_trigger_gave_up_is_named_too(bench: Bench) -> None:
    instance = submitted(bench, "ab")
    finish(bench)
    instance.arguments["manifest"] = lines(bench, "c")
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises((AirflowFailException, JimengToleranceExceededError)):
        instance.clear().a_try()

    summary = json.loads((bench.folder / "out" / "summary.json").read_text())
    assert bench.states()[:2] == ["expired", "expired"]
    assert summary["not_in_manifest"] == 2


# -- runs that submit nothing any more -----------------------------------------------------------------------


@ON_BOTH
def test_a_given_up_task_is_asked_about_after_the_runs_timeout(bench: Bench, deferrable: bool) -> None:
    instance = submitted(bench, "ab", timeout=3600.0)
    give_up(bench, "a")
    bench.alter("UPDATE jimeng_tasks SET created_at = created_at - ?", HOURS)
    finish(bench)
    instance.arguments["deferrable"] = deferrable
    assert instance.clear().a_try()["landed"] == 2
    assert bench.accepted == 2


@ON_BOTH
def test_one_that_runs_when_the_budget_is_spent_is_waited_for(bench: Bench, deferrable: bool) -> None:
    instance = submitted(bench, "ab", budget=2)
    give_up(bench, "b")
    instance.arguments |= {"manifest": lines(bench, "bacd"), "deferrable": deferrable}
    later = threading.Timer(1.0, finish, (bench,))
    later.start()
    with pytest.raises(JimengRunIncompleteError, match="2 of 4 items were left out"):
        instance.clear().a_try()
    later.join()

    told = report(bench)
    assert [told[name]["outcome"] for name in "abcd"] == ["landed", "landed", "skipped", "skipped"]
    assert bench.accepted == 2


@ON_BOTH
def test_a_run_after_its_timeout_ends_with_the_proof_and_never_says_that_nothing_was_paid(
    bench: Bench, deferrable: bool
) -> None:
    instance = submitted(bench, "ab", timeout=3600.0)
    lost = give_up(bench, "a")
    bench.alter("UPDATE jimeng_tasks SET created_at = created_at - ?", HOURS)
    finish(bench)
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={lost}")
    instance.arguments["deferrable"] = deferrable
    with pytest.raises((AirflowFailException, JimengToleranceExceededError)):
        instance.clear().a_try()

    told = report(bench)
    assert (told["a"]["outcome"], told["b"]["outcome"]) == ("expired", "landed")
    assert "it may have been billed once" in told["a"]["error"]
    assert "timeout" not in told["a"]["error"]


# -- accounts ------------------------------------------------------------------------------------------------


@pytest.fixture
def rotated(bench: Bench) -> Instance:
    """Return a run that paid with a nameless account's key, and whose connection has another key now."""
    bench.connect(account=account_digest("AKLTold"))
    instance = submitted(bench, "ab", poke_interval=None)
    bench.connect(account=None)
    instance.arguments["manifest"] = lines(bench, "c")
    return instance.clear()


def test_a_deferred_run_ends_though_its_nameless_accounts_key_was_rotated(
    bench: Bench, rotated: Instance
) -> None:
    finish(bench)
    summary = rotated.a_try()
    assert bench.states() == ["landed"] * 3
    assert sum(each["uri"] is not None for each in summary["not_in_manifest_tasks"]) == 2
    assert len(rotated.deferrals) <= 4


def test_a_deferred_run_ends_though_its_account_got_a_name(bench: Bench) -> None:
    bench.connect(account=None)
    instance = submitted(bench, "ab", poke_interval=None)
    finish(bench)
    bench.connect(account="acme")
    instance.arguments["manifest"] = lines(bench, "c")
    summary = instance.clear().a_try()
    assert bench.states() == ["landed"] * 3
    assert summary["not_in_manifest"] == 2
    assert len(instance.deferrals) <= 4


@ON_BOTH
def test_a_denial_by_a_key_that_may_be_another_accounts_leaves_paid_tasks_as_they_are(
    bench: Bench, rotated: Instance, deferrable: bool
) -> None:
    bench.emu.configure(duration=0.2, concurrency=8)
    rotated.arguments["deferrable"] = deferrable
    paid = [row.task_id for row in bench.rows()]
    for task_id in paid:
        bench.emu.add_fault(f"query:status,status=not_found,times=0,match={task_id}")
    summary = rotated.a_try()

    assert bench.states() == ["submitted", "submitted", "landed"]
    told = summary["not_in_manifest_tasks"]
    assert {each["task_id"] for each in told} == set(paid)
    assert all("no such task for this connection's key" in each["error"] for each in told)


def test_so_does_a_denial_that_a_trigger_hears_after_the_vendor_knew_them(
    bench: Bench, rotated: Instance
) -> None:
    bench.emu.configure(duration=0.2, concurrency=8)
    rotated.arguments["poke_interval"] = 0.1
    left = rotated.leg()
    for _ in range(6):
        assert isinstance(left, Deferred)
        if bench.states()[-1] == "landed" and len(bench.rows()) == 3:
            break
        left = rotated.leg(left, rotated.watch(left))
    waits_for = [each["task_id"] for each in json.loads(left.kwargs)["tasks"]]
    assert sorted(waits_for) == sorted(str(row.task_id) for row in bench.rows()[:2])
    for task_id in waits_for:
        bench.emu.add_fault(f"query:status,status=not_found,times=0,match={task_id}")
    for _ in range(6):
        if not isinstance(left, Deferred):
            break
        left = rotated.leg(left, rotated.watch(left))

    assert bench.states() == ["submitted", "submitted", "landed"]
    assert left["not_in_manifest"] == 2
