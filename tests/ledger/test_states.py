# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import itertools

import pytest

from airflow_provider_jimeng.ledger.states import LEGAL_MOVES, LIVE, SUPERSEDABLE, TaskState, may_move

#: As the design draws them, word for word.
DRAWN = {
    ("intent", "submitted"),
    ("intent", "rejected"),
    ("intent", "unknown"),
    ("submitted", "succeeded"),
    ("submitted", "failed"),
    ("submitted", "expired"),
    ("succeeded", "landed"),
    ("succeeded", "expired"),
    # Beyond the design: the vendor had it after all, so nothing is lost and nothing paid again.
    ("expired", "succeeded"),
    ("unknown", "released"),
    ("unknown", "submitted"),
    ("released", "submitted"),
}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(TaskState, TaskState)))
def test_a_move_is_legal_if_and_only_if_the_design_draws_it(source: TaskState, target: TaskState):
    assert may_move(source, target) == ((source.value, target.value) in DRAWN)


def test_the_table_knows_every_state_and_can_not_be_edited():
    assert set(LEGAL_MOVES) == set(TaskState)
    with pytest.raises(TypeError):
        LEGAL_MOVES[TaskState.FAILED] = frozenset()  # type: ignore[index]


def test_live_states_stand_for_money_spent_or_about_to_be():
    assert {str(state) for state in LIVE} == {"intent", "submitted", "unknown", "succeeded", "landed"}
    assert {str(state) for state in SUPERSEDABLE} == {"succeeded", "landed", "expired"}
