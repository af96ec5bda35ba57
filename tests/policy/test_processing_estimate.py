# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a wait teaches about how long such tasks take: only what was seen closely."""

from __future__ import annotations

import pytest

from airflow_provider_jimeng.policy.poll import processing_estimate


@pytest.mark.parametrize(
    ("submitted", "running", "done", "expected", "estimate"),
    [
        (None, 90.0, 100.0, None, None),
        (0.0, 90.0, 100.0, None, 95.0),
        (0.0, 70.0, 100.0, None, 85.0),
        (0.0, 60.0, 100.0, None, None),
        (0.0, None, 100.0, None, None),
        (0.0, None, 100.0, 150.0, 100.0),
        (0.0, None, 150.0, 150.0, None),
        (0.0, None, 10_000.0, 150.0, None),
        (0.0, 200.0, 10_000.0, 150.0, None),
        (100.0, 90.0, 100.0, 150.0, None),
        (100.0, None, 40.0, 150.0, None),
        (1000.0, 1090.0, 1100.0, None, 95.0),
        (1000.0, None, 1100.0, 150.0, 100.0),
    ],
)
def test_only_an_end_that_was_seen_closely_or_early_teaches(submitted, running, done, expected, estimate):
    assert (
        processing_estimate(submitted_at=submitted, running_at=running, done_at=done, expected=expected)
        == estimate
    )


def test_a_wrong_expectation_shrinks_with_every_task_that_is_done_at_its_first_poll():
    expected: float | None = 180.0
    for _ in range(30):
        first_poll = 0.85 * (expected or 0.0)
        if first_poll <= 10.0:
            break
        expected = processing_estimate(
            submitted_at=0.0, running_at=None, done_at=first_poll, expected=expected
        )
    assert expected is not None
    assert expected < 13.0
