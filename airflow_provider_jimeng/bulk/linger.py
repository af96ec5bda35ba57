# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Whether a leg that could defer had better stay a moment. Pure.

A deferral is blind for seconds, whatever happens meanwhile: its trigger may not tell too soon, or Airflow
fails the task (:mod:`airflow_provider_jimeng.triggers.settling`), and its own ways take two or three more.
Where a task is about to end and another one waits for its slot, staying refills the slot at once. It is
bounded, since a deferrable run is to leave the worker to others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: One that should have ended this long ago, at the least, is not expected any more; its trigger waits better.
LATE_SECONDS = 1.0
#: The most that a leg stays for all of them, as a multiple of the time that a deferral is blind for.
MOST_FACTOR = 1.5


@dataclass(slots=True)
class Linger:
    """
    Remembers when the open tasks of a leg should end, and how long the leg has stayed for them.

    All times are readings of one steady clock, in seconds.

    :param blind: seconds that a deferral takes at the least: a task that is expected to end within this is
        worth staying for.
    """

    blind: float
    _due: dict[str, tuple[float, float]] = field(default_factory=dict)
    _since: float | None = None
    _spent: float = 0.0

    def watching(self, task_id: str, due_at: float | None, give: float = 0.0) -> None:
        """
        Note a task that is being watched.

        :param due_at: when it should end, if anybody knows.
        :param give: how much sooner or later that often is.
        """
        if due_at is not None:
            self._due[task_id] = due_at - give, due_at + max(give, LATE_SECONDS)

    def ended(self, task_id: str) -> None:
        """Forget a task that is over."""
        self._due.pop(task_id, None)

    def stays(self, now: float) -> bool:
        """Return whether to stay; called whenever there is nothing to do but to wait."""
        if self._since is not None:
            self._spent += now - self._since
            self._since = None
        near = any(soon - now <= self.blind and now <= late for soon, late in self._due.values())
        if not near or self._spent >= MOST_FACTOR * self.blind:
            return False
        self._since = now
        return True

    def busy(self) -> None:
        """There is something to do: this time is not spent in waiting."""
        self._since = None
