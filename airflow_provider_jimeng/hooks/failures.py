# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The errors as Airflow should see them.

A failure that no retry can change must not burn retries: it is raised as a class that is both the error of
:mod:`airflow_provider_jimeng.exceptions` (so ``except`` and callbacks work by reaction) and Airflow's
``AirflowFailException``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng import exceptions

if TYPE_CHECKING:
    from airflow_provider_jimeng.exceptions import JimengError

_FATAL: dict[type[JimengError], type[JimengError]] = {}


def _register(kind: type[JimengError]) -> None:
    namespace: dict[str, Any] = {"__doc__": kind.__doc__, "__module__": __name__}
    fatal = type(kind.__name__, (kind, AirflowFailException), namespace)
    # Airflow's executors pickle what a task raised; the class must be found here by its name.
    globals()[kind.__name__] = fatal
    _FATAL[kind] = fatal


for _name in exceptions.__all__:
    _kind = getattr(exceptions, _name)
    if not _kind.retry_helps:
        _register(_kind)


def for_airflow(error: JimengError) -> JimengError:
    """
    Return the error to raise from a task: one that ends the task where a retry can't help, else itself.

    What the error itself says counts before its class: of a connection that is missing and one that could not
    be read for now Airflow says the same, and whoever raised it knows which causes may pass.
    """
    fatal = None if error.retry_helps else _FATAL.get(type(error))
    if fatal is None:
        return error
    return fatal(error.message, **error._facts())
