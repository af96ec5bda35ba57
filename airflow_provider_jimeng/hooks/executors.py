# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Whether all tasks run on this machine, from ``[core] executor``."""

from __future__ import annotations

import sys
from importlib import import_module

#: Executors of Airflow itself that start tasks beside the scheduler.
_LOCAL = frozenset(
    {
        "LocalExecutor",
        "SequentialExecutor",
        "airflow.executors.local_executor.LocalExecutor",
        "airflow.executors.sequential_executor.SequentialExecutor",
    }
)
#: Names that Airflow expands itself; never worth an import to know that they are not local.
_REMOTE = frozenset({"CeleryExecutor", "KubernetesExecutor", "EdgeExecutor"})


def remote_executors(configured: str) -> list[str]:
    """
    Return the configured executors that may run tasks on other machines, in their order.

    Reads lists (``A,B``), aliases (``name:A``) and teams (``A;team=B,C``). What can't be found out counts as
    remote, teams that Airflow would ignore included: the error has a remedy, a forgotten payment has none.

    :param configured: the text of ``[core] executor``.
    """
    found = []
    for team in configured.split(";"):
        for entry in team.rpartition("=")[2].split(","):
            name = entry.strip().rpartition(":")[2].strip()
            if name and name not in found and not _is_local(name):
                found.append(name)
    return found


def runs_in_process() -> bool:
    """Tell whether this is ``dag.test()``, which runs every task in this very process."""
    supervisor = sys.modules.get("airflow.sdk.execution_time.supervisor")
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    kind = getattr(supervisor, "InProcessSupervisorComms", None)
    return kind is not None and isinstance(comms, kind)


def _is_local(name: str) -> bool:
    if name in _LOCAL or name in _REMOTE:
        return name in _LOCAL
    module, _, attribute = name.rpartition(".")
    if not module:
        return False
    try:
        executor = getattr(import_module(module), attribute)
    except Exception:
        # A module that can't be imported here says nothing about where tasks run.
        return False
    return getattr(executor, "is_local", False) is True
