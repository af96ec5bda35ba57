# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The hook in ``@task`` functions: its submits go through the ledger like the operators'."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow.sdk.execution_time.context import set_current_context
from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.exceptions import (
    JimengInputError,
    JimengNoSlotError,
    JimengThrottledError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.hooks.jimeng import JimengHook, epoch_of, iso
from airflow_provider_jimeng.hooks.waiting import wait_on_worker
from airflow_provider_jimeng.lifecycle.ensured import Waiting

from tests.legs import Bench, DagRun


def in_task(act: Any, run_id: str = "run-1", try_number: int = 1) -> Any:
    """Call something as the body of a ``@task``."""
    ti = SimpleNamespace(dag_id="dag", run_id=run_id, task_id="task", map_index=-1, try_number=try_number)
    context: Any = {"ti": ti}
    with set_current_context(context):
        return act()


def test_a_retried_task_function_pays_once(bench: Bench) -> None:
    def body(fails: bool) -> str:
        task_id = JimengHook().submit_motion_imitation(bench.image, bench.video)
        if fails:
            raise RuntimeError("something after the submit")
        return task_id

    with pytest.raises(RuntimeError):
        in_task(lambda: body(True))
    task_id = in_task(lambda: body(False), try_number=2)
    assert in_task(lambda: body(False), run_id="run-2") == task_id
    assert bench.accepted == 1
    assert bench.rows()[0].provenance.try_number == 1


def test_the_hook_shares_its_tasks_with_the_operators(bench: Bench) -> None:
    task_id = JimengHook().submit_motion_imitation(bench.image, bench.video)
    assert bench.imitate()["task_id"] == task_id
    same = {"image_url": bench.image, "video_url": bench.video}
    assert JimengHook().submit_task(MOTION_IMITATION, same) == task_id
    assert bench.accepted == 1


def test_submits_of_the_hook_take_variant_and_reason(bench: Bench) -> None:
    hook = JimengHook()
    seen = {
        hook.submit_motion_imitation(bench.image, bench.video),
        hook.submit_motion_imitation(bench.image, bench.video, variant=1),
    }
    bench.emu.advance(1)
    bench.alter("UPDATE jimeng_tasks SET state = 'succeeded'")
    seen.add(hook.submit_motion_imitation(bench.image, bench.video, force_new="again"))
    assert len(seen) == 3
    assert bench.accepted == 3


def test_the_hook_waits_for_a_slot_on_the_worker(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=1.2)
    hook = JimengHook()
    hook.submit_motion_imitation(bench.image, bench.video)
    hook.submit_motion_imitation(bench.image, bench.video, variant=1)
    assert bench.accepted == 2
    assert bench.refused == {}


def test_the_hook_gives_up_waiting_and_nothing_is_paid(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=60)
    hook = JimengHook()
    hook.submit_motion_imitation(bench.image, bench.video)
    with pytest.raises(JimengNoSlotError, match="1 of 1"):
        hook.submit_motion_imitation(bench.image, bench.video, variant=1, slot_timeout=0.3)
    assert bench.accepted == 1


def test_an_unknown_outcome_is_raised_every_time(bench: Bench) -> None:
    bench.emu.add_fault("submit:50500,created=true")
    for _ in range(2):
        with pytest.raises(JimengUnknownSubmitError):
            in_task(lambda: JimengHook().submit_motion_imitation(bench.image, bench.video))
    assert bench.accepted == 1


def test_the_raw_submit_is_paid_every_time_and_says_so(bench: Bench) -> None:
    body = {"image_url": bench.image, "video_url": bench.video}
    # Both slots are busy for as long as this test runs, however slow the machine is.
    bench.emu.configure(duration=600)
    hook = JimengHook()
    assert hook.unsafe_submit(MOTION_IMITATION, body) != hook.unsafe_submit(MOTION_IMITATION, body)
    assert bench.accepted == 2
    assert bench.rows() == []
    with pytest.raises(JimengThrottledError, match="nothing was paid"):
        hook.unsafe_submit(MOTION_IMITATION, body)
    bench.emu.add_fault("submit:reset")
    with pytest.raises(JimengUnknownSubmitError, match="no ledger row"):
        hook.unsafe_submit(MOTION_IMITATION, body)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_result_is_asked_for_once(bench: Bench, asynchronous: bool) -> None:
    async def ask(task_id: str) -> dict[str, Any]:
        return await JimengHook().aget_result(task_id) if asynchronous else JimengHook().get_result(task_id)

    bench.emu.configure(duration=30.0)
    bench.emu.add_fault("done:50411,skip=1")
    done = JimengHook().submit_motion_imitation(bench.image, bench.video)
    failed = JimengHook().submit_motion_imitation(bench.image, bench.video, variant=1)
    assert (await ask(done))["status"] == "running"
    bench.emu.advance(60)
    result = await ask(done)
    assert result["status"] == "done"
    assert result["video_url"].startswith("http://127.0.0.1")
    assert result["task_id"] == done
    verdict = await ask(failed)
    assert (verdict["status"], verdict["code"], verdict["video_url"]) == ("failed", 50411, None)
    assert (await ask("123"))["status"] == "running", "not_found counts only when it lasts"
    with pytest.raises(JimengInputError, match="task_id"):
        await ask("")


@pytest.mark.parametrize(
    "call",
    [
        lambda hook: hook.submit_motion_imitation("file:///etc/passwd", "https://a.example/v.mp4"),
        lambda hook: hook.submit_task("jimeng_t2i_v40", {}),
        lambda hook: hook.submit_task("", {"prompt": "x"}),
        lambda hook: hook.submit_task("jimeng_t2i_v40", {"req_key": "jimeng_t2i_v30", "prompt": "x"}),
        lambda hook: hook.submit_motion_imitation(
            "https://a.example/i.png", "https://a.example/v.mp4", variant=-1
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(bench: Bench, call: Any) -> None:
    with pytest.raises(JimengInputError, match="othing was"):
        call(JimengHook())
    assert bench.emu.ledger()["totals"]["submits"] == 0


def test_outside_of_airflow_attempts_belong_to_the_process(bench: Bench) -> None:
    JimengHook().submit_motion_imitation(bench.image, bench.video)
    assert bench.rows()[0].provenance.run_id.startswith("process-")


def test_a_wait_on_the_worker_asks_often_and_tells_each_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    slept: list[float] = []
    clock = iter(float(n) for n in range(100))
    answers = [Waiting("slots", 1, None, 2, 2), Waiting("slots", 1, None, 2, 2), Waiting("cooldown", 1, 60.0)]
    with caplog.at_level("INFO"), pytest.raises(JimengNoSlotError):
        wait_on_worker(
            lambda: answers.pop(0) if len(answers) > 1 else answers[0],
            timeout=6.0,
            sleep=slept.append,
            clock=lambda: next(clock),
        )
    assert max(slept) <= 2.0
    assert [r.getMessage().split()[1] for r in caplog.records if "Waiting" in r.getMessage()] == [
        "(slots);",
        "(cooldown);",
    ]


@pytest.mark.parametrize("epoch", [0.0, 1_795_355_724.4992, 4_102_444_800.0])
def test_times_survive_their_text(epoch: float) -> None:
    assert epoch_of(iso(epoch)) == pytest.approx(epoch, abs=1e-5)
    assert epoch_of(epoch) == epoch
    assert epoch_of("2026-11-22T00:00:00") == epoch_of("2026-11-22T00:00:00+00:00")
    assert iso(None) is None
    assert epoch_of(None) is None


def test_a_cleared_dag_run_keeps_its_attempts(bench: Bench) -> None:
    bench.emu.add_fault("done:50511,times=0")
    run = DagRun()
    for _ in range(5):
        with pytest.raises(Exception, match="verdict"):
            bench.imitate(run, max_attempts=2)
    assert bench.accepted == 2
