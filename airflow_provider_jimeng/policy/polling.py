# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The values of a wait: its numbers, what it remembers, what it decides."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_jimeng.exceptions import JimengError

__all__ = ["GONE_DOUBT", "PollDecision", "PollKind", "PollSettings", "PollState"]

#: The doubt of a task that the vendor says it does not have, see :attr:`PollState.doubt`.
GONE_DOUBT = "gone"


@dataclass(frozen=True, slots=True)
class PollSettings:
    """
    The numbers of a wait, all in seconds but ``lasting_answers``.

    :param grace_seconds: after the submit, how long "no such task" and 50215 mean nothing (they are seen 10
        to 30 s after a submit of tasks that are fine).
    :param lasting_answers: how many such answers in a row are believed after that.
    :param lasting_seconds: and over how long they must have lasted, so that fast polling doesn't shorten the
        proof.
    :param horizon_seconds: after the submit, when the vendor forgets a task.
    :param min_delay: least time between two polls.
    :param max_delay: most time between two polls of a task that runs.
    :param max_first_delay: most time before a poll however long the task is expected to take, since an
        expectation can be wrong.
    :param hold_base: first delay of a hold (credentials, permission), doubled up to ``hold_cap``.
    :param hold_cap: most delay of a hold.
    :param retry_cap: most delay after an answer that says nothing; also the most that ``Retry-After`` is
        believed.
    """

    grace_seconds: float = 60.0
    lasting_answers: int = 3
    lasting_seconds: float = 15.0
    horizon_seconds: float = TASK_LIFETIME_SECONDS
    min_delay: float = 1.0
    max_delay: float = 30.0
    max_first_delay: float = 600.0
    hold_base: float = 15.0
    hold_cap: float = 300.0
    retry_cap: float = 60.0


@dataclass(frozen=True, slots=True)
class PollState:
    """
    What one wait remembers between polls; lost at a restart without harm, since it only delays a conclusion.

    :param started_at: epoch seconds of the first answer, the horizon's start where the submit's time is
        unknown.
    :param doubt: which doubtful answer came last: ``gone``, ``50215``, ``no_url`` or ``odd_verdict``.
    :param doubt_count: how often in a row.
    :param doubt_since: epoch seconds of the first of that row.
    :param holds: holds in a row.
    :param failures: answers in a row that said nothing.
    :param signed_again: refusals of the date or the token in a row.
    :param unknown_statuses: status words already noted.
    :param running_at: epoch seconds of the last answer that said that the task runs.
    """

    started_at: float | None = None
    doubt: str | None = None
    doubt_count: int = 0
    doubt_since: float = 0.0
    holds: int = 0
    failures: int = 0
    signed_again: int = 0
    unknown_statuses: tuple[str, ...] = ()
    running_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Write it as JSON-able values."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        values["unknown_statuses"] = list(self.unknown_statuses)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PollState:
        """
        Read what :meth:`to_dict` wrote, also that of another release.

        Unknown fields are dropped, missing ones take their default.

        :param values: of :meth:`to_dict`.
        """
        known = {item.name for item in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        kept["unknown_statuses"] = tuple(kept.get("unknown_statuses", ()))
        return cls(**kept)


class PollKind(Enum):
    """Where a wait stands. ``WAIT`` and ``HOLD`` go on; the others end it."""

    WAIT = "wait"
    HOLD = "hold"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class PollDecision:
    """
    What to do after one poll.

    :param message: what happened and what it cost, fit for logs and ledger rows.
    :param video_url: the result, where ``kind`` is ``SUCCEEDED``; a secret for an hour.
    :param further_urls: what else the task made, where it made several things; secrets likewise.
    :param new_attempt: for ``FAILED``, whether the vendor allows another attempt.
    :param retry_after: seconds to wait at least before the next poll.
    :param note: something to log once.
    :param error: for an end without success the class to raise, for ``HOLD`` what kind of trouble it is.
    :param refresh: read the credentials anew before the next poll.
    """

    kind: PollKind
    code: int | None = None
    message: str = ""
    request_id: str | None = None
    video_url: str | None = field(default=None, repr=False)
    further_urls: tuple[str, ...] = field(default=(), repr=False)
    new_attempt: bool = False
    retry_after: float | None = None
    note: str | None = None
    error: type[JimengError] | None = None
    refresh: bool = False

    @property
    def final(self) -> bool:
        """Whether the wait is over."""
        return self.kind not in (PollKind.WAIT, PollKind.HOLD)
