# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``ledger forget``: a landing, a row, or all rows of a content."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete

from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.schema import landings, tasks
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import SHA, Bench, unique

if TYPE_CHECKING:
    from tests.cli.conftest import Command

WHY = ("--reason", "the bucket was emptied")


def account_note(bench: Bench) -> str:
    (found,) = LedgerAdmin(bench.url).census(bench.scope.account)
    return found.note


def test_a_landing_is_forgotten_and_the_row_says_so(bench: Bench, ledger: Command):
    row = bench.landed()
    (place,) = bench.ledger.landings(row.content_key)
    done = ledger("forget", f"file://{place.uri}", *WHY, "--yes")
    assert done.code == 0, done.err
    assert done.out == f"{place.uri} is forgotten.\n"
    assert "on_missing_output" in done.err
    assert bench.ledger.landings(row.content_key) == []
    now = bench.now(row)
    assert (now.state, now.revision) == (TaskState.LANDED, row.revision)
    assert f"landing {place.uri} forgotten by " in now.note
    assert now.note.endswith("the bucket was emptied")


def test_other_landings_are_counted(bench: Bench, ledger: Command):
    row = bench.landed()
    uri = f"/out/{unique()}.mp4"
    bench.ledger.record_landing(row, uri=uri, size=1, sha256=SHA)
    done = ledger("forget", uri, *WHY, "--yes", "--json")
    assert "1 other landings" in done.err
    assert done.lines[0]["uri"] == uri
    assert len(bench.ledger.landings(row.content_key)) == 1


def test_another_picture_of_the_same_task_is_no_copy_of_one(bench: Bench, ledger: Command):
    row = bench.landed(scope=replace(bench.scope, req_key="jimeng_t2i_v40"))
    copies = [f"/out/{unique()}-2.png" for _ in range(2)]
    for uri in copies:
        bench.ledger.record_landing(row, uri=uri, size=1, sha256=SHA, part=2)
    assert "1 other landings" in ledger("forget", copies[0], *WHY, "--yes").err
    assert "No other landing" in ledger("forget", copies[1], *WHY, "--yes").err


def test_a_landing_without_a_row_is_forgotten(bench: Bench, ledger: Command):
    row = bench.landed()
    (place,) = bench.ledger.landings(row.content_key)
    bench.write(delete(tasks).where(tasks.c.id == row.id))
    assert ledger("forget", place.uri, *WHY, "--yes").code == 0
    assert bench.ledger.landing_at(place.uri) is None


def test_a_landing_that_went_meanwhile_is_told(bench: Bench):
    assert bench.ledger.uuid
    admin = LedgerAdmin(bench.url)
    with pytest.raises(LostRace, match="no landing there"):
        admin.forget_landing("/out/nowhere.mp4", reason="x", by="me")


def test_a_landing_that_changed_hands_meanwhile_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    from airflow_provider_jimeng.ledger import rows, upkeep

    row = bench.landed()
    (place,) = bench.ledger.landings(row.content_key)
    plain = rows.must_get

    def moved(conn, record_id, **options):
        conn.execute(delete(landings).where(landings.c.id == place.id))
        return plain(conn, record_id, **options)

    monkeypatch.setattr(upkeep, "must_get", moved)
    with pytest.raises(LostRace, match="meanwhile"):
        LedgerAdmin(bench.url).forget_landing(place.uri, reason="x", by="me")
    assert bench.ledger.landing_at(place.uri) == place  # its transaction was undone


@pytest.mark.parametrize(
    ("state", "cost"),
    [
        (TaskState.LANDED, "pays for it again"),
        (TaskState.FAILED, "submits again"),
        (TaskState.EXPIRED, "may have been billed"),
        (TaskState.REJECTED, "Nothing was paid"),
        (TaskState.RELEASED, "may have been billed"),
    ],
)
def test_a_row_is_forgotten_with_its_landings(bench: Bench, ledger: Command, state: TaskState, cost: str):
    row = bench.in_state(state)
    uris = [each.uri for each in bench.ledger.landings(row.content_key)]
    done = ledger("forget", row.id, *WHY, "--yes")
    assert done.code == 0, done.err
    assert cost in done.err
    assert all(uri in done.err for uri in uris)
    assert bench.ledger.get(row.id) is None
    assert bench.ledger.landings(row.content_key) == []
    note = account_note(bench)
    assert f"row {row.id} (content {row.content_key}, attempt 1, {state}, task {row.task_id})" in note
    assert note.endswith("the bucket was emptied")
    assert bench.claimed(row.content_key).attempt == 1


@pytest.mark.parametrize(
    "state", [TaskState.INTENT, TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.UNKNOWN]
)
def test_what_may_be_lost_money_can_not_be_forgotten(bench: Bench, ledger: Command, state: TaskState):
    row = bench.in_state(state)
    done = ledger("forget", row.id, *WHY, "--yes")
    assert done.code == 1
    assert "can't be forgotten" in done.err
    with pytest.raises(LostRace, match="paid task would be lost"):
        LedgerAdmin(bench.url).forget_row(row, reason="x", by="me")
    assert bench.now(row) == row


def test_a_superseded_row_can_be_forgotten(bench: Bench, ledger: Command):
    row = bench.succeeded()
    newer = bench.submitted(row.content_key, expected_latest=row.id, supersede=True)
    done = ledger("forget", row.id, *WHY, "--yes")
    assert done.code == 0, done.err
    assert f"these stay: row {newer.id} (submitted)" in done.err
    assert bench.now(newer) == newer


def test_a_superseded_row_that_stands_again_can_not_be_forgotten(bench: Bench, ledger: Command):
    row = bench.succeeded()
    again = bench.claimed(row.content_key, expected_latest=row.id, supersede=True)
    seen = bench.now(row)
    bench.ledger.record_rejected(again, message="busy")
    done = ledger("forget", str(row.id), *WHY, "--yes")
    assert done.code != 0
    assert "can't be forgotten" in done.err
    with pytest.raises(LostRace, match="paid task would be lost"):
        LedgerAdmin(bench.url).forget_row(seen, reason="why", by="test")
    assert bench.now(row).state is TaskState.SUCCEEDED


def test_all_rows_of_a_content_go_by_its_key(bench: Bench, ledger: Command):
    first = bench.in_state(TaskState.RELEASED)
    second = bench.landed(first.content_key, expected_latest=first.id)
    done = ledger("forget", first.content_key, *WHY, "--yes", "--json")
    assert done.ids == [first.id, second.id]
    assert bench.ledger.history(first.content_key) == []


def test_one_row_that_must_stay_keeps_all(bench: Bench, ledger: Command):
    first = bench.in_state(TaskState.RELEASED)
    second = bench.submitted(first.content_key, expected_latest=first.id)
    assert ledger("forget", first.content_key, *WHY, "--yes").code == 1
    assert bench.ledger.history(first.content_key) == [first, second]


def test_a_row_that_changed_since_it_was_seen_stays(bench: Bench):
    row = bench.in_state(TaskState.RELEASED)
    bench.ledger.record_created(row, unique("late-"))
    with pytest.raises(LostRace, match="meanwhile"):
        LedgerAdmin(bench.url).forget_row(row, reason="x", by="me")


def test_forgetting_is_asked_for(bench: Bench, ledger: Command):
    row = bench.landed()
    (place,) = bench.ledger.landings(row.content_key)
    for target in (row.id, row.content_key, place.uri):
        assert ledger("forget", target, *WHY).code == 3
        assert ledger("forget", target, *WHY, typed="no").code == 3
    assert bench.now(row) == row
    assert bench.ledger.landings(row.content_key) == [place]


def test_what_is_not_there_is_told(ledger: Command):
    done = ledger("forget", "/out/nothing.mp4", *WHY, "--yes")
    assert done.code == 1
    assert "/out/nothing.mp4" in done.err
