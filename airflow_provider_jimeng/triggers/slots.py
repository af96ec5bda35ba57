# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Waiting for a slot without a worker, and without asking the vendor for one."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.hooks.jimeng import JimengHook, epoch_of
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.ledger.admin import NoLedger
from airflow_provider_jimeng.ledger.records import Scope, SlotView
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.settle import is_overdue
from airflow_provider_jimeng.triggers.connections import connections
from airflow_provider_jimeng.triggers.holders import holders, seen_over, usable_by
from airflow_provider_jimeng.triggers.jimeng import (
    CONNECTION_RETRY_SECONDS,
    DEADLINE,
    TURN,
    event_to_tell,
    leave_out,
    settings_of,
)
from airflow_provider_jimeng.triggers.settling import hold_seconds
from airflow_provider_jimeng.triggers.watch import ledger_reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_jimeng.client.aio import AsyncClient
    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.records import TaskRecord
else:
    # A worker makes this trigger, and never asks with it.
    (AsyncClient,) = late("airflow_provider_jimeng.client.aio", "AsyncClient")

_LOOK_SECONDS = 1.0
#: A ledger that isn't the ticket's tells nothing of it, so its worker has to look; but not each second.
_ASTRAY_SECONDS = 300.0
_UNREADABLE = "The ledger can't be read; waiting for it: %s"
_NOT_ASKED = "The vendor can't be asked from here; waiting for what the ledger says: %s"
#: *expired* is what was given up and may come back: a worker asks the vendor for it, at the time it named.
_UNDECIDED = frozenset({TaskState.INTENT, TaskState.UNKNOWN, TaskState.EXPIRED})


class JimengSlotTrigger(BaseTrigger):
    """
    Wait until it is a ticket's turn to claim a slot.

    The head of the queue also asks the vendor about tasks that hold a slot and that nobody here watches:
    their DAG may have failed or been deleted, and the claim that follows frees their slot.

    :param account: with ``endpoint`` and ``req_key``, whose slots.
    :param ticket_id: the place in the queue; ``None`` to wait for nothing but ``not_before``.
    :param not_before: ISO 8601 UTC time before which asking again makes no sense.
    :param content_key: the content; the wait also ends when another owner's submit of it is decided.
    :param deadline: ISO 8601 UTC time at which the wait ends.
    :param later: arguments of a later release, see :func:`.jimeng.leave_out`.
    """

    def __init__(
        self,
        account: str,
        endpoint: str,
        req_key: str,
        content_key: str,
        ticket_id: int | None = None,
        volcengine_conn_id: str = JimengHook.default_conn_name,
        not_before: str | None = None,
        deadline: str | None = None,
        **later: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        leave_out(self, later)
        self.account = account
        self.endpoint = endpoint
        self.req_key = req_key
        self.content_key = content_key
        self.ticket_id = ticket_id
        self.volcengine_conn_id = volcengine_conn_id
        self.not_before = not_before
        self.deadline = deadline
        self._first_state: TaskState | None = None
        self._told: set[str] = set()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments: names and a ticket, no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "account": self.account,
                "endpoint": self.endpoint,
                "req_key": self.req_key,
                "content_key": self.content_key,
                "ticket_id": self.ticket_id,
                "volcengine_conn_id": self.volcengine_conn_id,
                "not_before": self.not_before,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: it is this ticket's turn, or the deadline has passed."""
        # dag.test() has no scheduler that could be overtaken, and sets no task instance.
        began = time.monotonic()
        quiet_until = began + (0.0 if self.task_instance is None else hold_seconds())
        deadline = epoch_of(self.deadline)
        settings = await settings_of(self.volcengine_conn_id, deadline)
        await asyncio.sleep(max(0.0, quiet_until - time.monotonic()))
        while settings is not None and (deadline is None or time.time() < deadline):
            over = await self._look(settings, time.time(), time.monotonic() - began)
            if over is not None:
                told = {"over": over} if over else {}
                whose = {"deadline": self.deadline, "req_key": self.req_key}
                yield event_to_tell({"status": TURN, **whose, **told})
                return
            await asyncio.sleep(_LOOK_SECONDS * (0.75 + random.random() / 2))  # noqa: S311 - jitter may be guessed
            # A number of slots that was raised or lowered meanwhile, and keys that were rotated.
            settings = connections().after(settings, self.volcengine_conn_id)
        yield event_to_tell({"status": DEADLINE, "deadline": self.deadline})

    async def _look(
        self, settings: AccountSettings, now: float, waited: float
    ) -> list[dict[str, Any]] | None:
        """Return something once the wait is over; trouble with the ledger is waited out."""
        try:
            if not self.ticket_id:
                over = await self._is_decided(now)
            else:
                over = await self._over(settings.limit_for(self.req_key), AsyncClient(settings), now)
        except JimengError as error:
            self._tell_once(_UNREADABLE, error)
            return [] if isinstance(error, NoLedger) and waited >= _ASTRAY_SECONDS else None
        self._told.discard(_UNREADABLE)
        return over

    def _tell_once(self, words: str, error: Exception) -> None:
        if words not in self._told:
            self._told.add(words)
            self.log.warning(words, error)

    async def _find_over(self, client: AsyncClient, view: SlotView) -> TaskRecord | None:
        """Return a holder that the vendor says is over; one that can't be asked about here holds its slot."""
        try:
            return await holders().find_over(
                client, view, head=self._is_head(view), refused=self._was_refused
            )
        except JimengError as error:
            self._tell_once(_NOT_ASKED, error)
            self._was_refused()
            return None

    def _was_refused(self) -> None:
        connections().refused(self.volcengine_conn_id, CONNECTION_RETRY_SECONDS)

    def _may_look(self, now: float) -> bool:
        return now >= (epoch_of(self.not_before) or 0.0)

    async def _is_decided(self, now: float) -> list[dict[str, Any]] | None:
        """Return something once the wait for a submit is over: by time, or because it came to something."""
        if self._may_look(now):
            return []
        record = await ledger_reader().latest(self.content_key)
        if record is None:
            await ledger_reader().must_know(self.account)
        if record is None or record.state not in _UNDECIDED:
            return []
        # An intent that turned unknown is another question, which only a worker may answer.
        self._first_state = self._first_state or record.state
        return None if record.state is self._first_state else []

    async def _over(self, limit: int | None, client: AsyncClient, now: float) -> list[dict[str, Any]] | None:
        """Return ``None`` until it is this ticket's turn; then the ended tasks that still hold slots."""
        if not self._may_look(now):
            return None
        view = await ledger_reader().slots(Scope(self.account, self.endpoint, self.req_key), limit)
        if self.ticket_id in view.entitled:
            return []
        if self.ticket_id not in view.waiting:
            # A ticket that is gone was pruned, or the ledger was replaced: a worker has to look.
            await ledger_reader().must_know(self.account)
            return []
        mine = usable_by(self.ticket_id, view, seen_over)
        if mine:
            return mine
        found = await self._find_over(client, view)
        known = None if found is None else seen_over.get(found.task_id)
        if found is None or known is None:
            return None
        # The first in the queue may be dead: what is long overdue is told by whoever found it.
        overdue = [known[1]] if is_overdue(found, view.now) else None
        return usable_by(self.ticket_id, view, seen_over) or overdue

    def _is_head(self, view: SlotView) -> bool:
        return view.in_use >= view.limit and self.ticket_id in view.waiting[: max(1, view.limit)]
