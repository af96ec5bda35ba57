# Licensed under the Apache License, Version 2.0. See LICENSE.
"""When to poll: near the expected end, then evenly; never too often, never too seldom."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_jimeng.policy.poll import PollSettings, next_poll_delay, processing_estimate

SETTINGS = PollSettings()


def delay(age: float, expected: float | None = None, poke: float | None = None, jitter: float = 0.0) -> float:
    return next_poll_delay(age=age, expected=expected, poke_interval=poke, settings=SETTINGS, jitter=jitter)


@pytest.mark.parametrize(("age", "expected"), [(0, None), (5000, 180), (0, 180)])
def test_an_interval_that_the_user_chose_is_taken_as_it_is(age, expected):
    assert delay(age, expected, poke=7.5, jitter=0.9) == 7.5


class TestWithAnExpectation:
    def test_the_first_poll_comes_near_the_expected_end(self):
        assert delay(0, 180) == pytest.approx(153)
        assert delay(0, 180, jitter=0.999) == pytest.approx(162, abs=0.1)
        assert delay(100, 180) == pytest.approx(53)

    def test_then_evenly_at_a_twentieth(self):
        assert delay(153, 180) == delay(200, 180) == delay(359, 180) == pytest.approx(8.1)

    def test_long_tasks_are_polled_every_half_minute(self):
        assert delay(1000, 1000) == 30

    def test_short_tasks_are_polled_every_second(self):
        assert delay(0.99, 1) == 1.0
        assert delay(5, 5) == 1.0

    def test_short_tasks_are_polled_a_little_apart_from_each_other(self):
        assert delay(5, 5, jitter=0.999) == pytest.approx(1.1, abs=0.01)

    def test_an_expectation_that_was_wrong_is_left_behind(self):
        assert delay(3600, 10) == 30

    def test_an_expectation_of_hours_does_not_hide_an_early_end(self):
        assert delay(0, 36000) == SETTINGS.max_first_delay


class TestWithoutAnExpectation:
    def test_grows_with_age(self):
        assert delay(0) == delay(5) == 1.0
        assert delay(60) == pytest.approx(8.1)
        assert delay(60, jitter=0.999) == pytest.approx(10.8, abs=0.1)
        assert delay(3600) == 30

    def test_a_clock_that_went_back_is_taken_for_a_young_task(self):
        assert delay(-500) == 1.0
        assert delay(-500, 180) == pytest.approx(153)


@settings(deadline=None)
@given(
    st.floats(-10, 1e6),
    st.none() | st.floats(0, 1e5),
    st.floats(0, 1, exclude_max=True),
)
def test_is_always_bounded(age, expected, jitter):
    assert SETTINGS.min_delay <= delay(age, expected, jitter=jitter) <= SETTINGS.max_first_delay
    if expected is None or age >= expected:
        assert delay(age, expected, jitter=jitter) <= SETTINGS.max_delay


@settings(deadline=None)
@given(st.floats(0, 1e5), st.none() | st.floats(1, 1e4))
def test_jitter_spreads_waits_of_one_age(age, expected):
    late, early = delay(age, expected, jitter=0.99), delay(age, expected, jitter=0.0)
    assert late >= early


def estimate(
    done: float, *, submitted: float | None = 0.0, running: float | None = None, expected: float | None = None
) -> float | None:
    return processing_estimate(submitted_at=submitted, running_at=running, done_at=done, expected=expected)


@settings(deadline=None)
@given(st.floats(1, 1e5), st.none() | st.floats(0, 1e5), st.none() | st.floats(0, 1e5))
def test_an_estimate_is_never_more_than_the_age(done, running, expected):
    learnt = estimate(done, running=None if running is None else min(running, done), expected=expected)
    assert learnt is None or 0 < learnt <= done


class TestOfAWatcherThatBeginsLate:
    """A watcher that is replaced every few seconds must come to its questions all the same."""

    @staticmethod
    def first(age: float, expected: float | None, poke: float | None = None) -> float:
        return next_poll_delay(
            age=age, expected=expected, poke_interval=poke, settings=SETTINGS, jitter=0.5, asked=False
        )

    @pytest.mark.parametrize(("age", "expected"), [(18, 20), (4000, 20), (162, 180), (5, None), (900, None)])
    def test_it_asks_at_once_about_what_may_be_over(self, age, expected):
        assert self.first(age, expected) == pytest.approx(0.1)

    @pytest.mark.parametrize(("age", "expected"), [(0, 20), (17.9, 20), (100, 180), (4.9, None)])
    def test_it_waits_for_what_cannot_be_over(self, age, expected):
        assert self.first(age, expected) == delay(age, expected, jitter=0.5)

    def test_a_chosen_interval_is_counted_from_the_submit(self):
        assert self.first(59, 20, poke=60) == 60
        assert self.first(60, 20, poke=60) == pytest.approx(0.1)
