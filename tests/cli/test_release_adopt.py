# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``ledger release`` and ``ledger adopt``: what error messages tell people to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.records import LostRace, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

if TYPE_CHECKING:
    from tests.cli.conftest import Command

WHY = ("--reason", "looked at the bill")


def old_unknown(bench: Bench) -> TaskRecord:
    row = bench.unknown()
    bench.age(row, 1000.0)
    return row


def test_an_unknown_is_released_by_number_or_key(bench: Bench, ledger: Command):
    for row, name in (
        (each, getattr(each, by)) for by in ("id", "content_key") for each in [old_unknown(bench)]
    ):
        done = ledger("release", name, *WHY, "--yes")
        assert done.code == 0, done.err
        assert f"Row {row.id} is released" in done.out
        assert "pays a second time" in done.err
        now = bench.now(row)
        assert now.state is TaskState.RELEASED
        assert now.note.endswith("looked at the bill")
        assert "released by " in now.note
        assert "@" in now.note


def test_a_released_content_can_be_claimed_again(bench: Bench, ledger: Command):
    row = old_unknown(bench)
    ledger("release", row.content_key, *WHY, "--yes")
    again = bench.claimed(row.content_key, expected_latest=row.id)
    assert again.attempt == 2


def test_a_person_types_yes(bench: Bench, ledger: Command):
    row = old_unknown(bench)
    for typed in ("no\n", "y\n", ""):
        done = ledger("release", row.id, *WHY, typed=typed)
        assert done.code == 3
        assert "Nothing was changed" in done.err
        assert bench.now(row).state is TaskState.UNKNOWN
    assert ledger("release", row.id, *WHY, typed="yes\n").code == 0
    assert bench.now(row).state is TaskState.RELEASED


def test_without_a_terminal_and_without_yes_nothing_changes(bench: Bench, ledger: Command):
    row = old_unknown(bench)
    done = ledger("release", row.id, *WHY)
    assert done.code == 3
    assert "--yes" in done.err
    assert bench.now(row) == bench.ledger.get(row.id)
    assert bench.now(row).state is TaskState.UNKNOWN


def test_a_reason_is_required(bench: Bench, ledger: Command):
    row = old_unknown(bench)
    for arguments in ((), ("--reason", "  ")):
        with pytest.raises(SystemExit) as ended:
            ledger("release", row.id, "--yes", *arguments)
        assert ended.value.code == 2
    assert bench.now(row).state is TaskState.UNKNOWN


def test_several_are_released_and_the_released_ones_passed_over(bench: Bench, ledger: Command):
    rows = [old_unknown(bench), old_unknown(bench)]
    before = bench.in_state(TaskState.RELEASED)
    done = ledger("release", rows[0].id, rows[1].content_key, rows[0].id, before.id, *WHY, "--yes", "--json")
    assert done.ids == [rows[0].id, rows[1].id]
    assert f"Row {before.id} is released already" in done.err
    assert ledger("release", before.id, *WHY).code == 0
    assert bench.now(before).note == before.note


def test_an_intent_whose_owner_fell_silent_is_released(bench: Bench, ledger: Command):
    row = bench.sent()
    bench.age(row, 1000.0)
    done = ledger("release", row.id, *WHY, "--yes")
    assert done.code == 0, done.err
    assert bench.now(row).state is TaskState.RELEASED
    assert bench.now(row).possibly_billed


def test_a_row_that_was_never_sent_costs_nothing(bench: Bench, ledger: Command):
    row = bench.claimed()
    bench.age(row, 61.0)
    done = ledger("release", row.id, *WHY, "--yes")
    assert done.code == 0, done.err
    assert "costs nothing" in done.err
    assert not bench.now(row).possibly_billed


def test_a_young_unknown_is_kept_unless_told(bench: Bench, ledger: Command):
    row = bench.unknown()
    done = ledger("release", row.id, *WHY, "--yes")
    assert done.code == 1
    assert "still be on its way" in done.err
    assert bench.now(row).state is TaskState.UNKNOWN
    assert ledger("release", row.id, *WHY, "--yes", "--even-if-young").code == 0
    assert bench.now(row).state is TaskState.RELEASED


@pytest.mark.parametrize(
    "state",
    [TaskState.INTENT, TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.LANDED, TaskState.FAILED],
)
def test_nothing_else_is_released(bench: Bench, ledger: Command, state: TaskState):
    row = bench.in_state(state)
    done = ledger("release", row.id, *WHY, "--yes", "--even-if-young")
    assert done.code == 1
    assert "Only an unknown" in done.err
    assert bench.now(row) == row


def test_one_that_moved_meanwhile_does_not_keep_the_others(
    bench: Bench, ledger: Command, monkeypatch: pytest.MonkeyPatch
):
    rows = [old_unknown(bench), old_unknown(bench)]
    plain = LedgerAdmin.release

    def late(self: LedgerAdmin, record_id: int, **options: str) -> TaskRecord:
        if record_id == rows[0].id:
            bench.ledger.record_created(rows[0], "late-id")
        return plain(self, record_id, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LedgerAdmin, "release", late)
    done = ledger("release", rows[0].id, rows[1].id, *WHY, "--yes")
    assert done.code == 1
    assert f"row {rows[0].id}" in done.err
    assert bench.now(rows[0]).state is TaskState.SUBMITTED
    assert bench.now(rows[1]).state is TaskState.RELEASED


def test_an_unknown_target_is_told(bench: Bench, ledger: Command):
    for name in ("nothing", unique()):
        done = ledger("release", name, *WHY, "--yes")
        assert done.code == 1
        assert name in done.err


# -- adopt


@pytest.mark.parametrize("state", [TaskState.INTENT, TaskState.UNKNOWN, TaskState.RELEASED])
@pytest.mark.parametrize("by", ["id", "content_key"])
def test_an_id_is_adopted(bench: Bench, ledger: Command, state: TaskState, by: str):
    row, task_id = bench.in_state(state), unique("7")
    done = ledger("adopt", getattr(row, by), task_id, *WHY, "--yes")
    assert done.code == 0, done.err
    assert f"Row {row.id} is submitted with task {task_id}." in done.out
    now = bench.now(row)
    assert (now.state, now.task_id) == (TaskState.SUBMITTED, task_id)
    assert "id adopted by" in now.note
    assert now.note.endswith("looked at the bill")
    assert "pays nothing" in done.err


def test_an_adoption_is_asked_for(bench: Bench, ledger: Command):
    row = bench.unknown()
    assert ledger("adopt", row.id, "77", *WHY).code == 3
    assert ledger("adopt", row.id, "77", *WHY, typed="no").code == 3
    assert bench.now(row) == row


def test_adopting_the_same_id_again_changes_nothing(bench: Bench, ledger: Command):
    row = bench.submitted()
    done = ledger("adopt", row.content_key, row.task_id, *WHY, "--json")
    assert (done.code, done.ids) == (0, [row.id])
    assert bench.now(row) == row


def test_an_id_beside_a_newer_attempt_is_kept_as_an_extra_row(bench: Bench, ledger: Command):
    row = bench.in_state(TaskState.RELEASED)
    newer = bench.submitted(row.content_key, expected_latest=row.id)
    task_id = unique("7")
    done = ledger("adopt", row.content_key, task_id, *WHY, "--yes")
    assert "beside another attempt" in done.out
    now = bench.now(row)
    assert (now.state, now.extra, now.possibly_billed) == (TaskState.SUBMITTED, True, True)
    assert bench.now(newer) == newer


@pytest.mark.parametrize("state", [TaskState.REJECTED, TaskState.FAILED, TaskState.SUBMITTED])
def test_a_row_that_can_take_no_id_gets_a_further_one_beside(bench: Bench, ledger: Command, state: TaskState):
    row, task_id = bench.in_state(state), unique("7")
    done = ledger("adopt", row.content_key, task_id, *WHY, "--yes", "--json")
    assert done.code == 0, done.err
    assert "a further row keeps this one" in done.err
    kept = bench.ledger.by_task_id(task_id)
    assert kept is not None
    assert done.ids == [kept.id]
    assert (kept.content_key, kept.origin_id, kept.extra) == (row.content_key, row.id, True)
    assert "looked at the bill" in kept.note
    assert bench.now(row) == row


@pytest.mark.parametrize("state", [TaskState.UNKNOWN, TaskState.REJECTED])
def test_an_id_of_another_content_is_refused(bench: Bench, ledger: Command, state: TaskState):
    owner = bench.submitted()
    row = bench.in_state(state)
    done = ledger("adopt", row.id, owner.task_id, *WHY, "--yes")
    assert done.code == 1
    assert f"already kept by row {owner.id}" in done.err
    assert bench.now(row) == row


def test_several_rows_that_could_take_it_are_told_apart_by_number(bench: Bench, ledger: Command):
    first = bench.in_state(TaskState.RELEASED)
    bench.age(first, 1000.0)
    second = bench.unknown(first.content_key, expected_latest=first.id)
    done = ledger("adopt", first.content_key, "77", *WHY, "--yes")
    assert done.code == 1
    assert f"Row {first.id}" in done.err
    assert f"Row {second.id}" in done.err
    assert ledger("adopt", first.id, unique("7"), *WHY, "--yes").code == 0


def test_a_late_adoption_says_that_the_result_is_gone(bench: Bench, ledger: Command):
    row = bench.unknown()
    bench.age(row, 13 * 3600.0)
    assert "12 hours" in ledger("adopt", row.id, unique("7"), *WHY, "--yes").err


@pytest.mark.parametrize("task_id", ["", "7 7", "7.392616336519e+18"])
def test_an_id_that_can_not_be_one_is_wrong_use(bench: Bench, ledger: Command, task_id: str):
    row = bench.unknown()
    done = ledger("adopt", row.id, task_id, *WHY, "--yes")
    assert done.code == 2
    assert "TASK_ID" in done.err
    assert bench.now(row) == row


def test_a_row_that_is_gone_can_not_adopt(bench: Bench, ledger: Command):
    assert ledger("adopt", unique(), "77", *WHY, "--yes").code == 1
    with pytest.raises(LostRace):
        LedgerAdmin(bench.url).adopt(999_999_999, "77", reason="x", by="me")
