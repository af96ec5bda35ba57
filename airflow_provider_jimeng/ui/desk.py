# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The ledger as the api-server sees it, and plain words where it sees none."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.hooks.ledger import ledger_url
from airflow_provider_jimeng.ledger.admin import LedgerAdmin, NoLedger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Desk", "NoBooks", "open_desk"]

log = logging.getLogger(__name__)


class NoBooks(Exception):
    """
    The ledger can't be looked at from here.

    :param words: what to tell a person who sees a web page, not a configuration.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True, slots=True)
class Desk:
    """
    A ledger that answers.

    :param local: it is a file on this machine, which other machines don't see.
    :param host: this machine.
    """

    admin: LedgerAdmin
    local: bool
    host: str

    @property
    def place(self) -> str:
        """Which database it is, without user and password."""
        return self.admin.place


def open_desk(url: Callable[[], str] = ledger_url) -> Desk:
    """
    Open the ledger that Airflow's configuration names on this machine; never makes one.

    :raises NoBooks: there is none, it can't be reached, or the configuration names no usable one.
    """
    # As Airflow's api-server says of itself: connections are read from its database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    host = socket.gethostname()
    try:
        admin = LedgerAdmin(url())
    except NoLedger as error:
        raise NoBooks(
            f"{error} The question was asked by the api-server on {host}. If your tasks run on other "
            "machines, give all of them and the api-server one ledger in PostgreSQL or MySQL: [jimeng] "
            "ledger_conn_id."
        ) from None
    except JimengError as error:
        raise NoBooks(f"The api-server on {host} can't open the ledger. {error}") from None
    except Exception as error:
        # A secrets backend may raise anything, and its words may quote a password.
        log.exception("The ledger's configuration can't be read")
        raise NoBooks(
            f"The api-server on {host} can't read the ledger's configuration ({type(error).__name__}); its "
            "log says why. Nothing was changed."
        ) from None
    return Desk(admin, admin.place.startswith("sqlite:"), host)
