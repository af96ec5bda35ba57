# Licensed under the Apache License, Version 2.0. See LICENSE.
"""An unknown is released or adopted as by the command: with a reason, recorded, and only as it was seen."""

from __future__ import annotations

import pytest

from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ui.decisions import NotOfThisDag, adopt, release, unknowns
from airflow_provider_jimeng.ui.request import Asked

from tests.ui.rows import DAG, RUN, Rows

ASKED = Asked.of(DAG, RUN, ["imitate"])
WHO = "anna in Airflow's UI"


@pytest.fixture
def admin(rows: Rows) -> LedgerAdmin:
    assert rows.bench.ledger.uuid
    return LedgerAdmin(rows.bench.url)


def test_a_release_is_recorded_with_who_and_why(rows: Rows, admin: LedgerAdmin):
    row = rows.unknown(ago=4000)

    done = release(admin, DAG, row.id, revision=row.revision, reason="not in the console", by=WHO)

    after = rows.bench.now(row)
    assert (done["state"], after.state) == ("released", TaskState.RELEASED)
    assert WHO in after.note
    assert "not in the console" in after.note


def test_a_young_unknown_waits_since_its_send_may_be_on_its_way(rows: Rows, admin: LedgerAdmin):
    row = rows.unknown(ago=10)

    (told,) = unknowns(admin, ASKED)["unknowns"]
    with pytest.raises(LostRace):
        release(admin, DAG, row.id, revision=row.revision, reason="because", by=WHO)

    assert 165 < told["wait_seconds"] <= 170
    assert rows.bench.now(row).state is TaskState.UNKNOWN


def test_an_intent_that_fell_silent_unsent_is_released_at_once(rows: Rows, admin: LedgerAdmin):
    row = rows.bench.claimed(provenance=rows.unknown().provenance, configured_limit=9)
    rows.bench.age(row, 100)

    told = next(each for each in unknowns(admin, ASKED)["unknowns"] if each["id"] == row.id)
    release(admin, DAG, row.id, revision=row.revision, reason="because", by=WHO)

    assert (told["never_sent"], told["wait_seconds"]) == (True, 0.0)
    assert rows.bench.now(row).state is TaskState.RELEASED


def test_an_adopted_id_is_waited_for(rows: Rows, admin: LedgerAdmin):
    row = rows.unknown()

    done = adopt(admin, DAG, row.id, revision=row.revision, task_id=" 7712 ", reason="console", by=WHO)

    after = rows.bench.now(row)
    assert (done["state"], after.state, after.task_id) == ("submitted", TaskState.SUBMITTED, "7712")
    assert f"{WHO}: console" in after.note


def test_an_id_that_another_row_keeps_is_refused_without_telling_whose(rows: Rows, admin: LedgerAdmin):
    other = Rows(rows.bench.url, rows.folder, dag="secret-dag")
    taken, row = other.submitted(), rows.unknown()
    assert taken.task_id is not None

    with pytest.raises(LostRace) as told:
        adopt(admin, DAG, row.id, revision=row.revision, task_id=taken.task_id, reason="console", by=WHO)

    assert str(taken.id) not in str(told.value).split()
    assert rows.bench.now(row) == row


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 3000])
def test_an_id_in_no_good_form_is_refused(rows: Rows, admin: LedgerAdmin, text: str):
    row = rows.unknown()
    with pytest.raises(JimengInputError):
        adopt(admin, DAG, row.id, revision=row.revision, task_id=text, reason="console", by=WHO)
    assert rows.bench.now(row) == row


def test_what_was_changed_meanwhile_is_left_alone(rows: Rows, admin: LedgerAdmin):
    row = rows.unknown(ago=4000)
    rows.bench.ledger.record_created(row, "late-id", None)

    with pytest.raises(LostRace, match="changed meanwhile"):
        release(admin, DAG, row.id, revision=row.revision, reason="because", by=WHO)

    assert rows.bench.now(row).task_id == "late-id"


def test_there_is_nothing_to_decide_about_a_row_that_is_known(rows: Rows, admin: LedgerAdmin):
    row = rows.submitted()
    with pytest.raises(LostRace, match="nobody has to decide"):
        release(admin, DAG, row.id, revision=row.revision, reason="because", by=WHO)
    assert rows.bench.now(row) == row


def test_a_row_of_another_dag_is_no_row(rows: Rows, admin: LedgerAdmin):
    row = rows.unknown(ago=4000)
    with pytest.raises(NotOfThisDag):
        release(admin, "other", row.id, revision=row.revision, reason="because", by=WHO)
    with pytest.raises(NotOfThisDag):
        release(admin, DAG, 10**6, revision=1, reason="because", by=WHO)


def test_unknowns_of_the_dags_other_runs_come_after_the_runs_own(rows: Rows, admin: LedgerAdmin):
    mine = rows.unknown(ago=50_000)
    other = Rows(rows.bench.url, rows.folder, run="other").unknown()
    Rows(rows.bench.url, rows.folder, dag="another").unknown()

    told = unknowns(admin, ASKED)

    assert [(each["id"], each["mine"]) for each in told["unknowns"]] == [(mine.id, True), (other.id, False)]
    assert [each["forgotten"] for each in told["unknowns"]] == [True, False]
    assert told["unknowns"][0]["image"] == "https://media.example/character-01.png"
