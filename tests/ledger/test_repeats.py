# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A commit can fail after it was applied; whoever repeats a call then finds what it did, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.engine import Database
from airflow_provider_jimeng.ledger.records import Claimed, LostRace
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import SHA, Bench, unique


class LostAnswers:
    """Applies writes and loses the answers to the first of them: a server that dies after its commit."""

    def __init__(self, once: Callable[..., Any]) -> None:
        self.once = once
        self.losses = 0
        self.calls = 0

    def __call__(self, database: Database, work: Any, *, write: bool) -> Any:
        answer = self.once(database, work, write=write)
        if write:
            self.calls += 1
            if self.losses:
                self.losses -= 1
                raise OperationalError(
                    "COMMIT", {}, Exception("server closed the connection"), connection_invalidated=True
                )
        return answer


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> LostAnswers:
    made = LostAnswers(Database._once)
    monkeypatch.setattr(Database, "_once", lambda *args, **kwargs: made(*args, **kwargs))
    monkeypatch.setattr(engine, "_pause", lambda number: None)
    return made


WRITES: dict[str, tuple[Callable[[Bench], Any], Callable[[Bench, Any], Any]]] = {
    "claim": (lambda b: b.request(), lambda b, r: b.ledger.claim(r)),
    "wait": (lambda b: b.request(configured_limit=0), lambda b, r: b.ledger.claim(r)),
    "begin_send": (lambda b: b.claimed(), lambda b, r: b.ledger.begin_send(r)),
    "created": (lambda b: b.sent(), lambda b, r: b.ledger.record_created(r, "id-" + r.content_key)),
    "extra": (lambda b: b.submitted(), lambda b, r: b.ledger.record_created(r, "more-" + r.content_key)),
    "rejected": (lambda b: b.sent(), lambda b, r: b.ledger.record_rejected(r, message="m")),
    "late_rejected": (lambda b: b.unknown(), lambda b, r: b.ledger.record_rejected(r, message="m")),
    "unknown": (lambda b: b.sent(), lambda b, r: b.ledger.record_unknown(r, message="m")),
    "release": (lambda b: b.unknown(), lambda b, r: b.ledger.release(r.id, reason="r", by="b")),
    "adopt": (lambda b: b.unknown(), lambda b, r: b.ledger.adopt(r.id, "a-" + r.content_key, "b")),
    "succeeded": (lambda b: b.submitted(), lambda b, r: b.ledger.record_succeeded(r)),
    "failed": (lambda b: b.submitted(), lambda b, r: b.ledger.record_failed(r, message="m")),
    "expired": (lambda b: b.submitted(), lambda b, r: b.ledger.record_expired(r, message="m")),
    "landing": (
        lambda b: b.succeeded(),
        lambda b, r: b.ledger.record_landing(r, uri="/" + r.content_key, size=1, sha256=SHA),
    ),
    "refused": (lambda b: None, lambda b, r: b.ledger.note_refused(b.scope, kind="rate")),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_lost_answer_is_made_good_without_a_second_effect(bench: Bench, answers: LostAnswers, name: str):
    prepare, call = WRITES[name]
    bench.ledger.now()
    given = prepare(bench)
    answers.calls, answers.losses = 0, 1
    call(bench, given)
    assert answers.calls == 2
    rows, tickets = bench.rows(), bench.tickets()
    bench.ledger.close()

    other = Bench(bench.url)
    call(other, prepare(other))

    def shape(each: list[Any]) -> list[Any]:
        # A landing that is written twice is news twice, and that is all that a revision of its row says.
        revisions = 0 if name == "landing" else 1
        return [(row.state, row.attempt, row.revision * revisions, row.send_count) for row in each]

    assert shape(rows) == shape(other.rows())
    assert len(tickets) == len(other.tickets())
    if name == "refused":
        assert bench.limits_row().cooldown_streak == 1


def test_a_claim_whose_answers_are_all_lost_can_be_repeated_by_the_caller(bench: Bench, answers: LostAnswers):
    request = bench.request()
    answers.losses = 100
    with pytest.raises(JimengLedgerError, match="server closed the connection"):
        bench.ledger.claim(request)
    answers.losses = 0
    assert isinstance(bench.ledger.claim(request), Claimed)
    assert len(bench.rows()) == 1


def test_a_permission_to_send_whose_answers_are_all_lost_can_be_asked_for_again_once(
    bench: Bench, answers: LostAnswers
):
    intent = bench.claimed()
    answers.losses = 100
    with pytest.raises(JimengLedgerError) as caught:
        bench.ledger.begin_send(intent)
    assert not isinstance(caught.value, LostRace)
    answers.losses = 0
    begun = bench.ledger.begin_send(intent)
    assert (begun.send_count, begun.state) == (1, TaskState.INTENT)
    with pytest.raises(LostRace):
        bench.ledger.begin_send(intent)


def test_a_permission_asked_for_again_too_late_is_refused(bench: Bench, answers: LostAnswers):
    intent = bench.claimed()
    answers.losses = 100
    with pytest.raises(JimengLedgerError):
        bench.ledger.begin_send(intent)
    answers.losses = 0
    bench.age(intent, 61.0)
    with pytest.raises(LostRace):
        bench.ledger.begin_send(intent)


def test_a_transaction_that_failed_for_good_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ValueError("half way")

    monkeypatch.setattr("airflow_provider_jimeng.ledger.claim.insert_task", broken)
    with pytest.raises(JimengLedgerError, match="ValueError: half way"):
        bench.ledger.claim(bench.request())
    monkeypatch.undo()
    assert (bench.rows(), bench.tickets()) == ([], [])


def test_tries_end(bench: Bench, answers: LostAnswers):
    request = bench.request(configured_limit=0, waiter=unique())
    bench.ledger.now()
    answers.calls, answers.losses = 0, 100
    with pytest.raises(JimengLedgerError):
        bench.ledger.claim(request)
    assert answers.calls == engine.TRIES
