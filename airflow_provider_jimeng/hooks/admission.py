# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Whether the configured ledger is the one that knows what was paid for.

Three witnesses are asked before a submit: the connection, where it names its ledger; a note in Airflow's
home, of what this machine last paid through; and a note beside the outputs. A restored backup, a fresh file
and another machine's ledger differ from at least one of them, and stop until a person decides. Where the
environment's keys stand in for a connection, the ledger itself is a witness: of who has paid through it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from airflow_provider_jimeng.hooks.environment import objection_to
from airflow_provider_jimeng.hooks.ledger import airflow_home
from airflow_provider_jimeng.lifecycle.marker import Marker, refusal
from airflow_provider_jimeng.media.target import SAFE_FOLDER, Target

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.store import Ledger

__all__ = ["Admission", "home_note"]


def home_note(settings: AccountSettings) -> Path:
    """Return the file in Airflow's home that tells through which ledger an account paid from this machine."""
    name = f"{settings.account}\n{settings.endpoint_name}"
    return airflow_home() / SAFE_FOLDER / f"ledger-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


class Admission:
    """Asks the witnesses of one connection's submits; may be used by several threads."""

    def __init__(self, ledger: Ledger, settings: AccountSettings) -> None:
        from fsspec.implementations.local import LocalFileSystem

        self._ledger, self._settings = ledger, settings
        path = str(home_note(settings))
        # Many a container can't write there, or forgets it: then the other witnesses have to do.
        self._home = Marker(Target(LocalFileSystem(auto_mkdir=True), path, path), ledger, vital=False)
        self._notes: dict[str, Marker] = {}

    def note_at(self, place: Target) -> Marker:
        """Return the note beside outputs."""
        return self._notes.setdefault(place.uri, Marker(place, self._ledger))

    def check(self, beside: Marker, *, adopt: bool) -> None:
        """
        Ask all of them, before a run begins.

        :param adopt: a person lets this ledger take the place of the outputs over.
        :raises JimengConfigurationError: this ledger has forgotten payments, or never knew of them.
        :raises JimengLandingError: a note can't be read or written now.
        """
        self._check_account()
        self._home.check()
        beside.check(adopt=adopt)

    def admit(self, beside: Marker | None) -> None:
        """Ask all of them just before a submit; see :meth:`check`."""
        self._check_account()
        for note in (self._home, beside):
            if note is not None:
                note.admit()

    def leave(self) -> None:
        """Note how far the ledger has come, at the end of a run."""
        for note in (self._home, *self._notes.values()):
            note.leave()

    def _check_account(self) -> None:
        if self._settings.from_environment:
            alone = objection_to(self._settings, self._ledger.accounts())
            if alone is not None:
                raise alone
        self._check_pin()

    def _check_pin(self) -> None:
        pinned = self._settings.ledger
        if pinned is None or pinned == self._ledger.uuid:
            return
        identity = self._ledger.identity()
        objection = identity.objection(pinned, 0)
        if objection is not None:
            raise refusal(f"{objection} (the connection {self._settings.conn_id!r} names it)", pinned)
