# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How long to wait before the next try."""

from __future__ import annotations

__all__ = ["backoff_delay"]

_MOST_DOUBLINGS = 62


def backoff_delay(
    attempt: int, *, base: float, cap: float, jitter: float, retry_after: float | None = None
) -> float:
    """
    Double from ``base`` to ``cap``, spread over the upper half so that waiters don't wake together.

    :param attempt: how many tries have failed, from 1.
    :param base: seconds after the first failure.
    :param cap: most seconds by own choice.
    :param jitter: in [0, 1), from the caller's random source.
    :param retry_after: seconds the vendor asked for: never less than that is waited, whatever the cap.
    :return: seconds.
    """
    whole = min(cap, base * 2.0 ** min(max(attempt - 1, 0), _MOST_DOUBLINGS))
    spread = whole / 2 * (1 + jitter)
    if retry_after is None:
        return spread
    return max(spread, retry_after + min(base, cap) * jitter)
