# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a deferring leg of a batch tells the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Hint:
    """
    What earlier legs found out. Without it a leg takes longer, and the run's timeout a little, too.

    :param after_line: lines of the manifest of this digest up to this one are done with.
    :param total: its lines.
    :param products: how many products they are of.
    :param began: epoch seconds of the beginning of the first leg, or of the run's first claim.
    :param wishes: some of what was asked for, see :func:`~airflow_provider_jimeng.bulk.wishes.to_tell`.
    :param asked: what was asked for beside the manifest, and as whom, as a digest.
    :param inputs_away: stores of inputs that do not answer, see :class:`~.bulk.away.InputsAway`.
    """

    after_line: int = 0
    digest: str | None = None
    total: int | None = None
    products: int = 1
    began: float | None = None
    wishes: list[str] | None = None
    asked: str | None = None
    inputs_away: Mapping[str, Mapping[str, Any]] | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Hint:
        """Return what a leg was told; what a later release's leg found out besides is left aside."""
        return cls(**{each.name: told[each.name] for each in fields(cls) if each.name in told})

    def to_dict(self) -> dict[str, Any]:
        """Return it as the arguments of the next leg, without what there is nothing of."""
        told = asdict(self)
        return told if self.inputs_away else {name: told[name] for name in told if name != "inputs_away"}
