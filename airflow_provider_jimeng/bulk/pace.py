# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
When to ask about a task of a bulk run. Pure.

A run sees many tasks of one kind end, so it knows better than a general rule how much their times differ: the
asking begins where the quickest of them ended, and its steps divide the difference. A task that is done but
not noticed is a paid slot that idles; a question costs next to nothing, but an account may only ask so often.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from airflow_provider_jimeng.policy.poll import PollSettings, next_poll_delay

#: Fewer ends than this say nothing about how much the times differ.
ENOUGH = 5
_REMEMBERED = 60
#: Questions for a task that takes as long as the slowest, once the quickest was over.
_QUESTIONS = 8
#: The same where the difference is only guessed.
_QUESTIONS_OF_A_GUESS = 7
#: How much sooner or later than usual tasks end where a run has not seen enough of them, as a share.
GIVE_OR_TAKE = 0.1
_LEAST_STEP, _MOST_STEP = 0.2, 30.0
#: The longest wait for the first question however long tasks take, since what is expected can be wrong.
_MOST_FIRST = 600.0
#: Times that hardly differ are not trusted to go on like that.
_LEAST_SPREAD = 0.02


@dataclass(slots=True)
class Pace:
    """
    Learns how long the tasks of one req_key take, and says when to ask.

    :param expected: seconds that such tasks have taken before this run, if anybody knows.
    :param query_qps: questions a second that the account may ask.
    :param interval: seconds between two questions that the user chose; rules where it is given.
    """

    expected: float | None = None
    query_qps: float = 5.0
    interval: float | None = None
    _ends: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def learn(self, seconds: float) -> None:
        """Note how long a task took, from its acceptance to about its end."""
        self._ends.append(seconds)

    def learn_of_early(self, age: float) -> None:
        """
        Note that a task was over when it was asked about for the first time.

        How long before is not known, but the asking began too late for it. If such tasks were passed over,
        only the slower ones were learnt from, each would put the beginning off a little more, and a run of
        some ten thousand items would notice every end late. One that is older than any that was seen says
        nothing: its watcher was late itself.
        """
        known = sorted(self._ends)
        if len(known) < ENOUGH or age > known[-1]:
            return
        quick, spread = self._spread(known)
        self._ends.append(max(0.0, min(age, quick) - max(spread / _QUESTIONS, _LEAST_STEP)))

    @staticmethod
    def _spread(known: list[float]) -> tuple[float, float]:
        """Return when the quick ones end, and how much later the slow ones do."""
        # One straggler must not make the steps of all others wide.
        quick, slow = known[len(known) // 20], known[-1 - len(known) // 20]
        return quick, max(slow - quick, _LEAST_SPREAD * known[len(known) // 2])

    @property
    def typical(self) -> float | None:
        """The median of what was learnt, else what was expected."""
        known = sorted(self._ends)
        return known[len(known) // 2] if len(known) >= ENOUGH else self.expected

    def delay(self, age: float, *, open_tasks: int, jitter: float, asked: bool) -> float:
        """
        Return the seconds until the next question about a task.

        :param age: seconds since its acceptance.
        :param open_tasks: tasks that are asked about at the same time and share the limit.
        :param jitter: in [0, 1).
        :param asked: whether it was asked about before.
        """
        if self.interval is not None:
            return self.interval
        fair = 0.3 * open_tasks / self.query_qps
        known = sorted(self._ends)
        if len(known) < ENOUGH and self.expected is None:
            settings = PollSettings(min_delay=max(1.0, fair))
            return next_poll_delay(
                age=age, expected=None, poke_interval=None, settings=settings, jitter=jitter
            )
        questions = _QUESTIONS if len(known) >= ENOUGH else _QUESTIONS_OF_A_GUESS
        if len(known) < ENOUGH:
            usual = self.typical or 0.0
            known = [(1 - GIVE_OR_TAKE) * usual, usual, (1 + GIVE_OR_TAKE) * usual]
        quick, spread = self._spread(known)
        slow = known[-1 - len(known) // 20]
        step = min(max(spread / questions, _LEAST_STEP, fair), _MOST_STEP)
        first = quick - 0.5 * step * (1.0 + jitter)
        if age < first and not asked:
            return min(first - age, _MOST_FIRST)
        overdue = max(0.0, age - slow) / max(spread, 10 * step)
        return min(step * (0.9 + 0.2 * jitter) * (1.0 + overdue), _MOST_STEP)
