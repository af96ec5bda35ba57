# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Many task instances in a storm of refusals: few calls, and no stampede when it is over."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.hooks.jimeng import JimengHook, iso
from airflow_provider_jimeng.ledger.records import Scope
from airflow_provider_jimeng.policy import slots as slot_policy
from airflow_provider_jimeng.triggers import slots as slot_trigger
from airflow_provider_jimeng.triggers.slots import JimengSlotTrigger

from tests.ledger.kit import Bench as LedgerBench
from tests.legs import Bench, DagRun, first_event
from tests.network.calls import counted, most_within
from tests.operators.test_batch_scenarios import lines, run

INSTANCES = 8
SUBMIT_QPS = 40


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize("code", [50429, 50430])
def test_a_storm_over_many_tasks_costs_few_calls_and_no_retry(
    bench: Bench, code: int, deferrable: bool
) -> None:
    bench.emu.configure(concurrency=None)
    bench.connect(max_concurrency=INSTANCES, submit_qps=SUBMIT_QPS)
    bench.patch.setattr(slot_policy, "CONFIGURED_PROBE_SECONDS", 0.3)
    fault = bench.emu.add_fault(f"submit:{code},times=0")
    instances = [
        bench.imitation(
            DagRun(f"run-{number}"),
            variant=number,
            output=str(bench.folder / f"{number}.mp4"),
            deferrable=deferrable,
        )
        for number in range(INSTANCES)
    ]
    failed: list[BaseException] = []

    def go(instance: Any) -> None:
        try:
            instance.finish()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go, args=(each,)) for each in instances]
    over = threading.Timer(1.5, bench.emu.clear_faults, args=(fault,))
    with counted(bench.emu) as calls:
        over.start()
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    over.join()

    assert failed == []
    assert bench.accepted == INSTANCES
    assert {instance.ti.try_number for instance in instances} == {1}
    refused = sum(bench.refused.values())
    assert refused <= 2 * INSTANCES, "what was under way at each of the cool-downs of 0.3, 0.6 and 1.2 s"
    assert len(calls.submits) == INSTANCES + refused
    assert most_within(calls.submits, 1.0) <= SUBMIT_QPS + 2


def test_one_refusal_out_of_turn_costs_a_configured_account_a_slot_for_a_moment(bench: Bench) -> None:
    """The vendor's count lags behind: the submit that follows a task's end is refused, and no other."""
    bench.patch.setattr(slot_policy, "CONFIGURED_PROBE_SECONDS", 0.4)
    bench.emu.add_fault("submit:50430,skip=1")
    summary = run(bench, lines(bench, range(6)))
    assert (summary["landed"], bench.accepted, bench.refused) == (6, 6, {"50430": 1})

    scope = JimengHook().settings.scope(MOTION_IMITATION)
    until = time.time() + 5.0
    while (limit := bench.ledger.slot_view(scope, 2).limit) < 2 and time.time() < until:
        time.sleep(0.05)
    assert limit == 2


async def test_waiters_of_one_cool_down_do_not_wake_in_the_same_instant(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_trigger, "_LOOK_SECONDS", 1.0)
    waiters = 12
    bench.connect(max_concurrency=waiters)
    scope = Scope("tests", f"{bench.emu.host}/cn-north-1", "m")
    kit = LedgerBench(bench.ledger_url)
    kit.scope = scope
    bench.ledger.claim(kit.request("first", configured_limit=waiters))
    bench.ledger.note_refused(scope, kind="rate", retry_after=2.5)
    tickets = [
        kit.must_wait(f"k-{number}", configured_limit=waiters).ticket_id for number in range(waiters - 1)
    ]
    end = time.time() + 2.5
    woken: list[float] = []

    async def wait(ticket_id: int) -> None:
        trigger = JimengSlotTrigger(
            scope.account, scope.endpoint, scope.req_key, "k", ticket_id, not_before=iso(end)
        )
        assert (await first_event(trigger, 10.0))["status"] == "turn"
        woken.append(time.time())

    await asyncio.gather(*(wait(each) for each in tickets))
    assert min(woken) >= end - 0.01
    assert max(woken) - min(woken) > 0.2
    assert most_within(woken, 0.05) <= len(tickets) // 2
    kit.ledger.close()
