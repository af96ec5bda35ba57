# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Airflow renders templates in every leg: one that differs each time pays once, not once a leg.

The same for a connection that becomes another account in the middle of a wait.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengLandingError,
    JimengRetryableTaskError,
    JimengRunIncompleteError,
    JimengTaskExpiredError,
)
from airflow_provider_jimeng.hooks import results
from airflow_provider_jimeng.operators import motion_imitation
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator, JimengSubmitTaskOperator

from tests.legs import Bench, DagRun, Deferred, Instance, Output

ROTATED = ("AKLTROTATED", "cm90YXRlZA==")
ARGUMENTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "a token": lambda bench: {"image_url": bench.image + "?hdnts=exp={{ ti.count() }}~hmac=ab"},
    "a reason": lambda bench: {"force_new": "redone at {{ ti.count() }}"},
}


def counted(instance: Instance) -> Instance:
    vars(instance.ti)["count"] = itertools.count(1).__next__
    return instance


def legs_of(instance: Instance) -> Any:
    """Run legs until the task is over, which it has to be soon."""
    return go_on(instance, instance.leg())


def go_on(instance: Instance, outcome: Any, most: int = 8) -> Any:
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
    assert "another content by now than the one that it has begun" in capsys.readouterr().out


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
    with pytest.raises(JimengTaskExpiredError, match="it may have been billed once"):
        go_on(instance, left)
    # It was asked for until the time that proves it lost had passed; a leg that comes later need not wait.
    assert len(instance.deferrals) > 1
    with pytest.raises(JimengTaskExpiredError):
        instance.leg(instance.deferrals[0], event)

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


def test_a_connection_that_becomes_somebody_elses_asks_about_nothing_and_pays_nothing(bench: Bench) -> None:
    with Emulator(EmulatorConfig(concurrency=2, duration=0.2, results="cheap")) as other:
        instance = bench.imitation()
        left = instance.leg()
        event = instance.watch(left)
        bench.connect(account="another", host=other.url)
        for _ in range(2):
            with pytest.raises(JimengConfigurationError, match="can't ask about it"):
                instance.leg(left, event)
        assert other.ledger()["totals"] | {"queries": 0} == other.ledger()["totals"]
        assert other.accepted == 0
    assert bench.states() == ["submitted"]


@pytest.fixture
def a_store_that_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, calls = results.land_all, itertools.count()

    def once(*given: Any) -> Any:
        if next(calls) == 0:
            raise JimengLandingError("the store did not answer")
        return usual(*given)

    monkeypatch.setattr(motion_imitation, "land_all", once)


@pytest.mark.usefixtures("a_store_that_fails_once")
@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_a_retry_brings_home_what_an_earlier_try_paid_for(bench: Bench, deferrable: bool) -> None:
    instance = counted(bench.imitation(deferrable=deferrable, **ARGUMENTS["a token"](bench)))
    instance.finish()

    assert len(instance.errors) == 1
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


@pytest.mark.usefixtures("a_store_that_fails_once")
def test_a_retry_after_the_account_got_a_name_brings_home_what_the_nameless_one_paid_for(
    bench: Bench,
) -> None:
    bench.connect(account=None)
    instance = bench.imitation()
    instance.finish(lambda deferred: bench.connect(account="studio"))

    assert len(instance.errors) == 1
    assert bench.accepted == 1
    assert bench.states() == ["landed"]


@pytest.mark.usefixtures("a_store_that_fails_once")
def test_a_person_who_clears_a_task_asks_for_what_it_says_now(bench: Bench) -> None:
    instance = counted(bench.imitation(retries=0, **ARGUMENTS["a reason"](bench)))
    with pytest.raises(JimengLandingError):
        instance.finish()
    instance.clear().finish()

    assert bench.accepted == 2
    assert bench.states() == ["succeeded", "landed"]


def test_a_retry_of_a_submit_finds_what_the_killed_try_paid_for(bench: Bench) -> None:
    image = bench.image + "?t={{ ti.count() }}"
    submit = DagRun().instance(JimengSubmitTaskOperator, "submit", image_url=image, video_url=bench.video)
    instance = counted(submit)
    paid = instance.leg()
    found = instance.again().leg()

    assert (found["task_id"], found["reused"]) == (paid["task_id"], True)
    assert bench.accepted == 1


def test_results_that_are_missing_do_not_hand_one_slot_to_each_other_for_ever(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    images = [f"{bench.image}?v={each}" for each in (1, 2)]
    places = [bench.folder / f"{each}.mp4" for each in (1, 2)]
    for image, place in zip(images, places, strict=True):
        bench.imitate(DagRun(image), image_url=image, output=str(place))
        place.unlink()
    bench.alter(
        "UPDATE jimeng_tasks SET submitted_at = submitted_at - 90000, created_at = created_at - 90000"
    )
    for row in bench.rows():
        bench.emu.add_fault(f"query:status,status=not_found,times=0,match={row.task_id}")
    bench.emu.configure(duration=1.0)
    bench.submit(DagRun("holder"), variant=7)
    bench.emu.configure(duration=0.2)
    instances = [
        bench.imitation(
            DagRun("again"), map_index=at, image_url=image, output=str(place), on_missing_output="resubmit"
        )
        for at, (image, place) in enumerate(zip(images, places, strict=True))
    ]
    waiting = [instance.leg() for instance in instances]
    assert all(isinstance(each, Deferred) for each in waiting)
    deadlines = [json.loads(each.kwargs)["deadline"] for each in waiting]
    for _ in range(8):
        for at, instance in enumerate(instances):
            left = waiting[at]
            if isinstance(left, Deferred):
                waiting[at] = instance.leg(left, instance.watch(left))
                slots = [each for each in instance.deferrals if "Slot" in each.classpath]
                assert {json.loads(each.kwargs)["deadline"] for each in slots} == {deadlines[at]}

    assert [each.exists() for each in places] == [True, True]
    assert bench.accepted == 5


@pytest.mark.parametrize("change", ["another order", "one more", "one less"])
def test_a_list_that_asks_for_nothing_in_the_place_of_something_is_gone_on_with(
    bench: Bench, change: str
) -> None:
    first = [line(bench, each) for each in (1, 2, 3)]
    later = {"another order": first[::-1], "one more": [line(bench, 4), *first], "one less": first[:2]}[
        change
    ]
    instance = batch(bench, manifest=first)
    left = instance.leg()
    assert isinstance(left, Deferred)
    instance.arguments["manifest"] = later
    while isinstance(left, Deferred):
        left = instance.leg(left, instance.watch(left))

    assert left["landed"] == len(later)
    assert bench.accepted == len(later)


@pytest.mark.parametrize("change", ["a tuple", "a file that grows", "the account"])
def test_whatever_else_differs_in_each_leg_stops_a_batch_too(bench: Bench, change: str) -> None:
    file = bench.folder / "manifest.jsonl"
    text = '{{"image": "{0}", "video": "{1}", "variant": {2}}}\n'.format
    file.write_text("".join(text(bench.image, bench.video, each) for each in (1, 2, 3)))
    given: dict[str, Any] = {"manifest": str(file)}
    if change == "a tuple":
        given = {"manifest": tuple(line(bench, each, "?t={{ ti.count() }}") for each in (1, 2, 3))}
    elif change == "a file that grows":
        given["force_new"] = "r {{ ti.count() }}"
    else:
        bench.connect(account=None)
    instance = batch(bench, **given)
    left = instance.leg()
    assert isinstance(left, Deferred)
    if change == "the account":
        bench.connect(account="studio")

    def go_on() -> None:
        outcome, more = left, itertools.count(4)
        while isinstance(outcome, Deferred):
            if change == "a file that grows":
                with file.open("a") as grown:
                    grown.write(text(bench.image, bench.video, next(more)))
            outcome = instance.leg(outcome, instance.watch(outcome))

    with pytest.raises(JimengRunIncompleteError, match="rendered in every leg"):
        go_on()
    assert bench.accepted == 2
    assert bench.states() == ["landed"] * 2
