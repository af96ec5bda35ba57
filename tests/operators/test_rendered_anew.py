# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Airflow renders templates in every leg: one that differs each time pays once, not once a leg.

The same for a connection that becomes another account in the middle of a wait.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengRetryableTaskError,
    JimengRunIncompleteError,
    JimengTaskExpiredError,
)
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun, Deferred, Instance, Output

ROTATED = ("AKLTROTATED", "cm90YXRlZA==")
ARGUMENTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "a token": lambda bench: {"image_url": bench.image + "?hdnts=exp={{ ti.count() }}~hmac=ab"},
    "a reason": lambda bench: {"force_new": "redone at {{ ti.count() }}"},
}


def counted(instance: Instance) -> Instance:
    vars(instance.ti)["count"] = itertools.count(1).__next__
    return instance


def legs_of(instance: Instance, most: int = 8) -> Any:
    """Run legs until the task is over, which it has to be soon."""
    outcome = instance.leg()
    for _ in range(most):
        if not isinstance(outcome, Deferred):
            return outcome
        outcome = instance.leg(outcome, instance.watch(outcome))
    raise AssertionError(f"{most} legs, and no end")


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_that_differ_in_every_leg_are_paid_for_once(
    bench: Bench, arguments: Callable[[Bench], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = legs_of(counted(bench.imitation(retries=0, **arguments(bench))))

    assert bench.accepted == 1
    assert bench.states() == ["landed"]
    assert Path(out["uri"]).exists()
    assert "another content than the one that this try has begun" in capsys.readouterr().out


def test_it_waits_for_a_slot_and_for_the_vendor_as_ever(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.submit(DagRun("another"), variant=7)
    instance = counted(bench.imitation(**ARGUMENTS["a token"](bench)))
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.emu.configure(duration=0.5)
    while isinstance(left, Deferred):
        left = instance.leg(left, instance.watch(left))

    assert Path(left["uri"]).exists()
    assert bench.accepted == 2


@pytest.mark.parametrize("fault", ["query:50412", "query:50215"])
def test_a_bad_verdict_is_told_and_submits_nothing_else(bench: Bench, fault: str) -> None:
    instance = counted(bench.imitation(**ARGUMENTS["a reason"](bench)))
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.emu.add_fault(f"{fault},times=0")
    with pytest.raises(Exception, match="verdict on this task") as raised:
        instance.leg(left, instance.watch(left))

    assert isinstance(raised.value, JimengRetryableTaskError) or "final" in str(raised.value)
    assert bench.accepted == 1
    assert bench.states() == ["failed"]
    # The next leg of such a try would find it in the ledger.
    with pytest.raises(type(raised.value)):
        instance.leg(left, {"status": "finished", "tasks": [{"task_id": bench.rows()[0].task_id}]})


def test_a_task_that_is_gone_is_told_of_and_not_paid_for_again(bench: Bench) -> None:
    instance = counted(bench.imitation(on_missing_output="resubmit", **ARGUMENTS["a reason"](bench)))
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.emu.add_fault("query:status,status=not_found,times=0")
    event = instance.watch(left)
    for _ in range(2):
        with pytest.raises(JimengTaskExpiredError):
            instance.leg(left, event)

    assert bench.accepted == 1
    assert bench.states() == ["expired"]
    assert bench.rows()[0].possibly_billed


@pytest.mark.parametrize("how", ["named", "rotated"])
def test_a_connection_that_becomes_another_account_in_the_middle_of_a_wait(bench: Bench, how: str) -> None:
    bench.connect(account=None)
    instance = bench.imitation()
    left = instance.leg()
    assert isinstance(left, Deferred)
    if how == "named":
        bench.connect(account="studio")
    else:
        bench.emu.configure(access_key=ROTATED[0], secret_key=ROTATED[1])
        bench.connect(login=ROTATED[0], password=ROTATED[1], account=None)
    out = instance.leg(left, instance.watch(left))

    assert not isinstance(out, Deferred)
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


def batch(bench: Bench, **given: Any) -> Instance:
    arguments = {"output": str(bench.folder / "out"), "deferrable": True, "retries": 0, **given}
    return counted(DagRun().instance(JimengBatchOperator, "batch", **arguments))


def line(bench: Bench, variant: int, query: str = "") -> dict[str, Any]:
    return {"image": bench.image + query, "video": bench.video, "variant": variant}


@pytest.mark.parametrize("given", ["a token in the list", "a reason"])
def test_a_batch_that_asks_for_something_else_in_each_leg_stops_paying(bench: Bench, given: str) -> None:
    token = "?t={{ ti.count() }}" if given == "a token in the list" else ""
    # The first line is the same each time.
    manifest = [line(bench, 1), line(bench, 2, token), line(bench, 3, token)]
    reason = None if token else "redone at {{ ti.count() }}"
    with pytest.raises(JimengRunIncompleteError, match="rendered in every leg"):
        legs_of(batch(bench, manifest=manifest, force_new=reason))

    assert bench.accepted == 2
    # What was paid is brought home, whether a line still asks for it or not.
    assert bench.states() == ["landed"] * 2


def test_a_list_whose_signatures_are_rendered_anew_is_the_same_wish(bench: Bench) -> None:
    query = "?X-Amz-Signature={{ ti.count() }}&X-Amz-Date=1"
    out = legs_of(batch(bench, manifest=[line(bench, each, query) for each in (1, 2)]))

    assert out["landed"] == 2
    assert bench.accepted == 2


def test_a_file_that_is_corrected_between_two_legs_is_gone_on_with(bench: Bench) -> None:
    file = bench.folder / "manifest.jsonl"
    text = '{{"image": "{0}", "video": "{1}", "variant": {2}}}\n'.format
    file.write_text(text(bench.image, bench.video, 1))
    instance = batch(bench, manifest=str(file))
    left: Output = instance.leg()
    assert isinstance(left, Deferred)
    file.write_text(text(bench.image, bench.video, 2) + text(bench.image, bench.video, 1))
    while isinstance(left, Deferred):
        left = instance.leg(left, instance.watch(left))

    assert left["landed"] == 2
    assert bench.accepted == 2
