# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A run neither asks for slots in vain nor misses its turn."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from airflow_provider_jimeng.bulk.window import Window
from airflow_provider_jimeng.ledger.records import Scope, SlotView
from airflow_provider_jimeng.lifecycle.ensured import Waiting

SCOPE = Scope("account", "endpoint", "model")


def window(pending: int = 3) -> Window:
    made = Window(SCOPE, 4)
    made.pending = deque([object()] * pending)  # type: ignore[list-item]
    return made


def refused(made: Window, ticket: int = 7) -> None:
    made.must_wait(Waiting("slots", ticket, None, limit=4, in_use=4), 10.0, made.tried())
    made.ended()


def view(**changes: Any) -> SlotView:
    plain: dict[str, Any] = {
        "now": 10.0,
        "in_use": 4,
        "limit": 4,
        "cooldown_until": None,
        "entitled": frozenset(),
        "holders": (),
        "waiting": (7,),
    }
    return SlotView(**{**plain, **changes})


def test_an_acceptance_after_a_refusal_leaves_the_ticket_in_doubt_and_not_forgotten():
    """Of two claims at once one succeeds and the other queues; in which order, only the ledger knows."""
    made = window()
    made.tried()
    refused(made)
    made.accepted()
    assert (made.ticket, made.doubtful, made.look_at) == (7, True, 0.0)


@pytest.mark.parametrize(("waiting", "allowance"), [((7,), 0), ((), 1)])
def test_a_look_settles_the_doubt(waiting, allowance):
    """A ticket that went along with the claim is asked for anew: nobody calls a run that holds none."""
    made = window()
    refused(made)
    made.accepted()
    made.looked(view(waiting=waiting), (), 10.0)
    assert (made.doubtful, made.allowance) == (False, allowance)


def test_without_a_refusal_there_is_nothing_to_doubt():
    made = window()
    made.tried()
    made.accepted()
    assert (made.ticket, made.doubtful) == (None, False)


def test_whose_turn_it_is_takes_all_that_is_free():
    made = window()
    refused(made)
    made.looked(view(in_use=1, entitled=frozenset({7})), (), 10.0)
    assert made.allowance == 3


@pytest.mark.parametrize(
    ("before", "now", "allowance", "limit"), [(4, 6, 2, 6), (4, 4, 0, 4), (4, 1, 0, 1), (4, None, 0, 4)]
)
def test_slots_that_were_bought_meanwhile_are_filled(before, now, allowance, limit):
    made = Window(SCOPE, before)
    made.allowance = 0
    made.renumber(now)
    assert (made.configured, made.allowance, made.limit) == (now, allowance, limit)


def test_a_number_that_was_to_be_learned_and_is_known_now_is_taken():
    made = Window(SCOPE, None)
    made.allowance, made.limit = 0, 2
    made.renumber(5)
    assert (made.configured, made.allowance, made.limit) == (5, 3, 5)
