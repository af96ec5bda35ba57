# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Which ledger this is, and how far it has come.

A ledger that has forgotten payments answers like any other. What gives it away is written elsewhere, beside
what was paid for: its UUID, and a number that only grows (its mark). Another UUID there is another ledger; a
greater mark there tells that this one is an older state of itself, as a restored backup is.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.engine import read_clock
from airflow_provider_jimeng.ledger.limits import remark
from airflow_provider_jimeng.ledger.listing import accounts
from airflow_provider_jimeng.ledger.schema import meta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

    from airflow_provider_jimeng.ledger.engine import Database

__all__ = ["Identified", "Identity", "advance", "identity", "take_over"]

_UUID, _MARK, _TOOK_OVER = "uuid", "mark", "took_over:"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A ledger's identity at a moment.

    :param mark: grows whenever it is about to be written beside outputs.
    :param took_over: ledgers whose place this one takes, as persons decided: who, when and why by UUID.
    :param now: the database's clock.
    """

    uuid: str
    mark: int
    took_over: Mapping[str, str]
    now: float

    def objection(self, ledger: str, mark: int) -> str | None:
        """Return why this ledger may not pay where another identity is noted, ``None`` where it may."""
        if ledger in self.took_over:
            return None
        if ledger != self.uuid:
            return f"another ledger ({ledger}) paid there, and this one ({self.uuid}) does not know for what"
        if mark > self.mark:
            return (
                f"this ledger ({self.uuid}) is older than what was paid through it (mark {mark} there, "
                f"{self.mark} here), as one restored from a backup is, and has forgotten what came after"
            )
        return None


class Identified(ABC):
    """What a ledger says of itself."""

    _url: str

    def is_at(self, url: str) -> bool:
        """Return whether it was opened with this URL: the same database, user and password."""
        return self._url == url

    @property
    @abstractmethod
    def _database(self) -> Database:
        """The database, in this process."""

    @property
    def place(self) -> str:
        """Which database this is, fit for a log."""
        return self._database.place

    @property
    def uuid(self) -> str:
        """The ledger's UUID, as this process has read it first."""
        return self._database.uuid()

    def identity(self) -> Identity:
        """Return which ledger this is, and how far it has come, now."""
        return self._database.read(identity)

    def accounts(self) -> list[str]:
        """Return the accounts that ever claimed, or were ever paused."""
        return self._database.read(accounts)

    def advance(self) -> Identity:
        """Let the mark grow, before it is noted beside outputs."""
        return self._database.write(advance)

    def take_over(self, ledger: str, *, by: str, reason: str) -> Identity:
        """Write that this ledger takes another's place, as a person decided; see :func:`take_over`."""
        return self._database.write(lambda conn: take_over(conn, ledger, by=by, reason=reason))


def identity(conn: Connection) -> Identity:
    """Return which ledger this is; not from memory, since a person may just have decided something."""
    return _identity(conn, _names(conn))


def advance(conn: Connection) -> Identity:
    """Let the mark grow; what is noted elsewhere then tells this ledger from every earlier copy of it."""
    _lock(conn)
    names = _names(conn)
    _put(conn, names, _MARK, str(_mark(names) + 1))
    return _identity(conn, names)


def take_over(conn: Connection, ledger: str, *, by: str, reason: str) -> Identity:
    """
    Write that this ledger takes another's place, or that of a newer copy of itself.

    In the latter case it gets a new UUID: its rows and marks go on from an older state, and would otherwise
    be mistaken for those that are lost.
    """
    _lock(conn)
    names = _names(conn)
    if ledger == names[_UUID]:
        _put(conn, names, _UUID, str(uuid.uuid4()))
    name = _TOOK_OVER + ledger
    _put(conn, names, name, remark(names.get(name, ""), read_clock(conn), f"by {by}: {reason}"))
    return _identity(conn, names)


def _names(conn: Connection) -> dict[str, str]:
    return {row[0]: row[1] for row in conn.execute(select(meta.c.name, meta.c.value))}


def _lock(conn: Connection) -> None:
    # The one row that is always there; SQLite's writers are one after the other anyway.
    conn.execute(select(meta.c.value).where(meta.c.name == _UUID).with_for_update())


def _put(conn: Connection, names: dict[str, str], name: str, value: str) -> None:
    if name in names:
        conn.execute(update(meta).where(meta.c.name == name).values(value=value))
    else:
        conn.execute(insert(meta).values(name=name, value=value))
    names[name] = value


def _mark(names: Mapping[str, str]) -> int:
    try:
        return int(names.get(_MARK, "0"))
    except ValueError:
        raise JimengLedgerError(
            f"The ledger's table {meta.name} is damaged: its mark is no number. Nothing was submitted. "
            "Restore the ledger from a backup; don't start an empty one beside paid tasks."
        ) from None


def _identity(conn: Connection, names: Mapping[str, str]) -> Identity:
    took_over = {
        name.removeprefix(_TOOK_OVER): words for name, words in names.items() if name.startswith(_TOOK_OVER)
    }
    return Identity(names[_UUID], _mark(names), took_over, read_clock(conn))
