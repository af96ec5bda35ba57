# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The few names of Airflow that moved between 3.1 and 3.3, found where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.log import mask_secret

try:
    from airflow.sdk.configuration import conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf

try:
    from airflow.sdk.exceptions import AirflowNotFoundException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowNotFoundException  # type: ignore[attr-defined]

try:
    from airflow.sdk.log import amask_secret
except ImportError:  # before Airflow 3.3

    async def amask_secret(secret: Any, name: str | None = None) -> None:  # type: ignore[misc]
        """Mask off the loop: the synchronous call may wait for an answer that only this loop can read."""
        await asyncio.to_thread(mask_secret, secret, name)


#: Before Airflow 3.3.2, reading a connection on an event loop masks secrets with a call that may deadlock.
MASKS_ASYNCHRONOUSLY = hasattr(Connection, "aextra_dejson")


def read_connection(read: Callable[[str], Any], conn_id: str) -> Any:
    """
    Read a connection; outside of a task (a command, a script) on Airflow 3.1.0 too.

    There that release asks for a channel to a supervisor that isn't there. Later ones then look where
    Airflow's own commands find connections, and so does this.

    :param read: Airflow's way of a task, ``BaseHook.get_connection``.
    :raises AirflowNotFoundException: there is no such connection.
    """
    try:
        return read(conn_id)
    except ImportError as error:
        if "SUPERVISOR_COMMS" not in str(error):
            raise
    from airflow.models.connection import Connection as OfCommands

    return OfCommands.get_connection_from_secrets(conn_id)


def connection_of(path: Any) -> str | None:
    """Return the connection id that an ``ObjectStoragePath`` names, ``None`` if it names none."""
    # Airflow 3.1 keeps it among the options only, Airflow 3.3 only outside of them.
    found: str | None = getattr(path, "conn_id", None) or path.storage_options.get("conn_id")
    return found


__all__ = [
    "MASKS_ASYNCHRONOUSLY",
    "AirflowNotFoundException",
    "amask_secret",
    "conf",
    "connection_of",
    "mask_secret",
    "read_connection",
]
