# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a retry, whose arguments make another content by now, goes on with: what its own tries have begun."""

from __future__ import annotations

import datetime as dt
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengLandingError,
    JimengStoppedError,
    JimengTaskExpiredError,
    JimengUnknownSubmitError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.lifecycle.submit import Submitter
from airflow_provider_jimeng.media.target import Target
from airflow_provider_jimeng.operators import earlier, motion_imitation
from airflow_provider_jimeng.operators.jimeng import JimengSubmitTaskOperator
from airflow_provider_jimeng.policy import giving_up

from tests.legs import Bench, DagRun, Deferred, Instance

if TYPE_CHECKING:
    from airflow_provider_jimeng.api.models import Observation
    from airflow_provider_jimeng.ledger.records import TaskRecord


def submitting(bench: Bench, **arguments: Any) -> Instance:
    given = {"image_url": bench.image, "video_url": bench.video, **arguments}
    return DagRun().instance(JimengSubmitTaskOperator, "submit", **given)


def no_answer(*_: Any) -> None:
    raise ConnectionError("the API server is away")


def test_a_retry_after_a_clear_brings_home_what_was_paid_for_since_the_clear(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = bench.imitation(variant=1)
    assert isinstance(instance.leg(), Deferred)
    instance.arguments["variant"] = 2
    assert isinstance(instance.clear().leg(), Deferred)
    bench.emu.advance(7200.0)
    out = instance.again().a_try()

    assert out["task_id"] == bench.rows()[1].task_id
    assert bench.states() == ["submitted", "landed"]
    assert bench.accepted == 2


def test_a_retry_after_a_clear_leaves_alone_what_was_begun_before_it_and_submits(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = submitting(bench, variant=1)
    before = instance.leg()
    bench.connect(max_concurrency=1)
    instance.arguments["variant"] = 2
    assert isinstance(instance.clear().leg(), Deferred)
    bench.connect(max_concurrency=2)
    retried = instance.again().leg()

    assert retried["task_id"] != before["task_id"]
    assert (retried["reused"], bench.accepted) == (False, 2)


def test_a_retry_goes_on_with_its_own_content_whatever_else_the_earlier_tries_paid_for(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = submitting(bench, variant=1)
    instance.leg()
    instance.arguments["variant"] = 2
    again = instance.clear().leg()
    found = instance.again().leg()

    assert (found["task_id"], found["reused"]) == (again["task_id"], True)
    # One that an earlier release paid for in a retry, or that another process of the same try did.
    bench.alter("UPDATE jimeng_tasks SET try_number = 2 WHERE id = 1")
    assert instance.again().leg()["task_id"] == again["task_id"]


@pytest.mark.parametrize("by_then", ["another rendering", "another account"])
def test_a_retry_after_the_landing_reports_what_is_there_and_pays_nothing(bench: Bench, by_then: str) -> None:
    instance = bench.imitation(variant=1)
    with bench.patch.context() as patch:
        patch.setattr(motion_imitation, "announce", no_answer)
        with pytest.raises(ConnectionError):
            instance.a_try()
    if by_then == "another rendering":
        instance.arguments["variant"] = 2
    else:
        bench.connect(account="another")
    out = instance.again().a_try()

    assert (out["task_id"], out["reused"]) == (bench.rows()[0].task_id, True)
    assert (bench.states(), bench.accepted) == (["landed"], 1)


def test_a_retry_pays_for_what_it_asks_for_where_the_earlier_result_is_no_longer_there(bench: Bench) -> None:
    instance = bench.imitation(variant=1)
    with bench.patch.context() as patch:
        patch.setattr(motion_imitation, "announce", no_answer)
        with pytest.raises(ConnectionError):
            instance.a_try()
    Path(bench.output).unlink()
    instance.arguments["variant"] = 2
    out = instance.again().a_try()

    assert out["task_id"] == bench.rows()[1].task_id
    assert bench.accepted == 2


def test_a_retry_after_the_landing_brings_it_to_where_it_is_wanted_by_now(bench: Bench) -> None:
    instance = bench.imitation(variant=1)
    with bench.patch.context() as patch:
        patch.setattr(motion_imitation, "announce", no_answer)
        with pytest.raises(ConnectionError):
            instance.a_try()
    first, other = Path(bench.output), bench.folder / "out" / "at-another-time.mp4"
    instance.arguments.update(variant=2, output=str(other))
    # It costs nothing whoever asks: the vendor is not asked.
    bench.connect(account="another")
    out = instance.again().a_try()

    assert (out["task_id"], out["uri"]) == (bench.rows()[0].task_id, str(other))
    assert other.read_bytes() == first.read_bytes()
    assert (bench.states(), bench.accepted) == (["landed"], 1)


def test_a_landed_result_whose_place_can_not_be_read_is_not_paid_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = bench.imitation(variant=1)
    with bench.patch.context() as patch:
        patch.setattr(motion_imitation, "announce", no_answer)
        with pytest.raises(ConnectionError):
            instance.a_try()

    def away(self: Target) -> None:
        raise JimengLandingError("503")

    instance.arguments.update(variant=2, output=str(bench.folder / "out" / "at-another-time.mp4"))
    with monkeypatch.context() as patch:
        stat = Target.stat
        patch.setattr(Target, "stat", lambda self: away(self) if self.uri == bench.output else stat(self))
        out = instance.again().a_try()

    # The vendor still had it.
    assert out["task_id"] == bench.rows()[0].task_id
    assert (bench.states(), bench.accepted) == (["landed"], 1)


def test_a_submit_that_is_retried_after_its_result_was_landed_pays_for_no_other(bench: Bench) -> None:
    instance = submitting(bench, variant=1)
    paid = instance.leg()
    bench.land(bench.wait(paid, instance.run), instance.run)
    assert bench.states() == ["landed"]
    instance.arguments["variant"] = 2
    again = instance.again().leg()

    assert (again["task_id"], again["reused"], bench.accepted) == (paid["task_id"], True, 1)


@pytest.mark.parametrize("by_then", ["another rendering", "another account"])
def test_a_retry_after_a_clear_brings_home_what_the_cleared_try_found(bench: Bench, by_then: str) -> None:
    bench.emu.configure(duration=3600.0)
    bench.connect(account=None)
    instance = bench.imitation(DagRun(start_date=dt.datetime.now(dt.UTC)), variant=1)
    assert isinstance(instance.leg(), Deferred)
    before = bench.rows()[0]
    # What Airflow does with a DAG run that is over.
    instance.run.start_date = dt.datetime.now(dt.UTC)
    assert isinstance(instance.clear().leg(), Deferred)
    (found,) = bench.rows()
    assert (found.provenance.try_number, found.revision) == (2, before.revision)
    if by_then == "another rendering":
        instance.arguments["variant"] = 2
    else:
        bench.connect(account="studio")
    bench.emu.advance(7200.0)
    out = instance.again().a_try()

    assert out["task_id"] == found.task_id
    assert (bench.states(), bench.accepted) == (["landed"], 1)


def test_a_clear_that_asks_for_another_content_takes_nothing_over(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = submitting(bench, variant=1)
    instance.leg()
    instance.arguments["variant"] = 2
    instance.clear().leg()

    assert [row.provenance.try_number for row in bench.rows()] == [1, 2]


def test_what_another_run_paid_for_stays_that_runs(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    submitting(bench).leg()
    other = DagRun("run-2").instance(
        JimengSubmitTaskOperator, "submit", image_url=bench.image, video_url=bench.video
    )
    other.leg()
    other.again().leg()

    (row,) = bench.rows()
    assert (row.provenance.run_id, row.provenance.try_number, bench.accepted) == ("run-1", 1, 1)


def test_a_retried_submit_hands_on_no_task_that_its_connection_can_not_ask_about(bench: Bench) -> None:
    instance = submitting(bench)
    paid = instance.leg()
    bench.connect(account="another")
    with pytest.raises(JimengConfigurationError, match="was submitted as account 'tests'"):
        instance.again().leg()
    assert (bench.states(), bench.accepted) == (["submitted"], 1)

    bench.connect()
    found = instance.again().leg()
    assert (found["task_id"], found["reused"], bench.accepted) == (paid["task_id"], True, 1)


# -- what is begun is brought home, or told of ---------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
def test_what_was_begun_and_given_up_is_waited_for_until_it_is_there_after_all(
    bench: Bench, deferrable: bool
) -> None:
    bench.emu.configure(duration=3600.0)
    instance = bench.imitation(variant=1)
    assert isinstance(instance.leg(), Deferred)
    bench.ledger.record_expired(bench.rows()[0], message="not_found")
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    bench.emu.advance(7200.0)
    bench.emu.add_fault("query:status,status=not_found,times=4")
    instance.arguments.update(variant=2, deferrable=deferrable)
    out = instance.again().a_try()

    assert out["task_id"] == bench.rows()[0].task_id
    assert (bench.states(), bench.accepted) == (["landed"], 1)
    assert instance.errors == []


def test_one_that_stays_away_is_waited_for_no_longer_than_the_users_deadline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_up, "PROOF_SECONDS", 3600.0)
    instance = bench.imitation(variant=1, retries=1)
    assert isinstance(instance.leg(), Deferred)
    bench.ledger.record_expired(bench.rows()[0], message="not_found")
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    bench.emu.add_fault("query:status,status=not_found,times=0")
    instance.arguments.update(variant=2, timeout=1.0)
    with pytest.raises(JimengTaskExpiredError, match="A clear submits that, and pays for it"):
        instance.again().a_try()

    assert (bench.states(), bench.accepted) == (["expired"], 1)


def test_a_timeout_says_what_a_clear_does_where_the_arguments_make_another_content_by_now(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.emu.configure(duration=3600.0)
    instance = bench.imitation(variant=1, timeout=0.3)
    left = instance.leg()
    assert isinstance(left, Deferred)
    instance.arguments["variant"] = 2
    with pytest.raises(JimengWaitTimeoutError) as raised:
        instance.leg(left, instance.watch(left))

    assert "A clear submits that, and pays for it; with the arguments of then" in str(raised.value)
    assert "A person who clears this task asks for what its arguments say then" in capsys.readouterr().out
    instance.clear().leg()
    assert bench.accepted == 2


def test_a_timeout_of_the_tasks_own_content_promises_what_a_clear_finds(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = bench.imitation(timeout=0.3)
    left = instance.leg()
    assert isinstance(left, Deferred)
    with pytest.raises(JimengWaitTimeoutError) as raised:
        instance.leg(left, instance.watch(left))

    assert str(raised.value).partition(" [")[0].endswith("a retry or a clear re-attaches and submits nothing")
    instance.clear().leg()
    assert bench.accepted == 1


# -- nobody knows whether an earlier try paid ----------------------------------------------------------


class Killed(BaseException):
    """SIGKILL."""


def killed_in_the_middle_of_a_submit(bench: Bench, instance: Instance) -> None:
    """The vendor accepts, and nobody reads its answer: what is left is an intent whose send began."""

    def accepted(self: Submitter, record: TaskRecord, body: bytes, before: float) -> Observation:
        self.client.submit(body, on_late=lambda _: None)
        raise Killed

    with bench.patch.context() as patch:
        patch.setattr(Submitter, "_submit_once", accepted)
        with pytest.raises(Killed):
            instance.leg()
    assert (bench.states(), bench.accepted) == (["intent"], 1)


def let_pass(bench: Bench, seconds: float) -> None:
    bench.alter(
        "UPDATE jimeng_tasks SET created_at = created_at - ?, sent_at = sent_at - ?", seconds, seconds
    )


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "_NAP_SECONDS", 0.05)


@pytest.mark.parametrize("all_in_one", [True, False], ids=["imitate", "submit"])
def test_a_retry_does_not_pay_while_nobody_knows_whether_the_killed_try_did(
    bench: Bench, all_in_one: bool
) -> None:
    make = bench.imitation if all_in_one else partial(submitting, bench)
    instance = make(variant=1)
    killed_in_the_middle_of_a_submit(bench, instance)
    let_pass(bench, 60.0)
    instance.arguments["variant"] = 2
    for _ in range(2):
        with pytest.raises(JimengUnknownSubmitError, match="A clear submits that, and pays for it") as raised:
            instance.again().leg()

    assert (bench.states(), bench.accepted) == (["unknown"], 1)
    assert bench.rows()[0].content_key in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)
    # The person's decision, and then the person's wish.
    bench.ledger.release(1, reason="not at the vendor", by="somebody")
    instance.clear().leg()
    assert bench.accepted == 2


def test_a_retry_waits_for_a_submit_that_may_be_under_way_and_brings_home_its_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = bench.imitation(variant=1)
    killed_in_the_middle_of_a_submit(bench, instance)
    instance.arguments["variant"] = 2

    def meanwhile(seconds: float) -> None:
        (task_id,) = bench.emu.ledger()["tasks"]
        bench.ledger.record_created(bench.rows()[0], task_id)

    monkeypatch.setattr(earlier, "time", SimpleNamespace(sleep=meanwhile))
    out = instance.again().a_try()

    assert out["task_id"] == bench.rows()[0].task_id
    assert (bench.states(), bench.accepted) == (["landed"], 1)


@pytest.mark.usefixtures("naps")
def test_an_intent_that_was_never_sent_is_waited_out_and_costs_nothing(bench: Bench) -> None:
    bench.connect(submit_deadline=1)
    instance = submitting(bench, variant=1)
    with bench.patch.context() as patch:
        patch.setattr(Submitter, "_begin_and_send", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            instance.leg()
    instance.arguments["variant"] = 2
    instance.again().leg()

    assert (bench.states(), bench.accepted) == (["released", "submitted"], 1)


@pytest.mark.usefixtures("naps")
def test_on_unknown_submit_resubmit_pays_for_the_other_content_after_the_quarantine(bench: Bench) -> None:
    bench.connect(submit_deadline=1)
    instance = submitting(bench, variant=1, on_unknown_submit="resubmit")
    killed_in_the_middle_of_a_submit(bench, instance)
    instance.arguments["variant"] = 2
    began = time.monotonic()
    instance.again().leg()

    assert time.monotonic() - began >= 2.0
    assert (bench.states(), bench.accepted) == (["released", "submitted"], 2)
    assert bench.rows()[0].possibly_billed


def test_a_retry_that_is_told_to_stop_waits_no_longer_for_an_earlier_tries_submit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = submitting(bench, variant=1)
    killed_in_the_middle_of_a_submit(bench, instance)
    instance.arguments["variant"] = 2
    monkeypatch.setattr(JimengSubmitTaskOperator, "stopping", lambda self: True)
    with pytest.raises(JimengStoppedError):
        instance.again().leg()

    assert bench.accepted == 1


def test_a_person_who_clears_asks_for_what_it_says_now_whatever_became_of_the_killed_try(
    bench: Bench,
) -> None:
    instance = submitting(bench, variant=1)
    killed_in_the_middle_of_a_submit(bench, instance)
    instance.arguments["variant"] = 2
    instance.clear().leg()

    assert bench.accepted == 2


# -- a leg that has waited for its turn ----------------------------------------------------------------


@pytest.mark.parametrize("all_in_one", [True, False], ids=["imitate", "submit"])
def test_a_leg_that_has_waited_for_a_submit_in_doubt_pays_for_nothing_else(
    bench: Bench, all_in_one: bool
) -> None:
    make = bench.imitation if all_in_one else partial(submitting, bench)
    instance = make(variant=1)
    killed_in_the_middle_of_a_submit(bench, instance)
    left = instance.again().leg()
    assert isinstance(left, Deferred)
    let_pass(bench, 60.0)
    turn = instance.watch(left)
    assert turn["status"] == "turn"
    instance.arguments["variant"] = 2
    with pytest.raises(JimengUnknownSubmitError, match="A clear submits that, and pays for it"):
        instance.leg(left, turn)

    assert (bench.states(), bench.accepted) == (["unknown"], 1)


def test_a_task_that_was_given_up_meanwhile_is_not_paid_for_again_under_another_name(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    bench.connect(account=None)
    instance = bench.imitation(on_missing_output="resubmit")
    left = instance.leg()
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 60")
    bench.emu.add_fault("query:status,status=not_found,times=0")
    left = instance.leg(left, instance.watch(left))
    assert bench.states() == ["expired"]
    assert left.classpath.endswith("JimengSlotTrigger")
    turn = instance.watch(left)
    bench.connect(account="studio")
    bench.emu.clear_faults()
    bench.emu.advance(7200.0)
    out = instance.leg(left, turn)
    while isinstance(out, Deferred):
        out = instance.leg(out, instance.watch(out))

    assert out["task_id"] == bench.rows()[0].task_id
    assert (bench.states(), bench.accepted) == (["landed"], 1)


def test_a_leg_of_a_dag_run_that_was_deleted_and_made_again_asks_for_what_it_says(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    submitting(bench, variant=1).leg()
    bench.connect(max_concurrency=1)
    run = DagRun(start_date=dt.datetime.now(dt.UTC))
    instance = run.instance(
        JimengSubmitTaskOperator, "submit", image_url=bench.image, video_url=bench.video, variant=2
    )
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.connect(max_concurrency=2)
    out = instance.leg(left, instance.watch(left))

    assert (out["reused"], bench.accepted) == (False, 2)


def test_a_cleared_task_of_a_dag_run_that_was_made_again_asks_for_what_it_says(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    old = submitting(bench, variant=1)
    old.leg()
    old.again().leg()
    assert bench.rows()[0].provenance.try_number == 2
    assert bench.rows()[0].note.endswith("asked for again by try 2")
    bench.alter(
        "UPDATE jimeng_tasks SET created_at = created_at - 60, note = replace(note, ?, '2026-01-01')",
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
    )
    bench.connect(max_concurrency=1)
    run = DagRun(start_date=dt.datetime.now(dt.UTC))
    instance = run.instance(
        JimengSubmitTaskOperator, "submit", image_url=bench.image, video_url=bench.video, variant=2
    )
    instance.ti.max_tries = 2
    left = instance.clear().leg()
    assert isinstance(left, Deferred)
    bench.connect(max_concurrency=2)
    out = instance.leg(left, instance.watch(left))

    assert (out["reused"], bench.accepted) == (False, 2)


def test_a_first_try_takes_nothing_for_its_own_that_was_begun_before_it(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    # ``airflow dags test`` makes one DAG run of a date again and again, which began at that date.
    run = DagRun(start_date=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    arguments: dict[str, Any] = {"image_url": bench.image, "video_url": bench.video}
    run.instance(JimengSubmitTaskOperator, "submit", variant=1, **arguments).leg()
    bench.alter("UPDATE jimeng_tasks SET created_at = created_at - 60")
    bench.connect(max_concurrency=1)
    instance = run.instance(JimengSubmitTaskOperator, "submit", variant=2, **arguments)
    instance.ti.start_date = dt.datetime.now(dt.UTC)
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.connect(max_concurrency=2)
    out = instance.leg(left, instance.watch(left))

    assert (out["reused"], bench.accepted) == (False, 2)


def test_a_leg_that_has_waited_for_a_slot_asks_for_what_it_says_then(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=3600.0)
    DagRun("run-2").instance(
        JimengSubmitTaskOperator, "other", image_url=bench.image, video_url=bench.video
    ).leg()
    instance = submitting(bench, variant=1)
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.connect(max_concurrency=2)
    instance.arguments["variant"] = 2
    out = instance.leg(left, instance.watch(left))

    assert (out["reused"], bench.accepted) == (False, 2)
