# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What some task instances came to is theirs alone, and counted by content."""

from __future__ import annotations

from typing import Any

from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

MANY = 99


def mine(run: str, index: int = -1, attempt: int = 1) -> Provenance:
    return Provenance("dag", run, "batch", index, attempt)


def many(by: Provenance) -> dict[str, Any]:
    return {"provenance": by, "configured_limit": MANY}


def admin(bench: Bench) -> LedgerAdmin:
    assert bench.ledger.uuid
    return LedgerAdmin(bench.url)


def test_contents_are_counted_once_by_their_newest_attempt_in_the_run(bench: Bench) -> None:
    run = unique()
    here = many(mine(run))
    first = bench.ledger.record_failed(bench.submitted(**here), code=50511, message="no", new_attempt=True)
    bench.landed(first.content_key, expected_latest=first.id, **here)
    bench.submitted(**here)
    bench.landed(provenance=mine(unique()), configured_limit=MANY)

    view = admin(bench).run_view([mine(run).attempt_scope])

    assert view.counts == {TaskState.SUBMITTED: 1, TaskState.LANDED: 1}
    assert (view.submits, view.refused, view.possibly_billed) == (3, 0, 0)
    assert view.started_at == first.created_at
    assert [end is None for _, end in view.spans].count(True) == 1
    assert len(view.landed_lately) == 1
    assert view.troubles == ()


def test_failures_are_grouped_by_state_code_and_words(bench: Bench) -> None:
    here = many(mine(unique()))
    for _ in range(2):
        last = bench.ledger.record_failed(bench.submitted(**here), code=50411, message="risk")
    unknown = bench.unknown(**here)
    bench.ledger.record_rejected(bench.sent(**here), code=50430, message="busy")

    view = admin(bench).run_view([here["provenance"].attempt_scope])

    assert (view.troubles[0].count, view.troubles[0].code, view.troubles[0].row) == (2, 50411, last.id)
    assert {(each.state, each.count) for each in view.troubles[1:]} == {
        (TaskState.UNKNOWN, 1),
        (TaskState.REJECTED, 1),
    }
    assert (view.refused, view.possibly_billed) == (1, 1)
    assert unknown.id in {each.row for each in view.troubles}


def test_a_late_id_beside_a_newer_attempt_is_no_item_of_its_own(bench: Bench) -> None:
    here = many(mine(unique()))
    released = bench.ledger.release(bench.unknown(**here).id, reason="test", by="me")
    bench.submitted(released.content_key, expected_latest=released.id, **here)
    bench.ledger.record_created(released, unique("late-"), "request")

    view = admin(bench).run_view([here["provenance"].attempt_scope])

    assert sum(view.counts.values()) == 1


def test_the_slots_are_those_of_the_scopes_that_the_run_used(bench: Bench) -> None:
    here: dict[str, Any] = {"provenance": mine(unique()), "configured_limit": 7}
    bench.submitted(**here)

    view = admin(bench).run_view([here["provenance"].attempt_scope])

    assert list(view.slots) == [bench.scope]
    assert (view.slots[bench.scope].in_use, view.slots[bench.scope].limit) == (1, 7)


def test_nothing_was_asked_for(bench: Bench) -> None:
    view = admin(bench).run_view([])

    assert (view.counts, view.submits, view.started_at, view.slots) == ({}, 0, None, {})


def test_rows_come_by_the_page_newest_first_over_more_task_instances_than_a_statement_takes(
    bench: Bench,
) -> None:
    run = unique()
    made = [
        bench.submitted(provenance=mine(run, index), configured_limit=MANY).id for index in (0, 600, 3, 1100)
    ]
    bench.landed(provenance=mine(run, 5), configured_limit=MANY)
    scopes = [mine(run, index).attempt_scope for index in range(1200)]
    look = admin(bench)

    first = look.rows_of_run(scopes, [TaskState.SUBMITTED], limit=3)
    rest = look.rows_of_run(scopes, [TaskState.SUBMITTED], before=first[-1].id, limit=3)

    assert [row.id for row in (*first, *rest)] == sorted(made, reverse=True)
    assert look.run_view(scopes).counts == {TaskState.SUBMITTED: 4, TaskState.LANDED: 1}
