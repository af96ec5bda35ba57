# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The states of a task row and the moves between them; anything that is not in the table is refused.

::

    intent ──► submitted ──► succeeded ──► landed
       │           │             ├───────► expired
       │           │             └◄─────── expired      (the vendor had it after all)
       │           ├────────► failed
       │           └────────► expired
       ├────────► rejected
       └────────► unknown ──► released
       intent, unknown, released ──► submitted
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEGAL_MOVES", "LIVE", "SUPERSEDABLE", "TaskState", "may_move"]


class TaskState(StrEnum):
    """
    Where one paid (or perhaps paid) attempt stands.

    ``intent``: a slot is claimed and a send is allowed, nothing more is known. ``submitted``: the vendor
    named a task id. ``succeeded``: the vendor's good verdict, not stored yet. ``landed``: stored in at least
    one place. ``failed``: the vendor's bad verdict, not billed. ``expired``: not harvested within 12 hours,
    or the vendor kept saying that it has no such task; possibly billed, and taken back when the vendor has it
    after all. ``rejected``: not created, nothing was paid. ``unknown``: nobody knows whether the vendor
    created a task. ``released``: an unknown that somebody gave free for another attempt.
    """

    INTENT = "intent"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    LANDED = "landed"
    FAILED = "failed"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    RELEASED = "released"


_S = TaskState

#: Every legal move, by the state it starts from.
LEGAL_MOVES: Mapping[TaskState, frozenset[TaskState]] = MappingProxyType(
    {
        _S.INTENT: frozenset({_S.SUBMITTED, _S.REJECTED, _S.UNKNOWN}),
        _S.SUBMITTED: frozenset({_S.SUCCEEDED, _S.FAILED, _S.EXPIRED}),
        _S.SUCCEEDED: frozenset({_S.LANDED, _S.EXPIRED}),
        _S.UNKNOWN: frozenset({_S.SUBMITTED, _S.RELEASED}),
        _S.RELEASED: frozenset({_S.SUBMITTED}),
        _S.LANDED: frozenset(),
        _S.FAILED: frozenset(),
        _S.EXPIRED: frozenset({_S.SUCCEEDED}),
        _S.REJECTED: frozenset(),
    }
)

#: States in which a row stands in the way of a new attempt for the same content.
LIVE = frozenset({_S.INTENT, _S.SUBMITTED, _S.UNKNOWN, _S.SUCCEEDED, _S.LANDED})

#: States that a caller may replace by a new attempt on purpose (``ClaimRequest.supersede``).
SUPERSEDABLE = frozenset({_S.SUCCEEDED, _S.LANDED, _S.EXPIRED})


def may_move(source: TaskState, target: TaskState) -> bool:
    """Tell whether the table has this move."""
    return target in LEGAL_MOVES[source]
