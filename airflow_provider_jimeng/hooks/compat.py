# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The few names of Airflow that moved between 3.1 and 3.3, found where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def reading_a_connection() -> Iterator[None]:
    """
    Read a connection, and have it count as missing where Airflow 3.1.0 has no task to read it for.

    Outside of a task (a command, a script) that release asks for a channel to a supervisor that isn't there,
    where later ones say that the connection isn't defined.

    :raises AirflowNotFoundException: there is no such connection.
    """
    try:
        yield
    except ImportError as error:
        if "SUPERVISOR_COMMS" not in str(error):
            raise
        raise AirflowNotFoundException(
            "the connection isn't defined where this process can see it"
        ) from error


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
    "reading_a_connection",
]
