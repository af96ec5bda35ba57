# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What is believed of a vendor that says of a paid task that it has no such task."""

from __future__ import annotations

import pytest

from airflow_provider_jimeng.api.models import FailureKind, Observation, TransportFailure
from airflow_provider_jimeng.policy.giving_up import (
    ALIVE_SECONDS,
    DOUBT_SECONDS,
    PROOF_SECONDS,
    ask_again_in,
)
from airflow_provider_jimeng.policy.poll import PollSettings, PollState, decide_poll

from tests.policy.test_poll import refusal, status

SUBMITTED, GIVEN_UP = 1_000_000.0, 1_000_100.0
SETTINGS = PollSettings()


def asked(observation: Observation, now: float = GIVEN_UP + 5 * 3600) -> float | None:
    state, decision = decide_poll(
        PollState(), observation, now=now, submitted_at=SUBMITTED, deadline=None, settings=SETTINGS
    )
    return ask_again_in(state, decision, now=now, given_up_at=GIVEN_UP)


@pytest.mark.parametrize("word", ["not_found", "expired"])
@pytest.mark.parametrize(
    ("since", "wait"),
    [
        (0.0, DOUBT_SECONDS),
        (PROOF_SECONDS - DOUBT_SECONDS, DOUBT_SECONDS),
        (PROOF_SECONDS - 0.5, 0.5),
        (PROOF_SECONDS, None),
        (5 * 3600.0, None),
    ],
)
def test_a_task_is_lost_when_it_is_missing_a_good_while_after_it_was_given_up(word, since, wait):
    assert asked(status(word), GIVEN_UP + since) == wait


def test_the_proof_is_much_longer_than_what_frees_a_slot():
    assert (PROOF_SECONDS, DOUBT_SECONDS, ALIVE_SECONDS) == (600.0, 60.0, 15.0)
    assert 40 * SETTINGS.lasting_seconds <= PROOF_SECONDS


@pytest.mark.parametrize("word", ["in_queue", "generating", "post_processing"])
def test_one_that_runs_is_asked_about_on_end(word):
    assert asked(status(word)) == ALIVE_SECONDS


NO_WORD = {
    "throttled": refusal(50429),
    "refused for now": refusal(50430),
    "a verdict only if it lasts": refusal(50215),
    "done without a URL": status("done"),
    "not_found beside a limit's code": status("not_found", 50429, 400),
    "nothing": TransportFailure(FailureKind.NOT_SENT, "connection refused"),
}


@pytest.mark.parametrize("observation", NO_WORD.values(), ids=NO_WORD)
def test_an_answer_that_says_nothing_is_no_word_against_a_task(observation):
    assert asked(observation) == DOUBT_SECONDS


def test_a_vendor_that_asks_for_patience_gets_it():
    state, decision = decide_poll(
        PollState(holds=5),
        refusal(50400),
        now=GIVEN_UP,
        submitted_at=SUBMITTED,
        deadline=None,
        settings=SETTINGS,
    )
    assert decision.retry_after == SETTINGS.hold_cap
    assert ask_again_in(state, decision, now=GIVEN_UP, given_up_at=GIVEN_UP) == SETTINGS.hold_cap


def test_a_bad_verdict_and_the_end_of_twelve_hours_end_the_asking():
    assert asked(status("done", 50411, 400)) is None
    for observation in (status("generating"), refusal(50429)):
        assert asked(observation, SUBMITTED + 12 * 3600) is None
