# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.ledger.records import LostRace, TaskRecord, TooEarly
from airflow_provider_jimeng.ledger.states import LIVE, TaskState, may_move

from tests.ledger.kit import SHA, Bench, unique

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.store import Ledger

S = TaskState

#: The call that makes each move.
MOVES: dict[TaskState, Callable[[Ledger, TaskRecord], Any]] = {
    S.SUCCEEDED: lambda ledger, row: ledger.record_succeeded(row, code=10000),
    S.FAILED: lambda ledger, row: ledger.record_failed(row, message="no"),
    S.EXPIRED: lambda ledger, row: ledger.record_expired(row, message="gone"),
    S.REJECTED: lambda ledger, row: ledger.record_rejected(row, message="busy"),
    S.UNKNOWN: lambda ledger, row: ledger.record_unknown(row, message="no answer"),
    S.RELEASED: lambda ledger, row: ledger.release(row.id, reason="r", by="b"),
    S.SUBMITTED: lambda ledger, row: ledger.adopt(row.id, f"id-of-{row.id}", "b"),
    S.LANDED: lambda ledger, row: ledger.record_landing(row, uri=unique("/x/"), size=1, sha256=SHA),
}

#: Calls that find the row where, or beyond where, they would bring it, and leave it there.
ALREADY = {
    (S.SUCCEEDED, S.SUCCEEDED),
    (S.LANDED, S.SUCCEEDED),
    (S.LANDED, S.LANDED),
    (S.FAILED, S.FAILED),
    (S.EXPIRED, S.EXPIRED),
    (S.REJECTED, S.REJECTED),
    (S.UNKNOWN, S.UNKNOWN),
    (S.RELEASED, S.UNKNOWN),
    (S.RELEASED, S.RELEASED),
    (S.RELEASED, S.REJECTED),
}
#: A certain answer to the row's only send, after others took its owner for silent.
LATE_REJECTION = (S.UNKNOWN, S.REJECTED)


@pytest.mark.parametrize("source", list(S))
def test_every_call_from_every_state_moves_as_drawn_or_not_at_all(bench: Bench, source: TaskState):
    for target, call in MOVES.items():
        row = bench.in_state(source)
        moved = may_move(source, target) or (source, target) == LATE_REJECTION
        if moved or (source, target) in ALREADY:
            said = call(bench.ledger, row)
            assert target is S.LANDED or said == bench.now(row)
        else:
            with pytest.raises(LostRace):
                call(bench.ledger, row)
        after = bench.now(row)
        if moved:
            reached = S.RELEASED if (source, target) == LATE_REJECTION else target
            assert (after.state, after.revision) == (reached, row.revision + 1)
        else:
            # That a result was stored once more is news to whoever found none.
            assert after == replace(row, revision=row.revision + (source is target is S.LANDED))
        live = [each for each in bench.rows() if each.id == row.id and each.live_key is not None]
        assert bool(live) == (after.state in LIVE)
        # The next one needs the slots.
        bench.age(row, 30 * 3600.0)


@pytest.mark.parametrize("target", [S.SUCCEEDED, S.FAILED, S.EXPIRED, S.REJECTED, S.UNKNOWN, S.LANDED])
def test_a_move_is_refused_when_the_row_is_no_longer_the_revision_that_was_read(
    bench: Bench, target: TaskState
):
    source = {S.REJECTED: S.INTENT, S.UNKNOWN: S.INTENT, S.LANDED: S.SUCCEEDED}.get(target, S.SUBMITTED)
    row = bench.in_state(source)
    with pytest.raises(LostRace, match=f"revision {row.revision}") as caught:
        MOVES[target](bench.ledger, replace(row, revision=row.revision - 1))
    assert caught.value.content_key == row.content_key
    assert bench.now(row) == row


def test_a_row_that_is_gone_is_said_to_be_gone(bench: Bench):
    row = replace(bench.submitted(), id=987654321)
    for target in (S.SUCCEEDED, S.REJECTED, S.RELEASED, S.SUBMITTED, S.LANDED):
        with pytest.raises(LostRace, match="Row 987654321 of the ledger is gone"):
            MOVES[target](bench.ledger, row)
    with pytest.raises(LostRace, match="is gone"):
        bench.ledger.begin_send(row)


def test_a_send_is_granted_once_per_revision(bench: Bench):
    intent = bench.claimed()
    begun = bench.ledger.begin_send(intent)
    assert (begun.send_count, begun.revision, begun.never_sent) == (1, 2, False)
    assert begun.sent_at is not None
    assert begun.sent_at >= intent.created_at
    with pytest.raises(LostRace, match="Nothing was sent"):
        bench.ledger.begin_send(intent)
    # Signed anew: another send of its own.
    assert bench.ledger.begin_send(begun).send_count == 2


@pytest.mark.parametrize("state", [state for state in S if state is not S.INTENT])
def test_only_an_intent_is_sent(bench: Bench, state: TaskState):
    row = bench.in_state(state)
    with pytest.raises(LostRace):
        bench.ledger.begin_send(row)
    assert bench.now(row) == row


def test_a_good_verdict_keeps_code_request_and_time(bench: Bench):
    row = bench.submitted()
    bench.age(row, 100.0)
    done = bench.ledger.record_succeeded(row, code=10000, request_id="second")
    assert (done.code, done.request_id, done.possibly_billed) == (10000, "second", False)
    assert done.elapsed == pytest.approx(100.0, abs=5.0)
    assert done.finished_at == pytest.approx(bench.ledger.now(), abs=5.0)
    watched = bench.ledger.record_succeeded(bench.submitted(), processing=17.5)
    assert (watched.processing_seconds, watched.request_id) == (17.5, "request")
    assert done.processing_seconds is None


def test_a_bad_verdict_keeps_the_vendors_words_without_what_is_secret_in_them(bench: Bench):
    words = "can't fetch https://u:p@tos.example/a.mp4?X-Tos-Signature=abc\x00\ud800! " + "x" * 5000
    failed = bench.ledger.record_failed(bench.submitted(), code=50207, message=words, request_id="r")
    assert failed.message.startswith("can't fetch https://tos.example/a.mp4")
    assert len(failed.message) == 2000
    assert "Signature" not in failed.message
    assert (failed.code, failed.request_id, failed.new_attempt_allowed) == (50207, "r", False)
    odd = bench.ledger.record_failed(bench.submitted(), message="a\x00b \ud800")
    assert odd.message == "a\\x00b \\ud800"


def test_what_may_have_been_billed_is_marked(bench: Bench):
    expected = {
        S.INTENT: False,
        S.SUBMITTED: False,
        S.SUCCEEDED: False,
        S.LANDED: False,
        S.FAILED: False,
        S.REJECTED: False,
        S.EXPIRED: True,
        S.UNKNOWN: True,
        S.RELEASED: True,
    }
    for state, billed in expected.items():
        row = bench.in_state(state)
        assert row.possibly_billed is billed, state
        bench.age(row, 30 * 3600.0)


def test_an_unknown_that_never_began_a_send_cost_nothing(bench: Bench):
    row = bench.ledger.record_unknown(bench.claimed(), message="killed before the send")
    assert (row.possibly_billed, row.never_sent) == (False, True)


def test_a_release_says_who_and_why_and_is_not_repeated(bench: Bench):
    unknown = bench.unknown()
    row = bench.ledger.release(unknown.id, reason="not in the\nconsole https://x.example/?sig=1", by="ann")
    assert row.note.endswith("Z released by ann: not in the console https://x.example/")
    assert bench.ledger.release(unknown.id, reason="again", by="bob") == row


def test_a_resubmission_waits_three_deadlines_by_the_databases_clock(bench: Bench):
    unknown = bench.unknown(send_deadline=40.0)
    least = unknown.resubmit_age_seconds
    assert least == 120.0
    bench.age(unknown, 100.0)
    with pytest.raises(TooEarly, match="can be released in") as caught:
        bench.ledger.release(unknown.id, reason="policy", by="task", min_age_seconds=least)
    assert caught.value.retry_after_seconds == pytest.approx(20.0, abs=5.0)
    assert bench.now(unknown).state is S.UNKNOWN
    bench.age(unknown, 20.5)
    row = bench.ledger.release(unknown.id, reason="policy", by="task", min_age_seconds=least)
    assert row.state is S.RELEASED


def test_a_late_rejection_of_someone_elses_send_changes_nothing(bench: Bench):
    sent = bench.sent()
    bench.ledger.record_unknown(sent, message="silent")
    for foreign in (replace(sent, owner="other"), replace(sent, send_count=0)):
        with pytest.raises(LostRace):
            bench.ledger.record_rejected(foreign, message="busy")
    assert bench.now(sent).state is S.UNKNOWN


def test_a_late_rejection_releases_the_row_without_a_person(bench: Bench):
    sent = bench.sent()
    bench.ledger.record_unknown(sent, message="silent")
    row = bench.ledger.record_rejected(sent, code=50430, message="busy")
    assert (row.state, row.possibly_billed, row.code) == (S.RELEASED, False, 50430)
    assert "the vendor created nothing" in row.note
    bench.claimed(row.content_key, expected_latest=row.id)


def test_the_typical_time_is_the_median_of_the_last_twenty_watched_successes(bench: Bench):
    assert bench.ledger.typical_seconds(bench.scope) is None
    for seconds in [9999.0] * 2 + [float(number) for number in range(1, 21)]:
        bench.ledger.record_succeeded(bench.submitted(), processing=seconds)
    bench.ledger.record_failed(bench.submitted(), message="fast")
    bench.ledger.record_succeeded(bench.submitted())
    assert bench.ledger.typical_seconds(bench.scope) == 10.5


def test_of_the_typical_time_what_was_landed_counts_with_what_was_not(bench: Bench):
    for _ in range(20):
        record = bench.ledger.record_succeeded(bench.submitted(), processing=500.0)
        bench.ledger.record_landing(record, uri=f"/out/{unique()}.mp4", size=1, sha256=SHA)
    for number in range(1, 21):
        bench.ledger.record_succeeded(bench.submitted(), processing=float(number))
    assert bench.ledger.typical_seconds(bench.scope) == 10.5


def test_a_task_is_found_by_the_vendors_id(bench: Bench):
    row = bench.submitted()
    assert row.task_id is not None
    assert bench.ledger.by_task_id(row.task_id) == row
    assert bench.ledger.by_task_id(row.task_id, bench.scope) == row
    assert bench.ledger.by_task_id(row.task_id, replace(bench.scope, account="other")) is None
    assert bench.ledger.by_task_id("never") is None


def test_what_was_never_asked_for_is_none_and_not_an_error(bench: Bench):
    assert bench.ledger.latest(unique()) is None
    assert bench.ledger.get(987654321) is None
    assert bench.ledger.history(unique()) == []
    assert bench.ledger.landings(unique()) == []
    assert bench.ledger.landings_with("never") == []
    assert bench.ledger.landing_at(unique()) is None
