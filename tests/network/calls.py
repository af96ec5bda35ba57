# Licensed under the Apache License, Version 2.0. See LICENSE.
"""When which call came to the emulator, refused ones too."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_jimeng.api.models import RESULT_ACTION, SUBMIT_ACTION


@dataclass(slots=True)
class Calls:
    """Moments by a steady clock."""

    submits: list[float] = field(default_factory=list)
    queries: list[float] = field(default_factory=list)


def most_within(moments: Sequence[float], seconds: float) -> int:
    """Return how many moments at most fall into a window of that length."""
    ordered = sorted(moments)
    return max((sum(at <= each < at + seconds for each in ordered) for at in ordered), default=0)


@contextmanager
def counted(emu: Any) -> Iterator[Calls]:
    """Note every call that reaches the emulator while the block runs."""
    vendor = emu._server.vendor
    calls, usual = Calls(), vendor.call

    async def call(request: Any, **how: Any) -> Any:
        action = dict(request.query).get("Action")
        if action == SUBMIT_ACTION:
            calls.submits.append(time.monotonic())
        elif action == RESULT_ACTION:
            calls.queries.append(time.monotonic())
        return await usual(request, **how)

    vendor.call = call
    try:
        yield calls
    finally:
        vendor.call = usual
