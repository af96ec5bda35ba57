# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.emulator.rate import QpsWindow

from tests.emulator.caller import Caller


def test_a_slot_is_held_from_submit_to_done() -> None:
    with Emulator(EmulatorConfig(duration=100.0, concurrency=1)) as emulator:
        caller = Caller(emulator)
        caller.created("a")
        refused = caller.submit("b")
        assert refused.status_code == 429
        assert refused.json()["code"] == 50430
        assert refused.json()["message"] == "Request Has Reached API Concurrent Limit, Please Try Later"
        emulator.advance(99)
        assert caller.submit("b").json()["code"] == 50430
        emulator.advance(2)
        caller.created("b")
        ledger = emulator.ledger()
        assert ledger["totals"]["accepted"] == 2
        assert ledger["refused"] == {"50430": 2}
        assert ledger["slots"][MOTION_IMITATION]["max_in_use"] == 1


def test_slots_are_counted_per_req_key() -> None:
    limits = {MOTION_IMITATION: 1, "jimeng_none": 0, "*": 2}
    with Emulator(EmulatorConfig(duration=100.0, concurrency=limits)) as emulator:
        caller = Caller(emulator)
        codes = [
            caller.submit(str(number), req_key=req_key).json()["code"]
            for req_key in (MOTION_IMITATION, "jimeng_other", "jimeng_none")
            for number in range(3)
        ]
        assert codes == [10000, 50430, 50430, 10000, 10000, 50430, 50430, 50430, 50430]


def test_a_failed_task_holds_its_slot_until_it_is_done() -> None:
    with Emulator(EmulatorConfig(duration=100.0, concurrency=1)) as emulator:
        emulator.add_fault("done:50411")
        caller = Caller(emulator)
        caller.created("a")
        assert caller.submit("b").json()["code"] == 50430
        emulator.advance(101)
        assert caller.submit("b").json()["code"] == 10000


def test_no_race_gets_more_than_the_slots() -> None:
    with Emulator(EmulatorConfig(duration=100.0, concurrency=3)) as emulator:
        caller = Caller(emulator)
        with ThreadPoolExecutor(8) as threads:
            codes = Counter(threads.map(lambda number: caller.submit(str(number)).json()["code"], range(24)))
        assert codes == {10000: 3, 50430: 21}
        assert emulator.ledger()["slots"][MOTION_IMITATION]["max_in_use"] == 3


def test_concurrency_can_change_while_it_runs() -> None:
    with Emulator(EmulatorConfig(duration=100.0, concurrency=1)) as emulator:
        caller = Caller(emulator)
        caller.created("a")
        emulator.configure(concurrency=2)
        caller.created("b")
        emulator.configure(concurrency=1)
        assert caller.submit("c").json()["code"] == 50430
        emulator.configure(concurrency=None)
        caller.created("c")


def test_qps_limits_are_counted_apart_for_submits_and_queries() -> None:
    config = EmulatorConfig(duration=0.0, concurrency=None, submit_qps=0.001, query_qps=0.001)
    with Emulator(config) as emulator:
        caller = Caller(emulator)
        task_id = caller.created()
        refused = caller.submit()
        assert (refused.status_code, refused.json()["code"]) == (429, 50429)
        assert caller.status(task_id) == "done"
        asked = caller.query(task_id)
        assert (asked.status_code, asked.json()["code"]) == (429, 50429)
        ledger = emulator.ledger()
        assert ledger["refused"] == ledger["queries_refused"] == {"50429": 1}
        assert ledger["tasks"][task_id]["queries"] == 2
        assert ledger["tasks"][task_id]["queries_refused"] == 1
        emulator.configure(submit_qps=None, query_qps=None)
        assert caller.submit().status_code == 200
        assert caller.query(task_id, MOTION_IMITATION_2).status_code == 200


def test_a_window_lets_through_as_many_calls_a_second_as_it_says() -> None:
    window = QpsWindow()
    assert [window.allow(10.0 + step / 10, 3) for step in range(12)] == [True] * 3 + [False] * 7 + [True] * 2
    assert window.allow(0.0, None)


def test_a_fraction_is_one_call_in_several_seconds() -> None:
    window = QpsWindow()
    assert [window.allow(float(second), 0.5) for second in range(5)] == [True, False, True, False, True]
