# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One accepted submit and everything that is known of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.emulator.answers import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class Task:
    """
    A task of the vendor. Times are epoch seconds of the emulator's clock.

    :param number: order of acceptance, from 1.
    :param body: as submitted; a presigned URL in it is needed to fetch the input, and is shown nowhere.
    :param content: the body with every URL cut at its query string.
    :param planned: real seconds of processing; ``None`` until the template video was measured.
    :param verdict: the code it ends with.
    :param done_at: when it ends and its slot is free; ``None`` until that is certain.
    :param pictures: how many pictures it makes; 0 where its product makes a video.
    :param rendered: whether its result is a real video, which takes a renderer to make.
    :param answered: ``"ok"``, or the fault that kept the id from the caller.
    """

    task_id: str
    number: int
    req_key: str
    body: Mapping[str, Any] = field(repr=False)
    content: Mapping[str, Any]
    content_key: str
    request_id: str
    submitted_at: float
    queue_until: float
    planned: float | None
    done_at: float | None
    verdict: int = SUCCESS
    message: str | None = None
    answered: str = "ok"
    rendered: bool = False
    pictures: int = 0
    queries: int = 0
    queries_refused: int = 0
    last_query: float | None = None
    first_noticed: float | None = None
    downloads: int = 0
    downloads_completed: int = 0

    def done(self, now: float) -> bool:
        """Whether the verdict is out."""
        return self.done_at is not None and now >= self.done_at

    def status(self, now: float) -> str:
        """The status word a query would get, expiry apart."""
        if self.done(now):
            return "done"
        unmeasured = self.planned is None and self.done_at is None
        return "in_queue" if unmeasured or now < self.queue_until else "generating"

    @property
    def names(self) -> list[str]:
        """What its results are called, in the order in which a query tells them."""
        if not self.pictures:
            return [f"{self.task_id}.mp4"]
        return [f"{self.task_id}-{number}.jpeg" for number in range(1, self.pictures + 1)]

    def tag(self, name: str) -> dict[str, Any]:
        """What a result says about where it is from."""
        told = {"task_id": self.task_id, "content_key": self.content_key, "content": dict(self.content)}
        return {**told, "number": 1 + self.names.index(name)} if self.pictures else told

    @property
    def noticed_after(self) -> float | None:
        """Seconds from done to the first query that was told so."""
        if self.done_at is None or self.first_noticed is None:
            return None
        return max(0.0, self.first_noticed - self.done_at)

    def to_event(self) -> dict[str, Any]:
        """The task as written to the state file."""
        return dataclasses.asdict(self)

    def shown(self, now: float) -> dict[str, Any]:
        """The task as the ledger shows it: without the body, whose URLs may be presigned."""
        shown = dataclasses.asdict(self)
        del shown["body"]
        shown["status"] = self.status(now)
        shown["noticed_after"] = self.noticed_after
        return shown
