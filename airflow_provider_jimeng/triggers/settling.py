# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How long after a deferral a trigger stays quiet, so that Airflow does not fail the healthy task.

The supervisor of a worker's process notices the end of a leg up to ``[workers] min_heartbeat_interval`` late,
where the process closed its sockets a moment before it could be reaped. A trigger that fires within that time
has the task queued again while the executor still reports the end of the leg before; Airflow 3.3 takes the
one for the other and fails the task ("finished with state success, but the task instance's state attribute
is queued"). That costs a try each time, and a bulk run has hundreds of legs.
"""

from __future__ import annotations

from airflow_provider_jimeng.hooks.compat import conf

__all__ = ["hold_seconds"]

_DEFAULT_INTERVAL = 5
#: A trigger starts about a second after its task was deferred, which is a margin already.
_MARGIN_SECONDS = 0.2


def hold_seconds() -> float:
    """Return how long after its start a trigger may not tell, by this installation's configuration."""
    interval: float = conf.getfloat("workers", "min_heartbeat_interval", fallback=_DEFAULT_INTERVAL)
    return interval + _MARGIN_SECONDS
