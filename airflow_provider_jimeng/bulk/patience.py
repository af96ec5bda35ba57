# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How long a run goes on while its ledger does not answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_jimeng.exceptions import JimengLedgerError


class Patience:
    """
    How long a silent ledger is borne: what runs at the vendor goes on meanwhile, and nothing is submitted.

    :param seconds: for how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def calm(self) -> None:
        """The ledger has answered."""
        self._since = None

    def bear(self, error: JimengLedgerError) -> None:
        """
        Wait for it, but not for ever.

        :raises JimengLedgerError: it was silent for too long.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._seconds:
            raise error
