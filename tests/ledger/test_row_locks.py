# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Which rows a move locks on a server, and in which order: those of limits, then those of tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import SHA, Bench, unique

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord

S = TaskState


@pytest.fixture
def bench(postgres_database: str) -> Iterator[Bench]:
    made = Bench(postgres_database)
    yield made
    made.ledger.close()


def locks_of(bench: Bench, move: Callable[[], Any]) -> list[str]:
    """Return the tables of which a move locks rows, in its order."""
    with bench.statements() as seen:
        move()
    return [str(re.findall(r"FROM (\w+)", each)[0]) for each in seen if "FOR UPDATE" in each]


LIMITS, TASKS, LANDINGS = "jimeng_limits", "jimeng_tasks", "jimeng_landings"


@pytest.mark.parametrize(
    ("state", "move", "locks"),
    [
        # One statement for the account's row and the scope's.
        (S.SUBMITTED, lambda bench, row: bench.claimed(), [LIMITS]),
        (S.INTENT, lambda bench, row: bench.ledger.record_created(row, unique()), [LIMITS, TASKS]),
        (S.INTENT, lambda bench, row: bench.ledger.record_unknown(row, message="m"), [LIMITS, TASKS]),
        (S.INTENT, lambda bench, row: bench.ledger.record_rejected(row, message="m"), [LIMITS, TASKS, TASKS]),
        (S.SUBMITTED, lambda bench, row: bench.ledger.record_succeeded(row, code=1), [LIMITS, TASKS]),
        (S.SUBMITTED, lambda bench, row: bench.ledger.record_failed(row, message="m"), [LIMITS, TASKS]),
        (
            S.SUCCEEDED,
            lambda bench, row: bench.ledger.record_landing(row, uri=f"/x/{unique()}", size=1, sha256=SHA),
            [TASKS, LANDINGS],
        ),
        (S.UNKNOWN, lambda bench, row: bench.ledger.release(row.id, reason="r", by="b"), [LIMITS, TASKS]),
        (S.UNKNOWN, lambda bench, row: bench.ledger.adopt(row.id, unique(), "b"), [LIMITS, TASKS]),
        (
            S.UNKNOWN,
            lambda bench, row: LedgerAdmin(bench.url).adopt(row.id, unique(), reason="r", by="b"),
            [LIMITS, TASKS, LIMITS, TASKS],
        ),
        (
            S.FAILED,
            lambda bench, row: LedgerAdmin(bench.url).forget_row(row, reason="r", by="b"),
            [LIMITS, LIMITS, TASKS],
        ),
        (
            S.LANDED,
            lambda bench, row: LedgerAdmin(bench.url).forget_landing(
                bench.ledger.landings(row.content_key)[0].uri, reason="r", by="b"
            ),
            [TASKS],
        ),
        (
            S.LANDED,
            lambda bench, row: bench.ledger.move_landing(
                bench.ledger.landings(row.content_key)[0].uri, f"/y/{unique()}"
            ),
            [LANDINGS],
        ),
        (S.SUBMITTED, lambda bench, row: bench.ledger.asked_again(row, 7), [TASKS]),
        (S.SUBMITTED, lambda bench, row: bench.ledger.latest(row.content_key), []),
        (S.SUBMITTED, lambda bench, row: bench.ledger.slot_view(bench.scope, 2), []),
        (S.LANDED, lambda bench, row: bench.ledger.landings(row.content_key), []),
    ],
)
def test_a_move_locks_what_it_changes_and_a_look_nothing(
    bench: Bench, state: TaskState, move: Callable[[Bench, TaskRecord], Any], locks: list[str]
):
    row = bench.in_state(state)
    assert locks_of(bench, lambda: move(bench, row)) == locks
