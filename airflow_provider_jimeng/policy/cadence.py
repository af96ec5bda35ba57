# Licensed under the Apache License, Version 2.0. See LICENSE.
"""When to ask about a task, and what its answers teach about how long such tasks take. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_jimeng.policy.polling import PollSettings

__all__ = ["may_be_over", "next_poll_delay", "processing_estimate"]

#: The share of a task's age by which its end may have been missed.
_CLOSE = 0.3
#: The share of the expected time after which a task is asked about.
_FIRST_SHARE = 0.85
#: The same for a watcher that begins late and asks at once, and the seconds where nobody expects any.
_LATE_SHARE, _AGE_OF_DOUBT = 0.9, 5.0
#: Spreads the questions of a watcher that begins with many tasks.
_AT_ONCE = 0.2


def may_be_over(age: float, expected: float | None, poke_interval: float | None = None) -> bool:
    """
    Return whether a task is old enough that a question about it is no waste.

    :param age: seconds since the submit.
    :param expected: seconds that such a task usually takes, if anybody knows.
    :param poke_interval: that the user chose.
    """
    if poke_interval is not None:
        return age >= poke_interval
    return age >= (_AGE_OF_DOUBT if expected is None else _LATE_SHARE * expected)


def next_poll_delay(
    *,
    age: float,
    expected: float | None,
    poke_interval: float | None,
    settings: PollSettings,
    jitter: float,
    asked: bool = True,
) -> float:
    """
    Choose when to poll next.

    A slot that is done but not noticed is idle and lost, a poll costs next to nothing but counts against the
    QPS limit. So: with an expectation, first near its end and then every twentieth of it; without one, at a
    sixth of the task's age.

    :param age: seconds since the submit.
    :param expected: seconds that such a task usually takes, if anybody knows.
    :param poke_interval: seconds the user chose: taken as it is.
    :param settings: the numbers.
    :param jitter: in [0, 1), from the caller's random source, so that many waits don't poll together.
    :param asked: whether this watcher has asked before. One that begins late asks at once: watchers that are
        replaced every few seconds would else never come to it.
    :return: seconds.
    """
    age = max(age, 0.0)
    if not asked and may_be_over(age, expected, poke_interval):
        return _AT_ONCE * jitter
    if poke_interval is not None:
        return poke_interval
    if expected is not None and age < _FIRST_SHARE * expected:
        first = expected * (_FIRST_SHARE + 0.05 * jitter) - age
        return min(max(first, settings.min_delay), settings.max_first_delay)
    step = 0.15 * age if expected is None else 0.05 * max(expected, age - expected)
    return min(max(step * (0.9 + 0.3 * jitter), settings.min_delay * (1 + 0.1 * jitter)), settings.max_delay)


def processing_estimate(
    *, submitted_at: float | None, running_at: float | None, done_at: float, expected: float | None
) -> float | None:
    """
    Tell how long a task took, if that was seen closely enough to learn from.

    What is learnt decides when the next tasks are polled first, and too great a number costs idle slots: a
    verdict that was noticed hours late says nothing. One that was there at the first poll, before the
    expected end, says that the expectation is too great.

    :param submitted_at: epoch seconds.
    :param running_at: epoch seconds of the last answer that said it runs, if there was one.
    :param done_at: epoch seconds of the answer that said it is done.
    :param expected: seconds that were expected.
    :return: seconds, or ``None`` where nothing can be learnt.
    """
    if submitted_at is None or done_at <= submitted_at:
        return None
    age = done_at - submitted_at
    if running_at is not None and done_at - running_at <= _CLOSE * age:
        return age - (done_at - running_at) / 2
    return age if expected is not None and age < expected else None
