# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Ten thousand damaged answers: no id is made up, nothing ambiguous is *not created*, no paid task is failed.

What is allowed is written down here a second time, from the vendor's documents and not from the code's table.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_jimeng.api.parsing import parse_answer
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    decide_poll,
)
from airflow_provider_jimeng.policy.submit import SubmitKind, SubmitOutcome, judge_submit

from tests.api.mutations import Mutant, mutants

if TYPE_CHECKING:
    from airflow_provider_jimeng.api.models import Answer

COUNT = 10_000
#: Business codes by which the vendor refuses a submit, and nothing else (interface document, vendor facts 3).
REFUSALS = {
    50411, 50511, 50412, 50512, 50413, 50429, 50430, 50200, 50201, 50204, 50205, 50206, 50207, 50209, 50210,
    50211, 50213, 50214, 50215, 50218, 50400, 50402, 50513, 50514, 50516, 50517, 50518, 50519, 60102, 60208,
}  # fmt: skip
REVIEWERS = {50520, 50521, 50522}
#: What the gateway stops before the service sees it.
STOPPED = {
    100002, 100003, 100004, 100005, 100006, 100007, 100008, 100009, 100010, 100011, 100012, 100013, 100018,
    100020, 100021, 100024, 100025, 100026, 100027, 100034, *range(100028, 100034), 100036,
}  # fmt: skip
#: Codes of the call and not of the task: limits and credentials, and what was wrong with the question.
OF_THE_CALL = {50429, 50430, 50400, 50402, *STOPPED}
ABOUT_TASKS = (REFUSALS | REVIEWERS) - OF_THE_CALL - {50200, 50201, 50204, 50213}
TWICE = {"code", "data", "task_id", "status", "video_url", "ResponseMetadata", "Error", "Code", "CodeN"}


class Ambiguous(ValueError):
    pass


def read(body: bytes) -> dict[str, Any] | None:
    """Read an answer that means one thing, else nothing."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs) and any(name in TWICE and fields[name] != each for name, each in pairs):
            raise Ambiguous
        return fields

    try:
        # Thousands of digits are no number to anybody.
        found = json.loads(
            body.strip().decode("utf-8-sig", "replace"),
            object_pairs_hook=once,
            parse_int=lambda digits: int(digits) if len(digits) <= 200 else digits,
        )
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 200:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def ids_in(value: Any) -> Iterator[Any]:
    """Yield whatever stands under ``task_id``, at any depth."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "task_id":
                yield each
            yield from ids_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from ids_in(each)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(each)


def gateway_error(document: dict[str, Any]) -> dict[str, Any] | None:
    metadata = document.get("ResponseMetadata")
    error = metadata.get("Error") if isinstance(metadata, dict) else None
    return error if isinstance(error, dict) else None


def may_be_not_created(mutant: Mutant) -> bool:
    """Tell whether it is certain that nothing was created."""
    document = read(mutant.body)
    refused_by_status = 400 <= mutant.http_status < 500 and mutant.http_status not in (408, 499)
    if document is None:
        return mutant.http_status == 407
    if not all(
        each in (None, "", 0) or (isinstance(each, str) and set(each) == {"0"}) for each in ids_in(document)
    ):
        return False
    code, error = number(document.get("code")), gateway_error(document)
    if error is None:
        if code is None:
            return mutant.http_status == 407
        if code in REVIEWERS:
            return mutant.http_status < 500
        return code in REFUSALS or (code not in (10000, 50500, 50501) and refused_by_status)
    if code == 10000:
        # Success and failure at once; but what a proxy does not let through has not been anywhere.
        return mutant.http_status == 407
    inner = {number(error.get("Code")), number(error.get("CodeN"))} - {None}
    return bool(inner & (REFUSALS | STOPPED | REVIEWERS)) or refused_by_status


def is_an_id(task_id: str, document: dict[str, Any]) -> bool:
    data = document.get("data")
    value = data.get("task_id") if isinstance(data, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        return False
    text = str(value).strip()
    nothing = text.lower() in {"null", "none", "undefined", "nan", "nil"} or not text.strip("0")
    return text == task_id and text.isprintable() and len(text.split()) == 1 and not nothing


def check_submit(mutant: Mutant, outcome: SubmitOutcome) -> None:
    if outcome.kind is SubmitKind.CREATED:
        document = read(mutant.body)
        assert document is not None
        assert outcome.task_id
        assert is_an_id(outcome.task_id, document)
    else:
        assert outcome.task_id is None
    if outcome.kind is SubmitKind.NOT_CREATED:
        assert may_be_not_created(mutant)


def has_verdict(mutant: Mutant, *, lasting: bool) -> bool:
    """Tell whether the vendor says, beyond doubt, that the task failed."""
    document = read(mutant.body)
    if document is None:
        return False
    data = document.get("data")
    status = data.get("status") if isinstance(data, dict) else None
    code, error = number(document.get("code")), gateway_error(document)
    if error is not None:
        inner = {number(error.get("Code")), number(error.get("CodeN"))}
        return code != 10000 and bool(inner & (ABOUT_TASKS if lasting else ABOUT_TASKS - {50215}))
    if code is None or code == 10000:
        return False
    if status == "done":
        return lasting or code not in OF_THE_CALL
    return code in ABOUT_TASKS and (lasting or code != 50215)


def check_query(mutant: Mutant, decision: PollDecision, *, lasting: bool) -> None:
    if decision.kind is PollKind.SUCCEEDED:
        document = read(mutant.body)
        assert document is not None
        assert number(document.get("code")) == 10000 or gateway_error(document) is not None
        assert document["data"]["status"] == "done"
        assert str(decision.video_url).startswith(("http://", "https://"))
        assert decision.video_url in list(texts_in(document["data"]))
    elif decision.kind is PollKind.FAILED:
        assert has_verdict(mutant, lasting=lasting)
    elif decision.kind is PollKind.EXPIRED:
        document = read(mutant.body)
        assert lasting
        assert document is not None
        assert document["data"]["status"].strip() in ("not_found", "expired")
    else:
        assert decision.kind in (PollKind.WAIT, PollKind.HOLD)


def ask(answer: Answer, times: int) -> PollDecision:
    """Get the same answer again and again, an hour after the submit."""
    state, decision = PollState(), PollDecision(PollKind.WAIT)
    for turn in range(times):
        if not decision.final:
            state, decision = decide_poll(
                state,
                answer,
                now=3600.0 + 20.0 * turn,
                submitted_at=0.0,
                deadline=None,
                settings=PollSettings(),
            )
            assert decision.retry_after is None or 0 <= decision.retry_after <= 300
            PollState.from_dict(json.loads(json.dumps(state.to_dict())))
    return decision


def check(mutant: Mutant) -> tuple[SubmitKind, PollKind]:
    answer = parse_answer(mutant.http_status, mutant.headers, mutant.body)
    outcome = judge_submit(answer, now=0.0)
    check_submit(mutant, outcome)
    once, thrice = ask(answer, 1), ask(answer, 4)
    check_query(mutant, once, lasting=False)
    check_query(mutant, thrice, lasting=True)
    for words in (outcome.message, once.message, thrice.message, once.note or ""):
        assert words.isprintable()
        words.encode("utf-8")
    return outcome.kind, thrice.kind


def test_ten_thousand_damaged_answers_make_up_no_id_and_end_no_task() -> None:
    seen: Counter[Any] = Counter()
    wrong: list[tuple[Mutant, str]] = []
    for mutant in mutants(COUNT):
        try:
            seen.update(check(mutant))
        except Exception as error:
            wrong.append((mutant, f"{type(error).__name__}: {error}"[:200]))
    assert wrong == [], f"{len(wrong)} of {COUNT}"
    # A corpus in which nothing is ever understood, or everything is, would prove nothing.
    assert all(seen[kind] > COUNT // 100 for kind in SubmitKind), seen
    assert all(seen[kind] > COUNT // 200 for kind in PollKind if kind is not PollKind.DEADLINE), seen


@pytest.mark.parametrize("seed", range(3))
def test_the_corpus_is_the_same_at_every_run(seed: int) -> None:
    assert list(mutants(20, seed)) == list(mutants(20, seed))
    assert list(mutants(20, seed)) != list(mutants(20, seed + 1))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(100, 599), st.binary(max_size=12), st.integers(0, 400))
def test_answers_that_hypothesis_damages_further_keep_to_the_same_rules(
    seed: int, http_status: int, junk: bytes, at: int
) -> None:
    (mutant,) = mutants(1, seed)
    check(Mutant(http_status, mutant.headers, mutant.body[:at] + junk + mutant.body[at:], mutant.how))
