# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The ledger's identity, noted beside what it paid for.

A restored backup, a fresh disk or a mistyped configuration is a ledger that has forgotten payments: it would
pay for them again. The results remember which ledger paid for them, and how far that ledger had come, so it
is compared with that before anything is submitted, and noted anew.

A note is written at most every :data:`RENEW_SECONDS`, and before the submit that comes then. It tells the
ledger from every backup that was made before. What was paid within that time before a ledger was lost may be
unknown to a backup of that very time, unseen.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengLandingError, JimengLedgerError

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.identity import Identity
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.media.target import Target

__all__ = ["RENEW_SECONDS", "Marker", "refusal"]

log = logging.getLogger(__name__)

RENEW_SECONDS = 30.0
_LENGTH = 250


@dataclass(frozen=True, slots=True)
class _Noted:
    """What stands in a note; one of an early release names no mark and no time."""

    ledger: str
    mark: int
    at: float


class Marker:
    """
    A note of the ledger's identity at a place; may be used by several threads.

    :param place: the file.
    :param vital: whether a submit has to wait where the note can't be written. Where the place is only a
        further witness, it goes on without.
    """

    def __init__(self, place: Target, ledger: Ledger, *, vital: bool = True) -> None:
        self._place, self._ledger, self._vital = place, ledger, vital
        self._lock = threading.Lock()
        self._checked: float | None = None
        self._unmarked = False

    def check(self, *, adopt: bool = False) -> None:
        """
        Compare the ledger with what is noted, and note it where that is due.

        :param adopt: a person looked, and lets this ledger take this place over.
        :raises JimengConfigurationError: another ledger, or a newer state of this one, paid.
        :raises JimengLandingError: the note can't be read or written now.
        """
        with self._lock:
            self._check(adopt=adopt)

    def admit(self) -> None:
        """Do as :meth:`check` just before a submit, unless that was done a moment ago."""
        with self._lock:
            if self._checked is None or time.monotonic() - self._checked >= RENEW_SECONDS:
                self._check(adopt=False)
            self._unmarked = True

    def leave(self) -> None:
        """Note how far the ledger has come, at the end of a run that submitted; trouble is only logged."""
        with self._lock:
            if not self._unmarked:
                return
            try:
                noted = self._read()
                if noted is None or self._ledger.identity().objection(noted.ledger, noted.mark) is None:
                    self._write()
            except (JimengLandingError, JimengLedgerError) as error:
                log.warning("%s could not be brought up to date: %s", self._place.uri, error)

    def _check(self, *, adopt: bool) -> None:
        # In this order: what is noted was in the ledger before.
        noted = self._read()
        identity = self._ledger.identity()
        objection = None if noted is None else identity.objection(noted.ledger, noted.mark)
        if objection is not None and noted is not None:
            if not adopt:
                raise refusal(f"{objection} ({self._place.uri})", noted.ledger)
            log.warning("%s is taken over, although %s.", self._place.uri, objection)
        due = noted is None or noted.ledger != identity.uuid or abs(identity.now - noted.at) >= RENEW_SECONDS
        if due or objection is not None:
            self._write()
        self._checked = time.monotonic()

    def _read(self) -> _Noted | None:
        with tempfile.TemporaryDirectory(prefix="jimeng-") as scratch:
            local = Path(scratch) / "ledger.json"
            try:
                if self._place.stat() is None:
                    return None
                self._place.fetch(local)
            except JimengLandingError as error:
                raise JimengLandingError(
                    f"{self._place.uri} tells which ledger paid for what is there, and can't be read: "
                    f"{error.__cause__ or error}. Nothing was sent"
                ) from error
            noted = _parsed(local.read_bytes())
        if noted is None:
            raise JimengLandingError(
                f"{self._place.uri} does not name a ledger. It keeps a ledger that has forgotten its "
                "payments from paying again; remove it if that is no concern. Nothing was sent"
            )
        return noted

    def _write(self) -> None:
        identity = self._ledger.advance()
        with tempfile.TemporaryDirectory(prefix="jimeng-") as scratch:
            local = Path(scratch) / "ledger.json"
            # Of one length, so that two who write it at once find what they wrote.
            local.write_text(f"{json.dumps(_note(identity)):<{_LENGTH}}\n", encoding="utf-8")
            try:
                self._place.publish(local)
            except JimengLandingError as error:
                if self._vital:
                    raise
                log.info("No note of the ledger is kept at %s: %s", self._place.uri, error)
        self._unmarked = False


def refusal(objection: str, ledger: str) -> JimengConfigurationError:
    """
    Return the error that stops a submit until a person has decided.

    :param ledger: the UUID of the ledger that is missing.
    """
    return JimengConfigurationError(
        f"Nothing was sent: {objection}. Whatever it has forgotten would be paid for again. Bring the right "
        "ledger back, or correct [jimeng] ledger_conn_id or ledger_url; or, once you have looked at what is "
        f'missing, let this one go on: `ledger take-over {ledger} --reason "..."`'
    )


def _note(identity: Identity) -> dict[str, object]:
    at = dt.datetime.fromtimestamp(identity.now, dt.UTC).isoformat()
    return {"ledger": identity.uuid, "mark": identity.mark, "at": at}


def _parsed(text: bytes) -> _Noted | None:
    try:
        values = json.loads(text)
        ledger, mark, at = values["ledger"], values.get("mark", 0), values.get("at")
        when = 0.0 if at is None else dt.datetime.fromisoformat(at).timestamp()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    if not isinstance(ledger, str) or not ledger or isinstance(mark, bool) or not isinstance(mark, int):
        return None
    return _Noted(ledger, mark, when)
