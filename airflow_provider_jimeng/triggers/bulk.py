# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a deferred bulk run waits for: the end of any of its tasks, or its turn at a slot that others held."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger
from airflow_provider_jimeng.triggers.slots import JimengSlotTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from airflow.triggers.base import TriggerEvent


class JimengBulkTrigger(JimengTaskTrigger):
    """
    Wait until any of a run's tasks is over, or it is the run's turn to claim a slot; tell once.

    :param tasks: references of the run's open tasks; may be empty.
    :param turn: the arguments of a :class:`.slots.JimengSlotTrigger`, where the run waits for a slot.
    :param more_turns: the same for further products whose slots the run waits for.
    :param hold: seconds from the trigger's start in which nothing is asked and nothing told.
    """

    def __init__(
        self,
        tasks: Sequence[Mapping[str, Any]],
        volcengine_conn_id: str = JimengHook.default_conn_name,
        deadline: str | None = None,
        poll_interval: float | None = None,
        turn: Mapping[str, Any] | None = None,
        hold: float = 0.0,
        more_turns: Sequence[Mapping[str, Any]] = (),
        **later: Any,
    ) -> None:
        super().__init__(tasks, volcengine_conn_id, deadline, poll_interval, wait_for="any", **later)
        self.turn = None if turn is None else dict(turn)
        self.hold = hold
        self.more_turns = [dict(each) for each in more_turns]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments: references, names and a connection id, no secret."""
        classpath, arguments = super().serialize()
        del arguments["wait_for"]
        # An earlier release's triggerer need not be told what there is none of.
        more = {"more_turns": self.more_turns} if self.more_turns else {}
        return classpath, {**arguments, "turn": self.turn, "hold": self.hold, **more}

    def _hold(self) -> float:
        # This trigger's own hold covers both of its waits.
        return 0.0

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: that of the tasks, or that of the turn, whichever is first."""
        began = time.monotonic()
        waits = []
        if self.tasks:
            # A task that ends meanwhile is asked about at once afterwards, so these questions are saved.
            await asyncio.sleep(self.hold)
            waits.append(super().run())
        for turn in (self.turn, *self.more_turns):
            if turn is not None:
                waits.append(JimengSlotTrigger(**turn, volcengine_conn_id=self.volcengine_conn_id).run())
        firsts = [asyncio.ensure_future(anext(each)) for each in waits]
        try:
            done, _ = await asyncio.wait(firsts, return_when=asyncio.FIRST_COMPLETED)
            # What the tasks came to says more than that it is the run's turn.
            event = next(each for each in firsts if each in done).result()
        finally:
            for each in firsts:
                each.cancel()
            await asyncio.gather(*firsts, return_exceptions=True)
        await asyncio.sleep(self.hold - (time.monotonic() - began))
        yield event
