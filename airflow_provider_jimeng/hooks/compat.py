# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The few names of Airflow that moved between 3.1 and 3.3, found where they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from airflow.sdk import Connection
from airflow.sdk.log import mask_secret as _mask_secret

try:
    from airflow.sdk.configuration import conf

    _NARROW = False
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf

    #: A process's channel to its supervisor takes one thread at a time, and in a triggerer the loop's only.
    _NARROW = True

try:
    from airflow.sdk.exceptions import AirflowNotFoundException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowNotFoundException  # type: ignore[attr-defined]

try:
    from airflow.sdk.log import amask_secret
except ImportError:  # before Airflow 3.3

    async def amask_secret(secret: Any, name: str | None = None) -> None:  # type: ignore[misc]
        """Mask off the loop: the synchronous call may wait for an answer that only this loop can read."""
        await off_the_loop(mask_secret, secret, name)


#: Before Airflow 3.3.2, reading a connection on an event loop masks secrets with a call that may deadlock.
MASKS_ASYNCHRONOUSLY = hasattr(Connection, "aextra_dejson")

T = TypeVar("T")
_CHANNEL: AbstractContextManager[Any] = threading.RLock() if _NARROW else nullcontext()


async def off_the_loop(
    function: Callable[..., T], *arguments: Any, executor: ThreadPoolExecutor | None = None
) -> T:
    """
    Run a function that may ask Airflow for something in a thread, and await it.

    Not ``asyncio.to_thread``: what Airflow 3.1's triggerer is asked from a thread it reads on a loop of that
    thread's own, beside the loop that owns the channel, gets the answer to another question, and ends, with
    all that waits in it. A thread of asgiref's leads back to the loop that it was started from.

    :param executor: whose thread to use; the loop's default ones if not given.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(function, thread_sensitive=False, executor=executor)(*arguments)


def one_at_a_time() -> AbstractContextManager[Any]:
    """
    Hold Airflow's channel to the supervisor for this thread where two threads would mix up their answers.

    Not on an event loop: the thread that holds it may wait for that loop.
    """
    return _CHANNEL


def mask_secret(secret: Any, name: str | None = None) -> None:
    """Hide a secret in this process's logs, and in its supervisor's."""
    with one_at_a_time():
        _mask_secret(secret, name)


def read_connection(read: Callable[[str], Any], conn_id: str) -> Any:
    """
    Read a connection; outside of a task (a command, a script) on Airflow 3.1.0 too.

    There that release asks for a channel to a supervisor that isn't there. Later ones then look where
    Airflow's own commands find connections, and so does this.

    :param read: Airflow's way of a task, ``BaseHook.get_connection``.
    :raises AirflowNotFoundException: there is no such connection.
    """
    try:
        with one_at_a_time():
            return read(conn_id)
    except ImportError as error:
        if "SUPERVISOR_COMMS" not in str(error):
            raise
    from airflow.models.connection import Connection as OfCommands

    return OfCommands.get_connection_from_secrets(conn_id)


def doubt_of_absence(conn_id: str) -> str | None:
    """
    Return why it is not certain that a connection doesn't exist; ``None`` where it is.

    Airflow's own search takes a secrets backend that fails, and an API server that is away, for one that has
    no such connection, and ends with *not found*. So each backend is asked again, and the supervisor's own
    words count: only its *there is none* is one.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    for backend in ensure_secrets_backend_loaded():
        name = type(backend).__name__
        # This one makes nothing of every trouble; what it asks is asked below. Airflow 3.1.0 has none.
        if name == "ExecutionAPISecretsBackend":
            continue
        try:
            with one_at_a_time():
                found = backend.get_connection(conn_id=conn_id)
        except Exception as error:
            return f"{name} failed with {type(error).__name__}"
        if found:
            return f"{name} has it now"
    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return None if comms is None else _doubt_of_supervisor(comms, conn_id)


def _doubt_of_supervisor(comms: Any, conn_id: str) -> str | None:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

    try:
        with one_at_a_time():
            answer = comms.send(GetConnection(conn_id=conn_id))
    except AirflowRuntimeError as error:
        answer = error.error
    except Exception as error:
        return f"the question failed with {type(error).__name__}"
    if not isinstance(answer, ErrorResponse):
        return "Airflow has it now" if answer is not None else "Airflow gave no answer"
    return None if answer.error == ErrorType.CONNECTION_NOT_FOUND else f"Airflow says {answer.error.value}"


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
    "doubt_of_absence",
    "mask_secret",
    "off_the_loop",
    "one_at_a_time",
    "read_connection",
]
