# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Crash points inside the processes of a test's Airflow. Standard library only: every process loads it.

A point does nothing until a file ``armed/<point>/<dag>/<n>`` is there. The process that comes by takes the
file (a rename, so that one process gets it), says where it is in ``hits/``, and does what the file says:
strike itself with a signal, or hold until the harness has struck something else.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import clockmaker  # type: ignore[import-not-found]

#: A held process goes on after this long even if the harness has died.
HOLD_SECONDS = 90.0
PACKAGE = "airflow_provider_jimeng."

_sending = threading.local()


def folder() -> str:
    return os.environ["JIMENG_CHAOS_FOLDER"]


def passing(point: str, dag: str | None = None) -> None:
    """Stop here if the point is armed for this process's DAG."""
    dag = dag or os.environ.get("AIRFLOW_CTX_DAG_ID") or "any"
    armed = os.path.join(folder(), "armed", point, dag)
    try:
        tokens = sorted(os.listdir(armed))
    except OSError:
        return
    for token in tokens:
        mine = os.path.join(folder(), "taken", f"{point}--{dag}--{token}--{uuid.uuid4().hex}")
        try:
            os.rename(os.path.join(armed, token), mine)
        except OSError:
            continue
        with open(mine) as file:
            order = json.load(file)
        _obey(order, point, dag)
        return


def _obey(order: dict[str, Any], point: str, dag: str) -> None:
    name = order["id"]
    hit = {
        "id": name,
        "point": point,
        "dag": dag,
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "at": time.time(),
    }
    temporary = os.path.join(folder(), f"hit-{uuid.uuid4().hex}")
    with open(temporary, "w") as file:
        json.dump(hit, file)
    os.rename(temporary, os.path.join(folder(), "hits", name))
    number = order.get("signal")
    if number is not None:
        os.kill(os.getpid(), number)
        if number == signal.SIGTERM:
            # The handler runs in the main thread, and this may be another: give it the moment it needs.
            time.sleep(0.2)
        return
    go = os.path.join(folder(), "go", name)
    until = time.monotonic() + HOLD_SECONDS
    while not os.path.exists(go) and time.monotonic() < until:
        time.sleep(0.05)


def wrap(
    owner: Any, name: str, *, before: str | None = None, after: str | None = None, only: Any = None
) -> None:
    """Put a crash point before or after a function."""
    usual = getattr(owner, name)

    def struck(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            passing(before)
        value = usual(*args, **kwargs)
        if after is not None and (only is None or only(value)):
            passing(after)
        return value

    setattr(owner, name, struck)


# -- where the points are ---------------------------------------------------------------------------------


def _ledger(module: ModuleType) -> None:
    ledger = module.Ledger
    wrap(
        ledger,
        "claim",
        before="before-intent",
        after="after-intent",
        only=lambda claim: hasattr(claim, "record"),
    )
    wrap(ledger, "record_created", after="id-recorded")
    wrap(ledger, "record_succeeded", before="verdict-seen")


def _wire(module: ModuleType) -> None:
    """The request is out and nobody has read the answer; its head is here and nobody has read the rest."""
    from urllib3.connection import HTTPConnection

    exchange = module._Sending
    send, answer = exchange._send, HTTPConnection.getresponse

    def told(self: Any, adapter: Any) -> Any:
        _sending.submit = "SubmitTask" in self._request.url
        try:
            return send(self, adapter)
        finally:
            _sending.submit = False

    def response(self: Any) -> Any:
        submits = getattr(_sending, "submit", False)
        if submits:
            passing("bytes-sent")
        value = answer(self)
        if submits:
            passing("vendor-accepted")
        return value

    exchange._send = told
    HTTPConnection.getresponse = response  # type: ignore[method-assign]


def _client(module: ModuleType) -> None:
    wrap(module.SyncClient, "submit", after="after-answer")


def _download(module: ModuleType) -> None:
    wrap(module, "_store", before="downloading")


def _target(module: ModuleType) -> None:
    """A result of this product is stored and nobody has recorded it; reports are published the same way."""
    target = module.Target
    publish, copy = target.publish, target.copy_to

    def published(self: Any, source: Any, **options: Any) -> Any:
        stat = publish(self, source, **options)
        if self.uri.endswith(".mp4"):
            passing("published")
        return stat

    def copied(self: Any, other: Any) -> None:
        copy(self, other)
        if other.uri.endswith(".mp4"):
            passing("copied")

    target.publish, target.copy_to = published, copied


def _report(module: ModuleType) -> None:
    wrap(module.ReportWriter, "finish", before="before-report")
    usual = module.ReportWriter._publish

    def between(self: Any, scratch: Any, name: str, write: Any) -> None:
        usual(self, scratch, name, write)
        if name == module.REPORT:
            passing("half-reported")

    module.ReportWriter._publish = between


def _resumes(name: str) -> Callable[[ModuleType], None]:
    def arm(module: ModuleType) -> None:
        wrap(getattr(module, name), "execute_complete", before="resumed")

    return arm


def _trigger(module: ModuleType) -> None:
    usual = module.event_to_tell

    def telling(payload: dict[str, Any]) -> Any:
        passing("event-told", "any")
        return usual(payload)

    vars(module)["event_to_tell"] = telling


POINTS: dict[str, Callable[[ModuleType], None]] = {
    "ledger.store": _ledger,
    "client.wire": _wire,
    "client.sync": _client,
    "media.download": _download,
    "media.target": _target,
    "bulk.report": _report,
    "operators.motion_imitation": _resumes("JimengMotionImitationOperator"),
    "operators.batch": _resumes("JimengBatchOperator"),
    "operators.submit": _resumes("JimengSubmitTaskOperator"),
    "sensors.jimeng": _resumes("JimengTaskSensor"),
    "triggers.jimeng": _trigger,
}


def _unarmed(module: ModuleType) -> None:
    """Leave a module without points."""


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the product's modules as Python would, and puts the points in when they have been executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if not name.startswith(PACKAGE):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            usual, arm = spec.loader.exec_module, POINTS.get(name[len(PACKAGE) :], _unarmed)

            def execute(module: ModuleType) -> None:
                usual(module)
                arm(module)
                clockmaker.give(module)

            spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Put the points into every product module that is imported from now on."""
    for name in ("armed", "taken", "hits", "go"):
        with contextlib.suppress(OSError):
            os.makedirs(os.path.join(folder(), name), exist_ok=True)
    clockmaker.watch(folder())
    sys.meta_path.insert(0, _Finder())
