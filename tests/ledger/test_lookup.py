# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Many contents at once are answered as each would be by itself."""

from __future__ import annotations

from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import SHA, Bench, unique


def test_what_stands_for_many_is_what_stands_for_each(bench: Bench) -> None:
    keys = [Bench(bench.url).in_state(state).content_key for state in TaskState]
    again = bench.in_state(TaskState.RELEASED)
    bench.sent(again.content_key, expected_latest=again.id)
    failed = bench.ledger.record_failed(bench.submitted(), message="no", new_attempt=True)
    bench.ledger.record_rejected(bench.sent(failed.content_key, expected_latest=failed.id), message="busy")
    keys += [again.content_key, failed.content_key]

    found = bench.ledger.latest_many([*keys, unique()])

    assert found == {key: bench.ledger.latest(key) for key in keys}


def test_a_late_id_that_stands_for_paid_work_comes_before_a_newer_attempt_that_ended(bench: Bench) -> None:
    released = bench.in_state(TaskState.RELEASED)
    second = bench.submitted(released.content_key, expected_latest=released.id)
    bench.ledger.record_created(released, unique("late-"), "request")
    bench.ledger.record_failed(second, message="no")

    found = bench.ledger.latest_many([released.content_key])

    assert found[released.content_key] == bench.ledger.latest(released.content_key)
    assert found[released.content_key].extra


def test_what_stands_for_a_content_comes_before_a_newer_row_that_keeps_a_second_id(bench: Bench) -> None:
    sent = bench.sent()
    live = bench.ledger.record_created(sent, unique("id-"), "request")
    beside = bench.ledger.record_created(sent, unique("second-"), "request")
    assert (beside.extra, beside.attempt) == (True, live.attempt + 1)

    assert bench.ledger.latest_many([live.content_key]) == {live.content_key: live}
    assert bench.ledger.latest(live.content_key) == live


def test_more_contents_than_a_statement_takes(bench: Bench) -> None:
    known = bench.submitted()
    keys = [unique() for _ in range(1200)]

    assert set(bench.ledger.latest_many([*keys, known.content_key])) == {known.content_key}
    assert bench.ledger.latest_many([]) == {}


def test_a_content_is_found_by_a_prefix_of_its_key_and_by_the_whole_key(bench: Bench) -> None:
    key = bench.submitted(unique()).content_key
    admin = LedgerAdmin(bench.url)
    assert [admin.keys_with_prefix(key[:length], 3) for length in (12, len(key))] == [[key], [key]]
    assert admin.keys_with_prefix(f"{key}0", 3) == []


def test_landings_of_many_come_newest_first(bench: Bench) -> None:
    first, second = bench.landed(), bench.landed()
    bench.ledger.record_landing(first, uri=f"/out/{unique()}.mp4", size=1, sha256=SHA)

    found = bench.ledger.landings_many([first.content_key, second.content_key, unique()])

    assert found == {each.content_key: bench.ledger.landings(each.content_key) for each in (first, second)}
    assert len(found[first.content_key]) == 2


def test_a_run_is_added_up_over_its_tries_and_no_others(bench: Bench) -> None:
    mine = Provenance("dag", unique(), "batch", -1, 1)
    before = bench.submitted(provenance=mine, configured_limit=9)
    bench.ledger.record_failed(before, message="no")
    bench.unknown(provenance=mine, configured_limit=9)
    bench.submitted(provenance=Provenance("dag", mine.run_id, "batch", -1, 2), configured_limit=9)
    bench.landed(provenance=Provenance("dag", unique(), "other"), configured_limit=9)

    totals = bench.ledger.run_totals(mine.attempt_scope)
    later = bench.ledger.run_totals(mine.attempt_scope, bench.ledger.now() + 60.0)

    assert (totals.submits, totals.possibly_billed) == (2, 1)
    assert totals.started_at == before.created_at
    assert [each.finished_at is None for each in totals.spans] == [False, True]
    assert (later.started_at, later.submits, later.spans) == (None, 0, ())


def test_what_a_run_paid_for_and_has_not_stored_is_found_in_pieces(bench: Bench) -> None:
    mine = Provenance("dag", unique(), "batch", -1, 1)
    bench.landed(provenance=mine, configured_limit=9)
    bench.unknown(provenance=mine, configured_limit=9)
    bench.submitted(provenance=Provenance("dag", unique(), "other"), configured_limit=9)
    open_ones = [bench.submitted(provenance=mine, configured_limit=9) for _ in range(3)]

    ask = bench.ledger.not_landed
    first = ask(mine.attempt_scope, limit=2)
    rest = ask(mine.attempt_scope, after=first[-1].id, limit=2)
    assert [*first, *rest] == open_ones
    assert ask(mine.attempt_scope, bench.ledger.now() + 60.0, limit=2) == []

    given_up = bench.ledger.record_expired(open_ones[1], message="not_found")
    bench.ledger.record_failed(open_ones[2], message="no")
    assert ask(mine.attempt_scope, limit=9) == [open_ones[0], given_up]


def test_what_a_task_may_have_paid_for_since_one_of_its_tries(bench: Bench) -> None:
    run = unique()
    tries = [Provenance("dag", run, "task", -1, number) for number in (1, 2, 3)]
    rows = [bench.submitted(provenance=each, configured_limit=9) for each in tries]
    landed = bench.landed(provenance=tries[2], configured_limit=9)
    doubtful = [make(provenance=tries[2], configured_limit=9) for make in (bench.unknown, bench.sent)]
    bench.ledger.record_rejected(bench.sent(provenance=tries[2], configured_limit=9), message="busy")
    bench.submitted(provenance=Provenance("dag", run, "another", -1, 3), configured_limit=9)

    def ask(first_try: int, since: float | None = None) -> list[TaskRecord]:
        return bench.ledger.begun_since_try(tries[0].attempt_scope, since, first_try=first_try)

    assert ask(1) == [*rows, landed, *doubtful]
    assert ask(3) == [rows[2], landed, *doubtful]
    assert ask(4) == ask(1, bench.ledger.now() + 60.0) == []
    given_up = bench.ledger.record_expired(rows[1], message="not_found")
    bench.ledger.record_failed(rows[2], message="no")
    assert ask(2) == [given_up, landed, *doubtful]


def test_a_row_that_a_later_try_goes_on_with_counts_as_begun_then(bench: Bench) -> None:
    mine = Provenance("dag", unique(), "task", -1, 1)
    # With a note of its own: it was adopted by somebody.
    row = bench.ledger.adopt(bench.unknown(provenance=mine, configured_limit=9).id, unique(), "somebody")
    assert row.note
    bench.age(row, 3600.0)
    since = bench.ledger.now() - 60.0
    assert bench.ledger.begun_since_try(mine.attempt_scope, since, first_try=1) == []

    bench.ledger.asked_again(row, 3)
    bench.ledger.asked_again(row, 2)
    (found,) = bench.ledger.begun_since_try(mine.attempt_scope, since, first_try=3)
    assert (found.id, found.revision, found.provenance.try_number) == (row.id, row.revision, 3)
    assert found.note.splitlines()[:-1] == row.note.splitlines()
    assert found.note.endswith("asked for again by try 3")
    assert bench.ledger.begun_since_try(mine.attempt_scope, since + 120.0, first_try=1) == []


def test_when_a_run_first_claimed_a_slot(bench: Bench) -> None:
    mine = Provenance("dag", unique(), "batch", -1, 1)
    assert bench.ledger.first_claim(mine.attempt_scope) is None
    first = bench.submitted(provenance=mine, configured_limit=9)
    bench.submitted(provenance=mine, configured_limit=9)

    assert bench.ledger.first_claim(mine.attempt_scope) == first.created_at
    assert bench.ledger.first_claim(mine.attempt_scope, bench.ledger.now() + 60.0) is None
