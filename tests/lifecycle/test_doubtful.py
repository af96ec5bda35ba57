# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A submit of which nobody knows the outcome is judged as a pass for its own content would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.exceptions import JimengUnknownSubmitError
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.doubtful import settle_doubt
from airflow_provider_jimeng.lifecycle.wanted import Policies

from tests.ledger.kit import Bench as Rows

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord


@pytest.fixture
def rows(tmp_path: object) -> Rows:
    return Rows(f"sqlite:///{tmp_path}/ledger.db")


def old(rows: Rows, record: TaskRecord) -> TaskRecord:
    rows.age(record, 3600.0)
    return rows.now(record)


def test_an_intent_is_waited_for_as_long_as_it_may_be_sent(rows: Rows) -> None:
    sent = rows.sent()
    assert 0.0 < settle_doubt(rows.ledger, sent, Policies()) <= sent.send_deadline
    assert rows.now(sent) == sent


def test_one_whose_owner_is_silent_becomes_an_unknown_that_a_person_decides_about(rows: Rows) -> None:
    sent = old(rows, rows.sent())
    assert settle_doubt(rows.ledger, sent, Policies()) == 0.0
    unknown = rows.now(sent)
    assert (unknown.state, unknown.possibly_billed) == (TaskState.UNKNOWN, True)
    with pytest.raises(JimengUnknownSubmitError):
        settle_doubt(rows.ledger, unknown, Policies())
    assert rows.now(sent) == unknown


def test_one_that_moved_meanwhile_is_left_to_the_next_look(rows: Rows) -> None:
    sent = old(rows, rows.sent())
    taken = rows.ledger.record_created(sent, "7701")
    assert settle_doubt(rows.ledger, sent, Policies()) == 0.0
    assert rows.now(sent) == taken


def test_what_the_user_chose_to_submit_again_is_released_after_three_deadlines(rows: Rows) -> None:
    resubmit = Policies(on_unknown_submit="resubmit")
    unknown = rows.unknown()
    assert 0.0 < settle_doubt(rows.ledger, unknown, resubmit) <= unknown.resubmit_age_seconds
    assert rows.now(unknown) == unknown
    assert settle_doubt(rows.ledger, old(rows, unknown), resubmit) == 0.0
    assert rows.now(unknown).state is TaskState.RELEASED
