# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A wait that goes on tells what a person can do something about, and nothing else."""

from __future__ import annotations

import pytest

from airflow_provider_jimeng.api.models import FailureKind, TransportFailure
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    decide_poll,
    worth_telling,
)


def test_a_hold_tells_its_trouble():
    assert worth_telling(PollDecision(PollKind.HOLD, message="the key is refused")) == "the key is refused"


def test_an_unknown_status_is_told_and_a_plain_wait_is_not():
    assert worth_telling(PollDecision(PollKind.WAIT, message="generating", note="odd word")) == "odd word"
    assert worth_telling(PollDecision(PollKind.WAIT, message="generating")) is None


@pytest.mark.parametrize(("failures", "told"), [(1, False), (2, False), (3, True), (4, True)])
def test_an_outage_is_told_and_a_single_failure_is_not(failures: int, told: bool):
    state, words = PollState(), None
    for number in range(failures):
        state, decision = decide_poll(
            state,
            TransportFailure(FailureKind.NOT_SENT, "connection refused"),
            now=100.0 + number,
            submitted_at=0.0,
            deadline=None,
            settings=PollSettings(),
        )
        words = worth_telling(decision)
        assert decision.kind is PollKind.WAIT
    assert (words is not None) is told
    assert words is None or "connection refused" in words
