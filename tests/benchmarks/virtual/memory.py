# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A ledger that remembers in memory what is open, and nothing else: a million items through SQL take hours.

Its decisions are those of ``policy.slots`` and ``policy.submit``; what is left out is what makes the real one
safe. ``simulation --ledger sqlite`` runs the same with the real one, to show that it makes no difference.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.ledger.records import Scope, SlotView, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.ensured import Ensured, InHand, Waiting
from airflow_provider_jimeng.policy.slots import (
    CoolDown,
    LearnedLimit,
    after_acceptance,
    after_refusal,
    cool_down,
    effective_limit,
)
from airflow_provider_jimeng.policy.submit import SubmitKind, judge_submit

if TYPE_CHECKING:
    from airflow_provider_jimeng.lifecycle.wanted import Wanted

    from tests.benchmarks.virtual.vendor import SimVendor

_TICKET = 1


@dataclass(slots=True)
class MemoryLedger:
    """
    The ledger of one scope.

    :param configured: slots from the connection, ``None``: learned.
    """

    vendor: SimVendor
    configured: int | None
    rows: dict[int, TaskRecord] = field(default_factory=dict)
    learned: LearnedLimit = LearnedLimit()
    cool: CoolDown = CoolDown()
    in_use: int = 0
    typical: float | None = None
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def now(self) -> float:
        return self.vendor.world.time()

    def latest(self, key: str) -> None:
        return None

    def get(self, record_id: int) -> TaskRecord | None:
        return self.rows.get(record_id)

    def latest_many(self, keys: Any) -> dict[str, TaskRecord]:
        return {}

    def landings_many(self, keys: Any) -> dict[str, Any]:
        return {}

    def typical_seconds(self, scope: Scope) -> float | None:
        return self.typical

    def slot_view(self, scope: Scope, configured: int | None) -> SlotView:
        now = self.now()
        limit, cooling = self._limit(now), self._cooling(now)
        mine = frozenset({_TICKET}) if cooling is None and self.in_use < limit else frozenset[int]()
        return SlotView(
            now=now,
            in_use=self.in_use,
            limit=limit,
            cooldown_until=cooling,
            entitled=mine,
            holders=(),
            waiting=(_TICKET,),
        )

    def _limit(self, now: float) -> int:
        return effective_limit(self.configured, self.learned, now)

    def _cooling(self, now: float) -> float | None:
        return self.cool.until if self.cool.until is not None and now < self.cool.until else None

    def ensure(self, wanted: Wanted, **_: Any) -> Ensured:
        """Claim and submit, as a submitter does where nothing else stands for the content."""
        now = self.now()
        limit, cooling = self._limit(now), self._cooling(now)
        if self.in_use >= limit or cooling is not None:
            reason = "slots" if self.in_use >= limit else "cooldown"
            wait = None if cooling is None else cooling - now
            return Waiting(reason, _TICKET, wait, limit=limit, in_use=self.in_use)
        outcome = judge_submit(self.vendor.submit(), now=now)
        if outcome.kind is SubmitKind.CREATED:
            self.in_use += 1
            self.learned = after_acceptance(self.learned, self.in_use)
            self.cool = replace(self.cool, streak=0)
            return InHand(self._row(wanted, now, outcome.task_id), reused=False)
        self.cool = cool_down(self.cool, now, retry_after=outcome.retry_after, jitter=0.5)
        self.learned = after_refusal(
            self.learned, self.in_use, now, configured=self.configured, cool_until=self.cool.until
        )
        return Waiting("cooldown", _TICKET, (self.cool.until or now) - now, limit=limit, in_use=self.in_use)

    def _row(self, wanted: Wanted, now: float, task_id: str | None) -> TaskRecord:
        number = next(self._ids)
        row = self.rows[number] = TaskRecord(
            id=number,
            content_key=wanted.key,
            attempt=1,
            state=TaskState.SUBMITTED,
            revision=3,
            scope=wanted.scope,
            inputs=wanted.inputs,
            variant=0,
            force_new=None,
            owner="",
            provenance=wanted.provenance,
            created_at=now,
            send_deadline=60.0,
            expected_seconds=180.0,
            task_id=task_id,
            sent_at=now,
            send_count=1,
            submitted_at=now,
        )
        return row

    def record_succeeded(
        self, record: TaskRecord, *, processing: float | None = None, **_: Any
    ) -> TaskRecord:
        self.in_use -= 1
        self.typical = processing or self.typical
        row = self.rows[record.id] = replace(record, state=TaskState.SUCCEEDED, finished_at=self.now())
        return row

    def landed(self, record: TaskRecord) -> TaskRecord:
        """Forget a row that is landed."""
        return replace(self.rows.pop(record.id), state=TaskState.LANDED, landed_at=self.now())
