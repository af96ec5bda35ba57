# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a pass towards a task for a content comes to, where it is no error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord


@dataclass(frozen=True, slots=True)
class InHand:
    """A task of the vendor's exists for the content. ``reused`` is whether it did before this call."""

    record: TaskRecord
    reused: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    Nothing can be submitted now, and nothing was.

    :param reason: ``slots``, ``queue``, ``cooldown``, ``in_flight``, ``quarantine`` or ``given_up`` (a task
        that the vendor may still have).
    :param ticket_id: the caller's place in the queue, where there is one.
    :param retry_after: seconds until asking again makes sense; ``None``: when the ticket's turn comes.
    :param lost: the row that the caller has proven lost, as it is by now; ``None`` where it is another one.
    """

    reason: str
    ticket_id: int | None = None
    retry_after: float | None = None
    limit: int | None = None
    in_use: int | None = None
    lost: TaskRecord | None = None


Ensured = InHand | Waiting
