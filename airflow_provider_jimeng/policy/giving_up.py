# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
When a task that was given up is believed to be lost.

A vendor that is confused says "no such task" of tasks that it has, for a quarter of a minute or for some.
That is enough to free a slot, since a slot that was freed too early costs one refused submit; it is not
enough to tell anybody that a paid result is lost, or to pay for it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.policy.polling import GONE_DOUBT

if TYPE_CHECKING:
    from airflow_provider_jimeng.policy.polling import PollDecision, PollState

__all__ = ["ask_again_in"]

#: For how long after it was given up a task must still be missing, before what the user chose for lost
#: results is done. It is waited out without a slot and, where waits are deferred, without a worker.
PROOF_SECONDS = 600.0
#: How often the vendor is asked meanwhile, and where its answers say nothing.
DOUBT_SECONDS = 60.0
#: How often one is asked about that runs.
ALIVE_SECONDS = 15.0


def ask_again_in(state: PollState, decision: PollDecision, *, now: float, given_up_at: float) -> float | None:
    """
    Return the seconds after which to ask again about a task that was given up; ``None``: it is lost.

    An answer that says nothing (throttling, HTML, refused keys, a status word of a later release, *done*
    without a URL) is none against the task: it is asked on, until twelve hours after its submit at most.

    :param state: of :func:`~.poll.decide_poll`, after this one answer.
    :param decision: what it made of the answer; not a success.
    :param now: epoch seconds.
    :param given_up_at: epoch seconds.
    """
    if decision.final:
        # The vendor's own bad verdict, which is not billed, or the twelve hours have passed.
        return None
    if state.doubt == GONE_DOUBT:
        left = given_up_at + PROOF_SECONDS - now
        return min(left, DOUBT_SECONDS) if left > 0 else None
    usual = DOUBT_SECONDS if state.running_at is None else ALIVE_SECONDS
    return max(usual, decision.retry_after or 0.0)
