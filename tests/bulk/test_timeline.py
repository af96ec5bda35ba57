# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Slots over time: the integral behind the utilisation, and the picture of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from airflow_provider_jimeng.bulk.chart import chart
from airflow_provider_jimeng.bulk.report import RunFacts
from airflow_provider_jimeng.bulk.timeline import SlotEvent, Timeline


def _timeline(*events: tuple[float, int]) -> Timeline:
    return Timeline(SlotEvent(*each) for each in events)


def test_utilisation_is_busy_slot_seconds_between_first_and_last_submit():
    timeline = _timeline((0, 1), (10, 2), (20, 1), (25, 2), (40, 0))
    assert timeline.utilisation(2, 0, 25) == pytest.approx((10 + 20 + 5) / 50)
    assert timeline.utilisation(2, 10, 20) == 1.0
    assert timeline.utilisation(2, 0, 60) == pytest.approx((10 + 20 + 5 + 30) / 120)


@pytest.mark.parametrize(("slots", "first", "last"), [(0, 0, 10), (2, 10, 10), (2, 10, 0)])
def test_without_slots_or_time_there_is_no_utilisation(slots: int, first: float, last: float):
    assert _timeline((0, 1)).utilisation(slots, first, last) is None


def test_a_run_that_knows_no_slots_tells_no_utilisation():
    facts = RunFacts(started_at=0, timeline=_timeline((0, 1)), first_submit=0, last_submit=10)
    assert facts.utilisation is None


def test_intervals_of_tasks_make_a_timeline():
    timeline = Timeline.of_intervals([(10, 20), (0, 15), (20, 30)])
    steps: dict[float, int] = {}
    for each in timeline:
        steps[each.time] = each.in_use
    assert steps == {0: 1, 10: 2, 15: 1, 20: 1, 30: 0}
    assert timeline.most == 2
    assert timeline.span == (0, 30)


def test_a_clock_set_back_does_not_turn_time_around():
    assert [each.time for each in _timeline((10, 1), (5, 2), (12, 0))] == [10, 10, 12]


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), min_size=1, max_size=30),
    st.integers(1, 50),
)
def test_the_averages_hold_every_busy_second(tasks: list[tuple[float, float]], buckets: int):
    timeline = Timeline.of_intervals((begin, begin + length) for begin, length in tasks)
    span = timeline.span
    assert span is not None
    if span[1] - span[0] < 1e-3:
        return
    averages = timeline.averages(*span, buckets)
    busy = sum(averages) * (span[1] - span[0]) / buckets
    assert busy == pytest.approx(sum(length for _, length in tasks), rel=1e-6, abs=1e-6)


def test_the_chart_is_made_of_numbers_and_fits():
    svg, shown = chart(_timeline((0, 5), (50, 10), (100, 0)), slots=10)
    assert shown is not None
    assert shown["values"][0] == 5
    assert shown["values"][-1] == 10
    points = re.search(r'points="([0-9., ]+)"', svg)
    assert points is not None
    heights = [float(each.split(",")[1]) for each in points[1].split()]
    assert 0 <= min(heights) <= max(heights) <= 100
    assert 'class="limit"' in svg


def test_more_tasks_than_slots_still_fit_the_chart():
    svg, shown = chart(_timeline((0, 12), (100, 0)), slots=10)
    assert shown is not None
    assert shown["top"] == 12
    assert "-" not in re.findall(r'points="([^"]+)"', svg)[0]


@pytest.mark.parametrize("events", [(), ((5.0, 1),), ((5.0, 1), (5.0, 0))])
def test_no_time_no_chart(events: tuple[tuple[float, int], ...]):
    assert chart(_timeline(*events), slots=2) == ("", None)


def test_without_known_slots_no_limit_is_drawn():
    assert 'class="limit"' not in chart(_timeline((0, 3), (10, 0)), slots=None)[0]
