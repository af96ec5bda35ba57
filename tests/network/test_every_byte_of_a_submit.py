# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A submit cut at every byte of its request and of its answer: paid once at most, and told as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest

from airflow_provider_jimeng.exceptions import JimengError, JimengUnknownSubmitError
from airflow_provider_jimeng.lifecycle.ensured import Ensured, InHand

from tests.network.kit import Way, accepted_of
from tests.network.proxy import Passage, Proxy, Trouble, is_whole

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator import Emulator
    from airflow_provider_jimeng.ledger.records import TaskRecord

#: A thousand submits on a machine that does other things too.
pytestmark = pytest.mark.timeout(400)
#: Cuts with RST take another way through the kernel and the client; every so many bytes show it.
RESET_STEP = 7


@dataclass(frozen=True, slots=True)
class Case:
    """
    One content with one cut, submitted twice.

    :param passages: of the first try.
    :param sent_again: connections of the second try.
    """

    name: str
    passages: list[Passage]
    first: Ensured | JimengError
    row: TaskRecord
    second: Ensured | JimengError
    after: TaskRecord
    sent_again: int


def lengths_of(way: Way, proxy: Proxy, prefix: str) -> tuple[int, int]:
    """Return how long a request and its answer are; the other contents' are as long, their names being so."""
    way.submit(f"{prefix}-base")
    (whole,) = proxy.settled()
    proxy.passages.clear()
    assert is_whole(whole.request)
    return len(whole.request), len(whole.answer)


def cut_and_try_again(way: Way, proxy: Proxy, troubles: Iterable[Trouble], prefix: str) -> list[Case]:
    cases = []
    for number, trouble in enumerate(troubles):
        name = f"{prefix}-{number:04d}"
        lane = way.of_account(name)
        proxy.trouble = trouble
        first = lane.submit(name)
        passages, row = list(proxy.settled()), lane.row(name)
        proxy.passages.clear()
        proxy.trouble = Trouble()
        second = lane.submit(name)
        sent_again = len(proxy.settled())
        proxy.passages.clear()
        cases.append(Case(name, passages, first, row, second, lane.row(name), sent_again))
    return cases


def check(cases: list[Case], accepted: dict[str, list[str]]) -> Counter[str]:
    """Hold every case against what the vendor accepted and what the proxy let through."""
    seen: Counter[str] = Counter()
    for case in cases:
        ids, state = accepted.get(case.name, []), str(case.row.state)
        assert len(ids) <= 1, f"{case.name} was paid twice"
        assert len(case.passages) <= 1, f"{case.name}: one try, one connection"
        if state == "submitted":
            assert [case.row.task_id] == ids
            assert isinstance(case.first, InHand)
            assert isinstance(case.second, InHand)
            assert case.sent_again == 0
        elif state == "rejected":
            assert sum(each.offered for each in case.passages) == 0, "it may have been sent"
            assert isinstance(case.second, InHand)
            assert [case.after.task_id] == ids
        else:
            assert state == "unknown"
            assert isinstance(case.first, JimengUnknownSubmitError)
            assert isinstance(case.second, JimengUnknownSubmitError)
            assert case.sent_again == 0, f"{case.name} was sent again by itself"
            assert str(case.after.state) == "unknown"
            assert case.row.possibly_billed
        seen[f"{state}, accepted {len(ids)}"] += 1
    return seen


def requests_cut(length: int, step: int, how: Literal["close", "reset"]) -> list[Trouble]:
    return [Trouble(request_bytes=at, how=how) for at in range(0, length + 1, step)]


def answers_cut(length: int, step: int, how: Literal["close", "reset"]) -> list[Trouble]:
    # The time that an answer tells varies in length.
    return [Trouble(answer_bytes=at, how=how) for at in range(0, length + 8, step)]


def test_a_request_cut_at_every_byte_is_unknown_and_never_sent_again(
    way: Way, proxy: Proxy, emu: Emulator
) -> None:
    length, _ = lengths_of(way, proxy, "request")
    cases = cut_and_try_again(way, proxy, requests_cut(length, 1, "close"), "request")

    seen = check(cases, accepted_of(emu))
    assert seen.total() == length + 1
    assert seen["unknown, accepted 0"] == length, "a request that is not whole creates nothing"
    assert seen["unknown, accepted 1"] == 1, "a whole one does, whether or not an answer comes"


def test_an_answer_cut_at_every_byte_is_unknown_or_kept_and_never_paid_twice(
    way: Way, proxy: Proxy, emu: Emulator
) -> None:
    _, length = lengths_of(way, proxy, "answer")
    cases = cut_and_try_again(way, proxy, answers_cut(length, 1, "close"), "answer")

    seen = check(cases, accepted_of(emu))
    assert set(seen) == {"unknown, accepted 1", "submitted, accepted 1"}
    for case in cases:
        answer = bytes(case.passages[0].answer)
        whole = answer.endswith(b'ms"}')
        assert str(case.row.state) == ("submitted" if whole else "unknown"), answer


def test_resets_in_place_of_closes_cost_no_more(way: Way, proxy: Proxy, emu: Emulator) -> None:
    request, answer = lengths_of(way, proxy, "resets")
    troubles = requests_cut(request, RESET_STEP, "reset") + answers_cut(answer, RESET_STEP, "reset")
    cases = cut_and_try_again(way, proxy, troubles, "resets")

    seen = check(cases, accepted_of(emu))
    assert seen.total() == len(troubles)
    assert seen["unknown, accepted 0"] >= request // RESET_STEP - 1
    assert seen["unknown, accepted 1"] >= answer // RESET_STEP - 1


def test_a_person_who_finds_the_id_in_a_cut_answer_brings_it_home(
    way: Way, proxy: Proxy, emu: Emulator
) -> None:
    _, length = lengths_of(way, proxy, "found")
    # Behind the id, before the end.
    proxy.trouble = Trouble(answer_bytes=length - 5)
    way.submit("found-0001")
    row = way.row("found-0001")
    (task_id,) = accepted_of(emu)["found-0001"]

    assert str(row.state) == "unknown"
    assert task_id in row.message
    way.ledger.adopt(row.id, task_id, by="test")
    assert isinstance(way.submit("found-0001"), InHand)
    assert emu.accepted == 2
