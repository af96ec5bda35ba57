# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import re
from dataclasses import replace

import pytest

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.records import Claimed, Found, Provenance, Scope
from airflow_provider_jimeng.ledger.states import LIVE, SUPERSEDABLE, TaskState

from tests.ledger.kit import SHA, Bench, unique


def test_a_claim_writes_the_intent_with_all_that_explains_it(bench: Bench):
    request = bench.request(
        variant=4,
        force_new="client asked",
        send_deadline=50.0,
        expected_seconds=90.0,
        validators='{"image_url":{"etag":"e"}}',
    )
    before = bench.ledger.now()
    answer = bench.ledger.claim(request)
    assert isinstance(answer, Claimed)
    record = answer.record
    assert (record.state, record.attempt, record.revision) == (TaskState.INTENT, 1, 1)
    assert (record.scope, record.provenance, record.owner) == (
        bench.scope,
        request.provenance,
        request.owner,
    )
    assert record.attempt_scope == "dag/run/task/3"
    assert (record.inputs, record.variant, record.force_new) == (request.inputs, 4, "client asked")
    assert (record.send_deadline, record.expected_seconds) == (50.0, 90.0)
    assert record.resubmit_age_seconds == 150.0
    assert record.validators == request.validators
    assert before <= record.created_at <= bench.ledger.now()
    assert record.never_sent
    marks = (record.possibly_billed, record.new_attempt_allowed, record.extra, record.superseded)
    assert marks == (False, False, False, False)
    assert bench.ledger.latest(request.content_key) == record
    assert bench.ledger.get(record.id) == record


def test_who_repeats_a_claim_gets_its_own_unsent_intent_back(bench: Bench):
    request = bench.request()
    first = bench.ledger.claim(request)
    assert bench.ledger.claim(request) == first
    assert len(bench.rows()) == 1


def test_who_repeats_a_claim_after_its_send_began_is_not_offered_a_second_send(bench: Bench):
    request = bench.request()
    answer = bench.ledger.claim(request)
    assert isinstance(answer, Claimed)
    begun = bench.ledger.begin_send(answer.record)
    assert bench.ledger.claim(request) == Found(begun)


def test_another_owner_finds_the_intent(bench: Bench):
    record = bench.claimed()
    assert bench.found(record.content_key) == record


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_live_row_stands_in_the_way_whatever_the_caller_saw(bench: Bench, state: TaskState):
    record = bench.in_state(state)
    for expected in (None, record.id):
        assert bench.found(record.content_key, expected_latest=expected).id == record.id
    assert len(bench.rows()) == 1


@pytest.mark.parametrize("state", [TaskState.REJECTED, TaskState.RELEASED])
def test_after_an_outcome_that_cost_nothing_or_was_released_the_next_attempt_may_follow(
    bench: Bench, state: TaskState
):
    record = bench.in_state(state)
    assert bench.found(record.content_key).id == record.id
    second = bench.claimed(record.content_key, expected_latest=record.id)
    assert second.attempt == 2
    assert [row.id for row in bench.ledger.history(record.content_key)] == [record.id, second.id]


def test_a_final_bad_verdict_stays_final(bench: Bench):
    record = bench.in_state(TaskState.FAILED)
    for supersede in (False, True):
        answer = bench.found(record.content_key, expected_latest=record.id, supersede=supersede)
        assert answer.id == record.id


def test_a_bad_verdict_that_allows_it_is_followed_by_a_new_attempt(bench: Bench):
    failed = bench.ledger.record_failed(bench.submitted(), code=50511, message="review", new_attempt=True)
    assert failed.new_attempt_allowed
    assert bench.claimed(failed.content_key, expected_latest=failed.id).attempt == 2


@pytest.mark.parametrize("state", sorted(SUPERSEDABLE))
def test_what_is_paid_for_is_replaced_only_on_purpose_and_only_if_it_is_what_the_caller_saw(
    bench: Bench, state: TaskState
):
    record = bench.in_state(state)
    key = record.content_key
    assert bench.found(key, expected_latest=record.id).id == record.id
    assert bench.found(key, expected_latest=None, supersede=True).id == record.id
    second = bench.claimed(key, expected_latest=record.id, supersede=True)
    assert second.attempt == 2
    assert bench.now(record).superseded
    assert bench.now(record).state is state
    assert bench.ledger.latest(key) == second
    # The superseded row stands again when its successor comes to nothing: who did not choose to replace it
    # must find what was paid for, and who did has to choose again.
    bench.ledger.record_rejected(second, message="busy")
    assert bench.ledger.latest(key) == bench.now(record)
    assert bench.found(key, expected_latest=record.id).id == record.id


@pytest.mark.parametrize("back", ["taken back", "stored anew"])
def test_what_has_come_back_since_the_caller_looked_is_not_replaced(bench: Bench, back: str):
    record = bench.in_state(TaskState.EXPIRED if back == "taken back" else TaskState.LANDED)
    key, seen = record.content_key, {"expected_latest": record.id, "expected_revision": record.revision}
    if back == "taken back":
        bench.ledger.record_succeeded(record)
    else:
        bench.ledger.record_landing(record, uri=unique("/disk/"), size=1, sha256=SHA)
    found = bench.found(key, supersede=True, **seen)
    assert (found.id, found.superseded) == (record.id, False)
    assert bench.claimed(key, supersede=True, **{**seen, "expected_revision": found.revision}).attempt == 2


def test_a_superseding_claim_can_be_repeated(bench: Bench):
    landed = bench.landed()
    request = bench.request(landed.content_key, expected_latest=landed.id, supersede=True)
    first = bench.ledger.claim(request)
    assert isinstance(first, Claimed)
    assert bench.ledger.claim(request) == first


@pytest.mark.parametrize("state", [TaskState.INTENT, TaskState.SUBMITTED, TaskState.UNKNOWN])
def test_what_may_still_run_is_never_superseded(bench: Bench, state: TaskState):
    record = bench.in_state(state)
    assert bench.found(record.content_key, expected_latest=record.id, supersede=True).id == record.id


def test_a_row_that_the_caller_saw_and_that_is_gone_stops_the_submit(bench: Bench):
    request = bench.request(expected_latest=987654321)
    with pytest.raises(JimengLedgerError, match="Row 987654321 of the ledger is gone") as caught:
        bench.ledger.claim(request)
    assert caught.value.content_key == request.content_key
    assert bench.rows() == []


def test_attempts_count_per_task_instance_and_rejected_ones_do_not(bench: Bench):
    key, latest = unique(), None
    for _ in range(2):
        record = bench.ledger.record_rejected(bench.sent(key, expected_latest=latest), message="busy")
        latest = record.id
    for made in range(2):
        assert bench.ledger.attempts_in(key, "dag/run/task/3") == made
        record = bench.ledger.record_failed(
            bench.submitted(key, expected_latest=latest, max_attempts=2), message="x", new_attempt=True
        )
        latest = record.id
    refusal = bench.refused(key, expected_latest=latest, max_attempts=2)
    assert refusal.reason == "attempts"
    assert "made 2 attempts" in refusal.message
    elsewhere = Provenance("dag", "run", "task", 4, 1)
    assert bench.claimed(key, expected_latest=latest, max_attempts=2, provenance=elsewhere).attempt == 5


def test_the_try_number_does_not_refresh_the_attempts(bench: Bench):
    failed = bench.ledger.record_failed(bench.submitted(), message="x", new_attempt=True)
    again = Provenance("dag", "run", "task", 3, 7)
    refusal = bench.refused(failed.content_key, expected_latest=failed.id, max_attempts=1, provenance=again)
    assert refusal.reason == "attempts"


def test_a_budget_counts_the_submits_of_one_run_over_all_contents(bench: Bench):
    run = Provenance("dag", unique("run-"), "batch")
    bench.ledger.record_rejected(bench.sent(provenance=run, budget=1), message="busy")
    bench.succeeded(provenance=run, budget=1)
    refusal = bench.refused(provenance=run, budget=1)
    assert (refusal.reason, "its budget is 1" in refusal.message) == ("budget", True)
    bench.claimed(provenance=replace(run, run_id=unique("run-")), budget=1)


def test_the_daily_limit_counts_the_account_over_all_its_scopes_since_midnight_utc(bench: Bench):
    yesterday = bench.succeeded()
    bench.age(yesterday, 86400.0)
    other = Scope(bench.scope.account, bench.scope.endpoint, "another model")
    bench.succeeded(scope=other, daily_submit_limit=2)
    bench.ledger.record_rejected(bench.sent(daily_submit_limit=2), message="busy")
    bench.succeeded(daily_submit_limit=2)
    refusal = bench.refused(daily_submit_limit=2)
    assert refusal.reason == "daily_limit"
    assert "made 2 submits" in refusal.message
    bench.claimed(daily_submit_limit=3)


def test_a_paused_account_submits_nothing_in_any_scope_until_it_is_resumed(bench: Bench):
    other = Scope(bench.scope.account, bench.scope.endpoint, "another model")
    bench.ledger.pause(bench.scope.account, "ann", "price check")
    for scope in (bench.scope, other):
        refusal = bench.refused(scope=scope)
        assert refusal.reason == "paused"
        assert "by ann: price check" in refusal.message
        assert bench.ledger.slot_view(scope, 2).blocked == "paused by ann: price check"
    bench.ledger.resume(bench.scope.account, "bob", "done")
    assert bench.ledger.slot_view(bench.scope, 2).blocked is None
    bench.claimed()


def test_a_breaker_stops_its_scope_only(bench: Bench):
    other = Scope(bench.scope.account, bench.scope.endpoint, "another model")
    bench.ledger.trip_breaker(bench.scope, "20 failures in a row")
    refusal = bench.refused()
    assert (refusal.reason, "20 failures" in refusal.message) == ("breaker", True)
    assert bench.ledger.slot_view(bench.scope, 2).blocked == "breaker 20 failures in a row"
    bench.claimed(scope=other)
    bench.ledger.clear_breaker(bench.scope)
    bench.claimed()
    note = bench.limits_row().note.splitlines()
    assert [line.partition("Z ")[2] for line in note] == [
        "breaker tripped: 20 failures in a row",
        "breaker cleared",
    ]


def test_a_refusal_keeps_neither_a_row_nor_a_ticket(bench: Bench):
    for _ in range(2):
        bench.claimed()
    bench.must_wait(waiter="me")
    assert len(bench.tickets()) == 1
    bench.ledger.pause(bench.scope.account, "ann", "stop")
    bench.refused(waiter="me")
    assert bench.tickets() == []
    assert len(bench.rows()) == 2


def test_a_wait_writes_no_task_row_and_found_gives_the_ticket_up(bench: Bench):
    record = bench.claimed()
    bench.claimed()
    bench.must_wait(waiter="me")
    assert len(bench.rows()) == 2
    bench.found(record.content_key, waiter="me")
    assert bench.tickets() == []


def misconfigured(bench: Bench, times: int) -> None:
    for _ in range(times):
        bench.ledger.note_misconfigured(bench.scope, reason="the key may not do this")


def test_the_third_refusal_for_the_accounts_set_up_opens_the_breaker_for_a_while(bench: Bench):
    misconfigured(bench, 2)
    bench.claimed()
    misconfigured(bench, 2)
    refusal = bench.refused()
    assert refusal.reason == "breaker"
    assert re.search(r"tries again in \d{1,4} s", refusal.message)
    assert "the key may not do this" in refusal.message
    assert bench.ledger.slot_view(bench.scope, 2).blocked == "breaker the key may not do this"
    assert bench.limits_row().note.count("breaker tripped") == 1


def test_one_claim_tries_when_the_time_of_the_breaker_is_over_and_its_success_closes_it(bench: Bench):
    misconfigured(bench, 3)
    bench.pass_time(13)
    assert bench.ledger.slot_view(bench.scope, 2).blocked is None
    trial = bench.claimed()
    assert bench.refused().reason == "breaker"
    bench.ledger.record_created(bench.ledger.begin_send(trial), "task", "request")
    bench.claimed()
    row = bench.limits_row()
    assert (row.breaker, row.cooldown_until, row.cooldown_streak) == (None, None, 0)
    assert "breaker cleared: the vendor accepted a submit" in row.note


def test_a_trial_that_dies_holds_up_nobody_for_ever(bench: Bench):
    misconfigured(bench, 3)
    for pause in (13, 21, 41):
        bench.pass_time(pause)
        bench.claimed(configured_limit=9)
        assert bench.refused(configured_limit=9).reason == "breaker"


def test_a_person_closes_the_breaker_at_once(bench: Bench):
    misconfigured(bench, 3)
    bench.ledger.clear_breaker(bench.scope)
    bench.claimed()
    assert bench.limits_row().cooldown_streak == 0
