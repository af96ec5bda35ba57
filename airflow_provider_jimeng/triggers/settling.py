# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How long after a deferral a trigger stays quiet, so that Airflow does not fail the healthy task.

The supervisor of a worker's process notices its end late: up to ``[workers] min_heartbeat_interval`` seconds,
where the sockets of the process were closed a moment before it could be reaped. A trigger that fires within
that time has the task queued again while the executor still reports the end of the leg before, and the
scheduler takes the one for the other: "finished with state success, but the task instance's state attribute
is queued". That costs a try each time, and a bulk run has thousands of legs.
"""

from __future__ import annotations

from airflow_provider_jimeng.hooks.compat import conf

__all__ = ["blind_seconds", "quiet_seconds"]

_USUAL_INTERVAL = 5.0
#: For the scheduler to read what the executor reports.
_MARGIN = 1.0
#: From a trigger's event to the first line of the next leg, and from a deferral to the trigger's start.
_UNDERWAY = 2.5


def quiet_seconds(*, real: bool) -> float:
    """
    Return for how many seconds after its start a trigger must not fire.

    :param real: whether there is a scheduler; ``dag.test()`` has none, and nothing to wait for.
    """
    if not real:
        return 0.0
    interval = conf.getfloat("workers", "min_heartbeat_interval", fallback=_USUAL_INTERVAL)
    return max(0.0, interval) + _MARGIN


def blind_seconds() -> float:
    """Return the least time, in seconds, between a deferral and the first line of the leg that follows it."""
    return quiet_seconds(real=True) + _UNDERWAY
