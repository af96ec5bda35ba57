# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A wait that goes on tells what a person can do something about, and nothing else."""

from __future__ import annotations

from airflow_provider_jimeng.policy.poll import PollDecision, PollKind, worth_telling


def test_a_hold_tells_its_trouble():
    assert worth_telling(PollDecision(PollKind.HOLD, message="the key is refused")) == "the key is refused"


def test_an_unknown_status_is_told_and_a_plain_wait_is_not():
    assert worth_telling(PollDecision(PollKind.WAIT, message="generating", note="odd word")) == "odd word"
    assert worth_telling(PollDecision(PollKind.WAIT, message="generating")) is None
