# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A token bucket without a clock."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """
    Spread calls to a rate, first come first served.

    A reservation always succeeds and says how long to wait, so callers queue up in the order of their calls
    and none has to come back. Not locked: the holder serialises calls.

    :param rate: calls a second, above zero.
    :param burst: most calls at once after a quiet time, at least 1.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float = 1.0) -> None:
        if not rate > 0:
            raise ValueError("rate: a number above zero is needed")
        if not burst >= 1:
            raise ValueError("burst: at least 1 is needed")
        self.rate = float(rate)
        self.burst = float(burst)
        self._tokens = self.burst
        self._at: float | None = None

    def reserve(self, now: float) -> float:
        """
        Take a token, from the future if need be.

        :param now: seconds of a clock that doesn't go back; if it does, nothing is refilled.
        :return: seconds to wait before the call, 0 if it may go at once.
        """
        if self._at is not None and now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now if self._at is None else max(self._at, now)
        self._tokens -= 1.0
        if self._tokens >= 0:
            return 0.0
        return -self._tokens / self.rate + (self._at - now)

    def give_back(self) -> None:
        """Return a token whose call was never made, since its waiter was cancelled."""
        self._tokens = min(self.burst, self._tokens + 1.0)
