# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Slots that are derived from rows, and the queue for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from airflow_provider_jimeng.ledger import engine as databases
from airflow_provider_jimeng.ledger.occupancy import count_holders, occupancy
from airflow_provider_jimeng.ledger.records import Claimed, ClaimRequest, LostRace, MustWait, Scope
from airflow_provider_jimeng.ledger.schema import tasks
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.policy.slots import (
    CALL_GRACE_SECONDS,
    CONFIGURED_PROBE_SECONDS,
    COOL_DOWN_SECONDS,
    PROBE_SECONDS,
)

from tests.ledger.kit import Bench, unique

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

HOUR = 3600.0
S = TaskState


@pytest.mark.parametrize(
    ("state", "age", "busy"),
    [
        (S.INTENT, 0.0, True),
        (S.SUBMITTED, 11.9 * HOUR, True),
        (S.SUBMITTED, 12.1 * HOUR, False),
        (S.UNKNOWN, 260.0, True),
        (S.UNKNOWN, 280.0, False),
        (S.SUCCEEDED, 0.0, False),
        (S.LANDED, 0.0, False),
        (S.FAILED, 0.0, False),
        (S.EXPIRED, 0.0, False),
        (S.REJECTED, 0.0, False),
        (S.RELEASED, 0.0, False),
    ],
)
def test_a_row_is_a_busy_slot_or_not(bench: Bench, state: TaskState, age: float, busy: bool):
    row = bench.in_state(state)
    bench.age(row, age)
    view = bench.ledger.slot_view(bench.scope, 2)
    assert (view.in_use, view.limit) == (int(busy), 2)
    assert view.holders == ((bench.now(row),) if busy else ())
    answer = bench.ledger.claim(bench.request(configured_limit=1))
    assert isinstance(answer, MustWait if busy else Claimed)


def test_a_stale_intent_stops_being_busy_for_who_only_reads(bench: Bench):
    row = bench.sent(send_deadline=60.0, expected_seconds=100.0)
    for age, busy in ((100.0, 1), (51.0, 0)):
        bench.age(row, age)
        assert bench.ledger.slot_view(bench.scope, 1).in_use == busy
    assert bench.now(row).state is S.INTENT


def test_an_intent_that_was_never_sent_holds_its_slot_until_nobody_may_send_it_any_more(bench: Bench):
    row = bench.claimed(send_deadline=60.0, expected_seconds=180.0)
    bench.age(row, 59.0)
    assert bench.ledger.slot_view(bench.scope, 1).in_use == 1
    bench.must_wait(configured_limit=1)
    # What was permitted just in time is not visible before it is committed.
    bench.age(row, 2.0)
    assert bench.ledger.slot_view(bench.scope, 1).in_use == 1
    bench.age(row, 5.0)
    assert bench.ledger.slot_view(bench.scope, 1).in_use == 0
    with pytest.raises(LostRace, match="Nothing was sent"):
        bench.ledger.begin_send(row)


def test_an_unknown_that_was_never_sent_holds_nothing_and_is_never_sent(bench: Bench):
    row = bench.claimed(send_deadline=60.0, expected_seconds=180.0)
    bench.age(row, 60.5)
    # The claim itself makes an unknown of it, and has the slot at once.
    other = bench.claimed(configured_limit=1)
    unknown = bench.now(row)
    assert (unknown.state, unknown.never_sent, unknown.possibly_billed) == (S.UNKNOWN, True, False)
    assert bench.ledger.slot_view(bench.scope, 1).holders == (other,)
    for seen in (row, unknown):
        with pytest.raises(LostRace, match="Nothing was sent"):
            bench.ledger.begin_send(seen)
    assert bench.now(row) == unknown


def test_a_permission_that_was_given_in_time_holds_the_slot_though_its_answer_got_lost(bench: Bench):
    row = bench.claimed(send_deadline=60.0, expected_seconds=180.0)
    bench.age(row, 30.0)
    bench.ledger.begin_send(row)
    bench.age(row, 60.5)
    bench.must_wait(configured_limit=1)
    assert (bench.now(row).state, bench.ledger.slot_view(bench.scope, 1).in_use) == (S.UNKNOWN, 1)


def test_a_late_id_of_a_row_that_held_nothing_holds_a_slot(bench: Bench):
    row = bench.claimed(send_deadline=60.0)
    bench.age(row, 61.0)
    bench.found(row.content_key)
    bench.ledger.adopt(row.id, unique("id-"), by="me")
    assert bench.ledger.slot_view(bench.scope, 1).in_use == 1
    bench.must_wait(configured_limit=1)


@pytest.mark.parametrize("expected", [20.0, 180.0])
@pytest.mark.parametrize("sends", [0, 1, 2])
@pytest.mark.parametrize("state", [S.INTENT, S.UNKNOWN, S.SUBMITTED])
def test_who_counts_and_who_lists_agree_at_any_age(
    bench: Bench, state: TaskState, sends: int, expected: float
):
    row = bench.submitted(send_deadline=60.0, expected_seconds=expected)
    bench.write(update(tasks).where(tasks.c.id == row.id).values(state=str(state), send_count=sends))
    row = bench.now(row)

    def read(conn: Connection) -> list[tuple[float, bool, bool]]:
        began, found = row.base, []
        for age in (0.0, 29.5, 30.5, 59.5, 60.5, 64.5, 65.5, 269.5, 270.5, 12 * HOUR - 5.0, 12 * HOUR + 5.0):
            listed = occupancy(conn, bench.scope, began + age).holders
            found.append((age, bool(listed), bool(count_holders(conn, bench.scope, began + age))))
        return found

    seen = bench.ledger._read(read)
    assert [listed for _, listed, _ in seen] == [counted for _, _, counted in seen]
    last = max(age for age, listed, _ in seen if listed)
    never = {S.INTENT: 64.5, S.UNKNOWN: 59.5}
    sent = {
        S.INTENT: 59.5 if expected == 20.0 else 269.5,
        S.UNKNOWN: 29.5 if expected == 20.0 else 269.5,
    }
    assert last == (sent if sends else never).get(state, 12 * HOUR - 5.0)


def test_an_unknown_holds_its_slot_for_its_expected_time_however_long_a_send_may_take(bench: Bench):
    row = bench.unknown(send_deadline=60.0, expected_seconds=20.0)
    for age, busy in ((25.0, 1), (10.0, 0)):
        bench.age(row, age)
        assert bench.ledger.slot_view(bench.scope, 1).in_use == busy
    assert isinstance(bench.ledger.claim(bench.request(configured_limit=1)), Claimed)


def test_twelve_hours_are_counted_from_the_submit_and_not_from_the_intent(bench: Bench):
    row = bench.submitted()
    bench.write(update(tasks).where(tasks.c.id == row.id).values(created_at=tasks.c.created_at - 13 * HOUR))
    assert bench.ledger.slot_view(bench.scope, 1).in_use == 1
    bench.must_wait(configured_limit=1)


def test_slots_are_per_account_endpoint_and_model(bench: Bench):
    bench.claimed(configured_limit=1)
    for field in ("account", "endpoint", "req_key"):
        other: Scope = replace(bench.scope, **{field: unique()})
        bench.claimed(scope=other, configured_limit=1)


def test_who_finds_no_slot_is_told_who_holds_them_oldest_first(bench: Bench):
    first, second = bench.submitted(), bench.submitted()
    bench.age(first, 170.0)
    wait = bench.must_wait()
    assert (wait.reason, wait.in_use, wait.limit, wait.ahead) == ("slots", 2, 2, 0)
    assert [each.id for each in wait.holders] == [first.id, second.id]
    assert 1.0 <= wait.retry_after_seconds <= 10.0
    assert bench.must_wait().ahead == 1


def test_who_finds_no_slot_is_told_when_the_first_holder_is_expected_to_be_done(bench: Bench):
    later = bench.submitted(configured_limit=2, expected_seconds=50.0)
    first = bench.submitted(configured_limit=2, expected_seconds=30.0)
    bench.age(later, 5.0)
    bench.age(first, 10.0)
    assert bench.must_wait().retry_after_seconds == pytest.approx(20.0, abs=3.0)
    bench.age(first, 300.0)
    assert bench.must_wait().retry_after_seconds == 1.0, "one that is overdue is looked at soon"


def test_without_a_slot_at_all_the_wait_is_short_and_has_no_holders(bench: Bench):
    wait = bench.must_wait(configured_limit=0)
    assert (wait.reason, wait.holders, wait.retry_after_seconds) == ("slots", (), 1.0)


def test_a_verdict_recorded_for_an_abandoned_holder_frees_its_slot(bench: Bench):
    abandoned = bench.submitted(configured_limit=1)
    wait = bench.must_wait(waiter="me", configured_limit=1)
    assert wait.holders == (abandoned,)
    bench.ledger.record_expired(abandoned, message="not_found")
    bench.claimed(waiter="me", configured_limit=1)


def queue_up(bench: Bench, *names: str, limit: int = 1) -> dict[str, ClaimRequest]:
    requests = {name: bench.request(waiter=name, configured_limit=limit) for name in names}
    for request in requests.values():
        assert isinstance(bench.ledger.claim(request), MustWait)
    return requests


def test_first_come_first_served(bench: Bench):
    holder = bench.submitted(configured_limit=1)
    requests = queue_up(bench, "a", "b", "c")
    assert bench.ledger.slot_view(bench.scope, 1).entitled == frozenset()
    bench.ledger.record_succeeded(holder)
    view = bench.ledger.slot_view(bench.scope, 1)
    a, b, c = view.waiting
    assert view.entitled == {a}
    for name in ("c", "b"):
        answer = bench.ledger.claim(requests[name])
        assert isinstance(answer, MustWait)
        assert (answer.reason, answer.retry_after_seconds) == ("queue", CALL_GRACE_SECONDS)
    newcomer = bench.must_wait(configured_limit=1)
    assert (newcomer.reason, newcomer.ahead) == ("queue", 3)
    assert isinstance(bench.ledger.claim(requests["a"]), Claimed)
    assert bench.ledger.slot_view(bench.scope, 1).waiting == (b, c, newcomer.ticket_id)


def test_a_waiter_has_one_ticket_however_often_it_asks(bench: Bench):
    bench.submitted(configured_limit=1)
    requests = queue_up(bench, "a", "b")
    first = bench.ledger.claim(requests["a"])
    again = bench.ledger.claim(replace(requests["a"], owner=unique(), content_key=unique()))
    assert isinstance(first, MustWait)
    assert isinstance(again, MustWait)
    assert (first.ticket_id, len(bench.tickets())) == (again.ticket_id, 2)


def test_a_dead_head_blocks_nobody_and_keeps_its_seniority(bench: Bench):
    holder = bench.submitted(configured_limit=1)
    requests = queue_up(bench, "dead", "b", "c")
    bench.ledger.record_succeeded(holder)
    bench.pass_time(CALL_GRACE_SECONDS + 1)
    dead, b, c = bench.ledger.slot_view(bench.scope, 1).waiting
    assert bench.ledger.slot_view(bench.scope, 1).entitled == {dead, b}
    answer = bench.ledger.claim(requests["b"])
    assert isinstance(answer, Claimed)
    # It comes back to a taken slot, and is called first when the next comes free.
    assert isinstance(bench.ledger.claim(requests["dead"]), MustWait)
    bench.ledger.record_rejected(bench.ledger.begin_send(answer.record), message="busy")
    assert bench.ledger.slot_view(bench.scope, 1).entitled == {dead}
    assert isinstance(bench.ledger.claim(requests["c"]), MustWait)
    assert isinstance(bench.ledger.claim(requests["dead"]), Claimed)
    assert bench.ledger.slot_view(bench.scope, 1).waiting == (c,)


def test_a_slot_that_comes_free_by_age_alone_is_offered_past_a_dead_head(bench: Bench):
    unknown = bench.unknown(configured_limit=1)
    requests = queue_up(bench, "dead", "b", "c")
    # 1.5 times 180 s after the send the unknown counts no more, and nobody was there to call anybody.
    bench.pass_time(270.0 + CALL_GRACE_SECONDS + 1)
    bench.age(unknown, 270.0 + CALL_GRACE_SECONDS + 1)
    view = bench.ledger.slot_view(bench.scope, 1)
    assert view.entitled == set(view.waiting[:2])
    assert isinstance(bench.ledger.claim(requests["b"]), Claimed)


def test_a_ticket_that_was_called_a_day_ago_is_cleared_away(bench: Bench):
    holder = bench.submitted(configured_limit=1)
    queue_up(bench, "dead", "b")
    bench.ledger.record_succeeded(holder)
    bench.pass_time(86401.0)
    bench.must_wait(waiter="late", configured_limit=0)
    assert [row.waiter for row in bench.tickets()] == ["b", "late"]


def test_a_dropped_ticket_calls_the_next(bench: Bench):
    holder = bench.submitted(configured_limit=1)
    queue_up(bench, "a", "b")
    bench.ledger.record_succeeded(holder)
    bench.ledger.drop_ticket(bench.scope, "a")
    (left,) = bench.tickets()
    assert left.waiter == "b"
    assert left.called_at is not None
    bench.ledger.drop_ticket(bench.scope, "nobody")
    assert len(bench.tickets()) == 1


def test_a_refusal_cools_everybody_down_and_the_heads_are_called_for_its_end(bench: Bench):
    sent = bench.sent()
    bench.ledger.note_refused(bench.scope, kind="rate", jitter=0.0)
    bench.ledger.record_rejected(sent, message="busy")
    answer = bench.must_wait(waiter="a")
    assert answer.reason == "cooldown"
    assert 0.0 < answer.retry_after_seconds <= 2.0
    view = bench.ledger.slot_view(bench.scope, 2)
    assert view.cooldown_until is not None
    assert (view.entitled, view.waiting) == (frozenset(), (answer.ticket_id,))
    (ticket,) = bench.tickets()
    assert ticket.called_at == pytest.approx(view.cooldown_until)
    bench.pass_time(2.1)
    view = bench.ledger.slot_view(bench.scope, 2)
    assert view.cooldown_until is None
    assert view.entitled == {answer.ticket_id}
    bench.claimed(waiter="a")


def test_the_last_moments_of_a_cool_down_are_waited_for_and_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    # A clock that stands still: a busy machine would let the half second pass.
    backend = bench.url.partition(":")[0].partition("+")[0]
    monkeypatch.setitem(databases._CLOCKS, backend, "1000000.0")
    bench.ledger.note_refused(bench.scope, kind="rate", jitter=0.0)
    monkeypatch.setitem(databases._CLOCKS, backend, "1000001.5")
    wait = bench.must_wait()
    assert (wait.reason, wait.retry_after_seconds) == ("cooldown", 0.5)


def test_with_all_slots_busy_a_cool_down_only_lengthens_the_wait(bench: Bench):
    bench.submitted(configured_limit=1, expected_seconds=1.0)
    bench.ledger.note_refused(bench.scope, kind="rate", retry_after=400.0)
    wait = bench.must_wait(configured_limit=1)
    assert wait.reason == "slots"
    assert wait.retry_after_seconds == pytest.approx(400.0, abs=5.0)


def test_cool_downs_grow_until_an_acceptance(bench: Bench):
    sent = bench.sent()
    for streak in (1, 2, 3):
        bench.ledger.note_refused(bench.scope, kind="rate")
        assert bench.limits_row().cooldown_streak == streak
        bench.pass_time(100.0)
    bench.ledger.record_created(sent, unique())
    assert bench.limits_row().cooldown_streak == 0


def test_an_unconfigured_limit_is_learned_from_acceptances_and_50430(bench: Bench):
    def limit() -> int:
        return bench.ledger.slot_view(bench.scope, None).limit

    assert limit() == 1
    bench.submitted(configured_limit=None)
    assert limit() == 2
    bench.submitted(configured_limit=None)
    third = bench.sent(configured_limit=None)
    bench.ledger.note_refused(bench.scope, kind="concurrency")
    bench.ledger.record_rejected(third, code=50430, message="limit")
    assert limit() == 2
    bench.pass_time(PROBE_SECONDS + 1)
    assert limit() == 3
    bench.submitted(configured_limit=None)
    assert (limit(), bench.limits_row().ceiling) == (4, None)


def test_an_acceptance_that_proves_one_more_slot_calls_who_waits(bench: Bench):
    """Of two unproven slots one was tried; whoever came meanwhile is not left to its own clock."""
    record = bench.sent(configured_limit=None)
    waiting = bench.must_wait(configured_limit=None)
    assert [ticket.called_at for ticket in bench.tickets()] == [None]
    bench.ledger.record_created(record, unique())
    assert [ticket.id for ticket in bench.tickets() if ticket.called_at is not None] == [waiting.ticket_id]
    assert bench.ledger.slot_view(bench.scope, None).entitled == {waiting.ticket_id}


def test_a_refusal_of_the_rate_teaches_no_limit_and_the_callers_count_rules(bench: Bench):
    bench.ledger.note_refused(bench.scope, kind="rate")
    assert bench.limits_row().ceiling is None
    bench.ledger.note_refused(bench.scope, kind="concurrency", in_use=5)
    assert bench.limits_row().ceiling == 5


def test_a_configured_limit_is_lowered_while_the_vendor_allows_fewer(bench: Bench):
    bench.submitted(configured_limit=8)
    bench.ledger.note_refused(bench.scope, kind="concurrency")
    assert bench.ledger.slot_view(bench.scope, 8).limit == 1
    bench.pass_time(CONFIGURED_PROBE_SECONDS)
    assert bench.ledger.slot_view(bench.scope, 8).limit == 1, "the cool-down does not count"
    bench.pass_time(COOL_DOWN_SECONDS + 1)
    assert bench.ledger.slot_view(bench.scope, 8).limit == 8


def test_a_late_id_teaches_nothing_about_the_slots_of_now(bench: Bench):
    unknown = bench.unknown(configured_limit=None)
    bench.ledger.record_created(unknown, unique())
    assert bench.limits_row().proven == 0


def test_looking_writes_nothing(bench: Bench):
    bench.submitted(configured_limit=1)
    queue_up(bench, "a")
    before = (bench.rows(), bench.tickets(), bench.limits_row())
    bench.ledger.slot_view(bench.scope, 1)
    assert (bench.rows(), bench.tickets(), bench.limits_row()) == before
    untouched = replace(bench.scope, req_key="never used")
    view = bench.ledger.slot_view(untouched, None)
    assert (view.in_use, view.limit, view.waiting, view.blocked) == (0, 1, (), None)
