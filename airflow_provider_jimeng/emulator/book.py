# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The emulator's own ledger: what it accepted, refused, was asked and handed out.

Every change is an event that is applied by the same code whether it happens now or is read back from the
state file. Slot usage is derived from the tasks, never counted up and down, so it cannot drift.
"""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.emulator.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_jimeng.emulator.journal import Journal

#: Versions of the state file that can be read.
VERSION = 1


class Book:
    """
    Tasks and counters, optionally kept in a state file.

    :param journal: where events are kept; ``None`` keeps them in memory only.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._clear()
        self.offset = 0.0
        self.url_secret = secrets.token_hex(16)
        fresh = True
        if journal is not None:
            for event in journal.replay():
                self._apply(event)
                fresh = False
        if fresh:
            self._record_meta()

    def _clear(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.refused: dict[str, Counter[str]] = {
            on: Counter() for on in ("submit", "query", "download", "other")
        }
        self.media: Counter[str] = Counter()
        self.media_vendor: Counter[str] = Counter()
        self.queries = 0
        self.unknown_queries = 0
        self._open: dict[str, set[str]] = {}

    # -- what happened -----------------------------------------------------------------------------------

    def accept(self, task: Task) -> Task:
        """A submit was accepted: on disk before anybody is told. Returns the task as booked."""
        self._record({"e": "task", "task": task.to_event()}, sync=True)
        return self.tasks[task.task_id]

    def refuse(self, on: str, reason: str) -> None:
        """A call was not served; ``reason`` is a code, or the name of a fault."""
        self._record({"e": "refused", "on": on, "reason": reason})

    def settle(self, task: Task, *, done_at: float, verdict: int, message: str | None) -> None:
        """It is now certain when a task ends, and how."""
        self._record(
            {"e": "settled", "id": task.task_id, "done_at": done_at, "verdict": verdict, "message": message}
        )

    def answered(self, task: Task, how: str) -> None:
        """The answer to an accepted submit was lost or garbled by a fault."""
        self._record({"e": "answered", "id": task.task_id, "how": how})

    def queried(self, task: Task | None, now: float, *, noticed: bool, refused: str | None) -> None:
        """A query was answered; ``noticed`` when it was truthfully told that the task is done."""
        self._record(
            {
                "e": "query",
                "id": None if task is None else task.task_id,
                "t": now,
                "noticed": noticed,
                "refused": refused,
            }
        )

    def downloaded(self, task: Task, *, completed: bool) -> None:
        """A result's URL was asked for, or its last byte was handed over."""
        self._record({"e": "download", "id": task.task_id, "completed": completed})

    def media_served(self, name: str, *, vendor: bool) -> None:
        """A sample input was asked for, by the emulator's own fetch or by somebody else."""
        self._record({"e": "media", "name": name, "vendor": vendor})

    def moved(self, offset: float) -> None:
        """The clock was moved forward."""
        self._record({"e": "offset", "offset": offset})

    def reset(self) -> None:
        """Forget all tasks and counters; signed URLs handed out before are void."""
        if self._journal is not None:
            self._journal.clear()
        self._clear()
        self.url_secret = secrets.token_hex(16)
        self._record_meta()

    def close(self) -> None:
        """Release the state file."""
        if self._journal is not None:
            self._journal.close()

    # -- what is known -----------------------------------------------------------------------------------

    def running(self, req_key: str, now: float) -> list[Task]:
        """Tasks that hold a slot of this req_key."""
        ids = self._open.get(req_key, set())
        for task_id in [task_id for task_id in ids if self.tasks[task_id].done(now)]:
            ids.discard(task_id)
        return [self.tasks[task_id] for task_id in ids]

    def unsettled(self) -> Iterable[Task]:
        """Tasks whose end is not certain yet."""
        return [task for task in self.tasks.values() if task.done_at is None]

    # -- events ------------------------------------------------------------------------------------------

    def _record_meta(self) -> None:
        self._record({"e": "meta", "version": VERSION, "url_secret": self.url_secret, "offset": self.offset})

    def _record(self, event: dict[str, Any], *, sync: bool = False) -> None:
        if self._journal is not None:
            self._journal.append(event, sync=sync)
        self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> None:
        kind = event["e"]
        if kind == "meta":
            if event["version"] != VERSION:
                raise ValueError(f"state file of version {event['version']}: only {VERSION} can be read")
            self.url_secret = event["url_secret"]
            self.offset = event["offset"]
        elif kind == "offset":
            self.offset = event["offset"]
        elif kind == "task":
            task = Task(**event["task"])
            self.tasks[task.task_id] = task
            self._open.setdefault(task.req_key, set()).add(task.task_id)
        elif kind == "refused":
            self.refused[event["on"]][event["reason"]] += 1
        elif kind == "media":
            (self.media_vendor if event["vendor"] else self.media)[event["name"]] += 1
        elif kind == "query":
            self._apply_query(event)
        else:
            self._apply_to_task(self.tasks[event["id"]], event)

    def _apply_query(self, event: Mapping[str, Any]) -> None:
        self.queries += 1
        if event["refused"] is not None:
            self.refused["query"][event["refused"]] += 1
        if event["id"] is None:
            self.unknown_queries += event["refused"] is None
            return
        task = self.tasks[event["id"]]
        task.queries += 1
        task.last_query = event["t"]
        if event["refused"] is not None:
            task.queries_refused += 1
        if event["noticed"] and task.first_noticed is None:
            task.first_noticed = event["t"]

    def _apply_to_task(self, task: Task, event: Mapping[str, Any]) -> None:
        kind = event["e"]
        if kind == "settled":
            task.done_at = event["done_at"]
            task.verdict = event["verdict"]
            task.message = event["message"]
        elif kind == "answered":
            task.answered = event["how"]
        elif kind == "download":
            if event["completed"]:
                task.downloads_completed += 1
            else:
                task.downloads += 1
        else:
            raise ValueError(f"state file holds an unknown event {kind!r}")
