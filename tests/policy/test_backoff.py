# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_jimeng.policy.backoff import backoff_delay


@pytest.mark.parametrize(
    ("attempt", "delay"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (10_000, 30)]
)
def test_doubles_up_to_the_cap(attempt, delay):
    assert backoff_delay(attempt, base=2, cap=60, jitter=0.0) == delay


def test_spreads_over_the_upper_half():
    assert backoff_delay(3, base=2, cap=60, jitter=0.5) == 6


def test_waits_at_least_as_long_as_the_vendor_asks_even_beyond_the_cap():
    assert backoff_delay(1, base=2, cap=60, jitter=0.0, retry_after=100) == 100


def test_spreads_those_whom_the_vendor_sent_away_together():
    assert backoff_delay(1, base=2, cap=60, jitter=0.5, retry_after=100) == 101


def test_a_short_wish_of_the_vendor_does_not_shorten_the_wait():
    assert backoff_delay(6, base=2, cap=60, jitter=0.0, retry_after=1) == 30


@settings(deadline=None)
@given(
    st.integers(-5, 10_000),
    st.floats(0.01, 100),
    st.floats(0.01, 1000),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 10_000),
)
def test_is_never_shorter_than_asked_nor_much_longer_than_the_cap(attempt, base, cap, jitter, retry_after):
    delay = backoff_delay(attempt, base=base, cap=cap, jitter=jitter, retry_after=retry_after)
    floor = retry_after or 0.0
    assert floor <= delay <= max(cap, floor + cap)
