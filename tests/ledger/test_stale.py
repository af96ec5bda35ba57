# Licensed under the Apache License, Version 2.0. See LICENSE.
"""An intent whose owner fell silent, by the database's clock."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.ledger import moves
from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, until

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from airflow_provider_jimeng.ledger.records import TaskRecord

S = TaskState


def test_the_clock_is_the_databases_and_has_fractions_of_a_second(bench: Bench):
    seen = [bench.ledger.now() for _ in range(20)]
    assert seen == sorted(seen)
    assert abs(seen[0] - time.time()) < 5.0  # the same host here
    assert any(each % 1.0 for each in seen)


@pytest.mark.parametrize("same_key", [True, False])
def test_a_claim_makes_unknown_of_every_stale_intent_of_its_scope(bench: Bench, same_key: bool):
    stale, fresh = bench.sent(send_deadline=60.0), bench.sent(send_deadline=60.0)
    bench.age(stale, 60.5)
    bench.age(fresh, 50.0)
    if same_key:
        assert bench.found(stale.content_key).state is S.UNKNOWN
    else:
        bench.must_wait()
    row = bench.now(stale)
    assert (row.state, row.possibly_billed, row.revision) == (S.UNKNOWN, True, stale.revision + 1)
    assert "a task may exist" in row.message
    assert bench.now(fresh).state is S.INTENT


def test_a_stale_intent_that_was_never_sent_says_so(bench: Bench):
    stale = bench.claimed(send_deadline=60.0)
    bench.age(stale, 61.0)
    row = bench.found(stale.content_key)
    assert (row.state, row.never_sent, row.possibly_billed) == (S.UNKNOWN, True, False)
    assert "nothing was sent" in row.message


def test_another_scopes_stale_intent_is_left_to_its_own_claims(bench: Bench):
    stale = bench.sent()
    bench.age(stale, 61.0)
    other = Bench(bench.url)
    other.claimed()
    assert bench.now(stale).state is S.INTENT


def test_an_owner_that_comes_back_too_late_may_not_send(bench: Bench):
    intent = bench.claimed(send_deadline=60.0)
    bench.age(intent, 60.5)
    with pytest.raises(LostRace, match="older than 60 s"):
        bench.ledger.begin_send(intent)
    row = bench.now(intent)
    assert (row.state, row.send_count) == (S.INTENT, 0)


def test_a_second_send_is_counted_from_the_first(bench: Bench):
    first = bench.sent(send_deadline=60.0)
    bench.age(first, 50.0)
    second = bench.ledger.begin_send(bench.now(first))
    assert second.sent_at == pytest.approx(bench.ledger.now(), abs=5.0)
    bench.age(second, 60.5)
    with pytest.raises(LostRace):
        bench.ledger.begin_send(second)


def test_a_claim_sees_a_permission_that_was_given_in_time_and_is_committed_late(bench: Bench):
    """Neither the slot nor the row is taken for free by who counts in between."""
    row = bench.claimed(send_deadline=60.0)
    bench.age(row, 59.7)
    given, commit = threading.Event(), threading.Event()

    def give(conn: Connection) -> TaskRecord:
        begun = moves.begin_send(conn, row, "token")
        given.set()
        assert commit.wait(10.0)
        return begun

    with ThreadPoolExecutor(2) as pool:
        begun = pool.submit(database_for(bench.url).write, give)
        assert given.wait(10.0)
        until(lambda: time.time() - row.created_at > 0.5)
        waiting = pool.submit(bench.must_wait, configured_limit=1)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.3)
        commit.set()
        assert begun.result().send_count == 1
        assert waiting.result().in_use == 1
    assert bench.now(row).state is S.INTENT


def test_the_late_answer_of_a_silent_owner_is_kept(bench: Bench):
    sent = bench.sent()
    bench.age(sent, 61.0)
    assert bench.found(sent.content_key).state is S.UNKNOWN
    assert bench.ledger.record_created(sent, "late").state is S.SUBMITTED


def test_a_late_answer_can_also_be_no(bench: Bench):
    sent = bench.sent()
    bench.age(sent, 61.0)
    bench.found(sent.content_key)
    assert bench.ledger.record_rejected(sent, code=50430, message="busy").state is S.RELEASED
