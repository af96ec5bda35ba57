# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a deferring leg of a batch tells the next one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """
    What earlier legs found out. Without it a leg takes longer, and the run's timeout a little, too.

    :param after_line: lines of the manifest of this digest up to this one are done with.
    :param total: its lines.
    :param products: how many products they are of.
    :param began: epoch seconds of the beginning of the first leg, or of the run's first claim.
    """

    after_line: int = 0
    digest: str | None = None
    total: int | None = None
    products: int = 1
    began: float | None = None
