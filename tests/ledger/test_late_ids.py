# Licensed under the Apache License, Version 2.0. See LICENSE.
"""An obtained task id is never refused and never dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

S = TaskState


def test_an_id_in_time_makes_the_intent_submitted(bench: Bench):
    sent = bench.sent()
    row = bench.ledger.record_created(sent, "7392616336519610409", "request")
    assert (row.state, row.task_id, row.request_id) == (S.SUBMITTED, "7392616336519610409", "request")
    assert (row.extra, row.possibly_billed, row.note) == (False, False, "")
    assert row.submitted_at == pytest.approx(bench.ledger.now(), abs=5.0)
    assert bench.ledger.record_created(sent, "7392616336519610409", "request") == row


@pytest.mark.parametrize("state", [S.UNKNOWN, S.RELEASED])
def test_a_late_id_is_taken_by_its_row_and_dated_back_to_its_send(bench: Bench, state: TaskState):
    row = bench.in_state(state)
    bench.age(row, 500.0)
    kept = bench.ledger.record_created(row, "late", "request")
    assert (kept.id, kept.state, kept.task_id) == (row.id, S.SUBMITTED, "late")
    assert (kept.extra, kept.possibly_billed) == (False, False)
    assert kept.submitted_at == kept.sent_at
    assert "late answer" in kept.note
    assert bench.ledger.latest(row.content_key) == kept
    assert bench.found(row.content_key, expected_latest=row.id) == kept


def test_a_late_id_beside_a_newer_attempt_is_an_extra_row_that_is_possibly_billed(bench: Bench):
    first = bench.in_state(S.RELEASED)
    key = first.content_key
    second = bench.submitted(key, expected_latest=first.id)
    kept = bench.ledger.record_created(first, "late")
    assert (kept.state, kept.task_id, kept.extra, kept.possibly_billed) == (S.SUBMITTED, "late", True, True)
    assert bench.ledger.latest(key) == second
    assert [row.task_id for row in bench.ledger.history(key)] == ["late", second.task_id]
    assert bench.ledger.record_created(first, "late") == kept
    # It holds a slot as well.
    assert bench.must_wait().in_use == 2


def test_an_extra_row_is_harvested_like_any_other_and_stands_for_its_content_afterwards(bench: Bench):
    first = bench.in_state(S.RELEASED)
    key = first.content_key
    second = bench.submitted(key, expected_latest=first.id)
    extra = bench.ledger.record_created(first, "late")
    done = bench.ledger.record_succeeded(extra, code=10000)
    assert (done.state, done.possibly_billed) == (S.SUCCEEDED, True)
    failed = bench.ledger.record_failed(second, message="no", new_attempt=True)
    # The newest attempt failed; what the extra id paid for is still there, and nobody pays again.
    assert bench.ledger.latest(key) == done
    assert bench.found(key, expected_latest=failed.id) == done
    bench.ledger.record_landing(done, uri=unique("/out/"), size=1, sha256="0" * 64)
    third = bench.claimed(key, expected_latest=done.id, supersede=True)
    assert bench.ledger.latest(key) == third


def test_a_late_id_whose_newer_attempt_came_to_nothing_stands_for_the_content_again(bench: Bench):
    first = bench.in_state(S.RELEASED)
    second = bench.sent(first.content_key, expected_latest=first.id)
    bench.ledger.record_rejected(second, message="busy")
    kept = bench.ledger.record_created(first, "late")
    assert (kept.id, kept.extra) == (first.id, False)
    assert bench.ledger.latest(first.content_key) == kept


@pytest.mark.parametrize("state", [S.SUBMITTED, S.SUCCEEDED, S.LANDED, S.FAILED, S.EXPIRED, S.REJECTED])
def test_an_id_that_its_row_cannot_take_gets_a_row_of_its_own(bench: Bench, state: TaskState):
    row = bench.in_state(state)
    kept = bench.ledger.record_created(row, "another", "request")
    assert kept.id != row.id
    assert (kept.state, kept.task_id, kept.attempt) == (S.SUBMITTED, "another", 2)
    assert (kept.extra, kept.possibly_billed, kept.origin_id) == (True, True, row.id)
    assert (kept.scope, kept.inputs, kept.provenance) == (row.scope, row.inputs, row.provenance)
    assert bench.now(row) == row
    assert bench.ledger.record_created(row, "another", "request") == kept
    live = state in (S.SUBMITTED, S.SUCCEEDED, S.LANDED)
    assert bench.ledger.latest(row.content_key) == (row if live else kept)


def test_a_further_id_is_no_attempt_and_no_submit_of_its_own(bench: Bench):
    row = bench.submitted()
    bench.ledger.record_created(row, "another")
    assert bench.ledger.attempts_in(row.content_key, row.attempt_scope) == 1


def test_an_id_survives_the_loss_of_its_row(bench: Bench):
    gone = replace(bench.claimed(), id=987654321, content_key=unique())
    kept = bench.ledger.record_created(gone, "orphan")
    assert (kept.task_id, kept.extra, kept.origin_id) == ("orphan", True, 987654321)
    assert bench.ledger.latest(gone.content_key) == kept


@pytest.mark.parametrize("task_id", ["x" * 4000, "编号", "a'b\"c"])
def test_an_id_is_kept_whatever_it_looks_like(bench: Bench, task_id: str):
    assert bench.ledger.record_created(bench.sent(), task_id).task_id == task_id
    row = bench.ledger.by_task_id(task_id, bench.scope)
    assert row is not None
    assert row.task_id == task_id


@pytest.mark.parametrize("state", [S.INTENT, S.UNKNOWN, S.RELEASED])
def test_a_person_adopts_an_id(bench: Bench, state: TaskState):
    row = bench.in_state(state)
    kept = bench.ledger.adopt(row.id, "found", "ann")
    assert (kept.id, kept.state, kept.task_id) == (row.id, S.SUBMITTED, "found")
    assert kept.note.endswith("id adopted by ann")
    assert bench.ledger.adopt(row.id, "found", "ann") == kept


def test_an_id_that_another_row_keeps_is_not_adopted_twice(bench: Bench):
    row, other = bench.unknown(), bench.submitted()
    assert other.task_id is not None
    with pytest.raises(LostRace, match=f"already kept by row {other.id}"):
        bench.ledger.adopt(row.id, other.task_id, "ann")
    assert bench.now(row) == row
