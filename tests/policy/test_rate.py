# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import math

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_jimeng.policy.rate import TokenBucket


def test_a_burst_goes_at_once_and_the_rest_at_the_rate():
    bucket = TokenBucket(rate=2, burst=3)
    assert [bucket.reserve(100.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]


def test_a_part_of_a_token_that_is_left_is_nobodys_wait():
    bucket = TokenBucket(rate=1, burst=1.5)
    assert [bucket.reserve(0.0), bucket.reserve(0.0)] == [0, 0.5]


def test_quiet_time_refills_no_more_than_a_burst():
    bucket = TokenBucket(rate=1, burst=2)
    bucket.reserve(0)
    assert [bucket.reserve(1000.0) for _ in range(3)] == [0, 0, 1.0]


def test_time_pays_off_the_queue():
    bucket = TokenBucket(rate=1)
    assert [bucket.reserve(0.0) for _ in range(3)] == [0, 1, 2]
    assert bucket.reserve(2.0) == 1.0


def test_a_clock_that_goes_back_lets_nobody_pass_early():
    bucket = TokenBucket(rate=1)
    assert bucket.reserve(10.0) == 0
    assert bucket.reserve(5.0) == 6.0


def test_a_cancelled_call_gives_its_token_back():
    bucket = TokenBucket(rate=1)
    bucket.reserve(0.0)
    bucket.reserve(0.0)
    bucket.give_back()
    assert bucket.reserve(0.0) == 1.0


def test_giving_back_never_exceeds_the_burst():
    bucket = TokenBucket(rate=1, burst=1)
    bucket.give_back()
    assert [bucket.reserve(0.0), bucket.reserve(0.0)] == [0, 1]


@pytest.mark.parametrize("rate", [0, -1, math.nan])
def test_a_rate_is_above_zero(rate):
    with pytest.raises(ValueError, match="^rate"):
        TokenBucket(rate)


@pytest.mark.parametrize("burst", [0, 0.5, math.nan])
def test_a_burst_is_one_at_least(burst):
    with pytest.raises(ValueError, match="^burst"):
        TokenBucket(1, burst)


@settings(deadline=None)
@given(
    st.floats(0.1, 50),
    st.integers(1, 5),
    st.lists(st.floats(0, 0.5), min_size=2, max_size=40),
)
def test_no_window_ever_sees_more_than_the_burst_and_the_rate_allow(rate, burst, gaps):
    bucket = TokenBucket(rate, burst)
    now, calls = 0.0, []
    for gap in gaps:
        now += gap
        calls.append(now + bucket.reserve(now))
    for first in range(len(calls)):
        for last in range(first, len(calls)):
            allowed = burst + rate * (calls[last] - calls[first])
            assert last - first + 1 <= allowed + 1e-6
