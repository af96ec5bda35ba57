# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A connection that changes while a worker waits: rotated keys, other numbers of slots, another account."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.api.models import MOTION_IMITATION, TransportFailure
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengCredentialError
from airflow_provider_jimeng.hooks import renewal
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.hooks.renewal import LastingClient, Newest
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun
from tests.operators.test_batch import batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_jimeng.client.settings import AccountSettings

NEW = ("AKLTROTATED", "cm90YXRlZA==")


def rotate(bench: Bench, **extra: Any) -> None:
    """Let the vendor know new keys only, and write them into the connection."""
    bench.emu.configure(access_key=NEW[0], secret_key=NEW[1])
    bench.connect(login=NEW[0], password=NEW[1], **extra)


@contextmanager
def soon(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Do something in a while, from another thread."""
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def begun() -> JimengHook:
    """Return a hook that has read its connection."""
    hook = JimengHook()
    _ = hook.client, hook.newest_settings()
    return hook


def refused(bench: Bench) -> int:
    return int(bench.emu.ledger()["totals"]["queries_refused"])


def test_keys_are_rotated_between_the_pokes_of_a_sensor(bench: Bench) -> None:
    bench.emu.configure(duration=1.2)
    task = bench.submit()
    sensor = DagRun().instance(
        JimengTaskSensor, "wait", task=task, deferrable=False, poke_interval=0.2, timeout=6
    )
    with soon(0.4, lambda: rotate(bench)):
        assert sensor.leg()["status"] == "done"
    assert bench.states() == ["succeeded"]


def test_keys_are_rotated_while_a_worker_waits_for_anothers_slot(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=2.0)
    bench.submit()
    waiting = bench.imitation(DagRun("run-2"), variant=1, deferrable=False, slot_timeout=12)
    with soon(0.5, lambda: rotate(bench, max_concurrency=1)):
        waiting.leg()
    assert bench.states() == ["succeeded", "landed"]
    assert (bench.accepted, bench.refused) == (2, {}), "its submit goes out with the keys that work"


def test_slots_that_are_bought_while_a_worker_waits_are_used(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "KEEP_SECONDS", 0.3)
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=60)
    bench.submit()
    hook, body = JimengHook(), {"image_url": bench.image, "video_url": bench.video, "n": 2}
    with soon(0.5, lambda: bench.connect(max_concurrency=2)):
        assert hook.submit_task(MOTION_IMITATION, body, slot_timeout=6.0)
    assert bench.states() == ["submitted", "submitted"]


def test_slots_that_are_bought_during_a_bulk_run_on_the_worker_are_used(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "KEEP_SECONDS", 0.3)
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=3600.0, concurrency=3)

    def buy() -> None:
        bench.connect(max_concurrency=3)
        # No task ends before all are there, however slow the machine is.
        until = time.monotonic() + 60.0
        while bench.accepted < 3 and time.monotonic() < until:
            time.sleep(0.1)
        filled.append(bench.accepted)
        bench.emu.advance(3600.0)

    filled: list[int] = []
    with soon(0.5, buy):
        summary = batch(bench, range(3)).finish()
    assert filled == [3]
    assert (summary["landed"], bench.accepted, bench.refused) == (3, 3, {})
    assert summary["slot_utilisation"] <= 1.0


def test_a_key_that_is_rotated_during_a_bulk_run_on_the_worker_is_paid_with(bench: Bench) -> None:
    bench.emu.configure(duration=0.8)
    bench.connect(max_concurrency=2)
    with soon(1.0, lambda: rotate(bench, max_concurrency=2)):
        assert batch(bench, range(8)).finish()["landed"] == 8
    assert bench.accepted == 8
    assert 1 <= sum(bench.refused.values()) <= 2, "a refusal per slot at most, not one per submit"


def test_a_refused_submit_leaves_the_rotated_key_to_those_after_it(bench: Bench) -> None:
    hook = begun()
    rotate(bench)
    for number in range(2):
        hook.submit_task(MOTION_IMITATION, {"image_url": bench.image, "video_url": bench.video, "n": number})
    assert bench.accepted == 2
    assert sum(bench.refused.values()) == 1


def test_a_refusal_is_written_down_though_the_connection_is_of_no_use_by_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable(_: JimengHook) -> AccountSettings:
        raise JimengConfigurationError("verify: there is no such file")

    hook = begun()
    rotate(bench)
    monkeypatch.setattr(JimengHook, "_refreshed", unusable)
    with pytest.raises(JimengCredentialError, match="does not know this access key"):
        hook.submit_task(MOTION_IMITATION, {"image_url": bench.image, "video_url": bench.video, "n": 2})
    assert bench.states() == ["rejected"], "nothing was paid, and nobody need decide about it"


def test_another_accounts_keys_neither_ask_nor_pay(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "KEEP_SECONDS", 0.0)
    task = bench.submit()
    hook = begun()
    bench.emu.configure(access_key=NEW[0], secret_key=NEW[1])
    bench.connect(account="other", login=NEW[0], password=NEW[1], max_concurrency=7)
    # The emulator would answer those keys, too.
    assert hook.get_result(task["task_id"])["code"] == 100009
    assert refused(bench) == 1, "asked once, with the keys that the task was paid with"
    assert hook.newest_settings().limit_for(MOTION_IMITATION) == 2


def test_rotated_keys_of_an_account_without_a_name_ask_and_do_not_pay(bench: Bench) -> None:
    bench.connect(account=None)
    task = bench.submit()
    hook = begun()
    rotate(bench, account=None)
    assert hook.get_result(task["task_id"])["status"] in ("running", "done")
    with pytest.raises(Exception, match="does not know this access key"):
        hook.submit_task(MOTION_IMITATION, {"image_url": bench.image, "video_url": bench.video, "n": 2})
    assert bench.accepted == 1


def test_a_submit_takes_the_rotated_keys_and_keeps_the_deadline_of_its_intent(bench: Bench) -> None:
    task = bench.submit()
    client = JimengHook().client
    rotate(bench, submit_deadline=300, max_concurrency=9)
    client.query(MOTION_IMITATION, task["task_id"])
    assert isinstance(client, LastingClient)
    assert client._payer is not None
    assert client._payer.settings.credentials.access_key == NEW[0]
    assert client._payer.settings.submit_deadline == client.settings.submit_deadline == 5.0


def test_keys_that_stay_refused_are_read_anew_with_a_pause(bench: Bench) -> None:
    now, reads, settings = [0.0], [], JimengHook().settings

    def read() -> AccountSettings:
        reads.append(now[0])
        return settings

    client = LastingClient(settings, read, clock=lambda: now[0])
    bench.emu.configure(access_key=NEW[0], secret_key=NEW[1])
    pause = renewal.RENEW_SECONDS
    for now[0] in (0.0, 0.5 * pause, 0.9 * pause, 1.1 * pause, 1.2 * pause):
        client.query(MOTION_IMITATION, "7710993105735127851")
    assert reads == [0.0, 1.1 * pause]
    assert refused(bench) == 5, "the same keys are not asked with twice"


def test_several_threads_that_are_refused_read_once(bench: Bench) -> None:
    task, reads = bench.submit(), []
    hook = JimengHook()
    old = hook.settings
    rotate(bench)
    new = JimengHook().settings
    together = threading.Barrier(4)

    def read() -> AccountSettings:
        reads.append(1)
        time.sleep(0.2)
        return new

    client = LastingClient(old, read)
    usual, codes = SyncClient.query, []

    def at_once(self: SyncClient, req_key: str, task_id: str) -> Any:
        answer = usual(self, req_key, task_id)
        if self is client:
            together.wait(5.0)
        return answer

    def ask() -> None:
        answer = client.query(MOTION_IMITATION, task["task_id"])
        assert not isinstance(answer, TransportFailure)
        codes.append(answer.code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SyncClient, "query", at_once)
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert (len(reads), codes) == (1, [10000] * 4)


@pytest.mark.parametrize("trouble", [{"verify": "/nowhere/corp.pem"}, {"login": ""}])
def test_a_connection_that_is_just_being_repaired_stays_what_it_was(
    bench: Bench, trouble: dict[str, Any]
) -> None:
    task = bench.submit()
    hook = begun()
    bench.emu.configure(access_key=NEW[0], secret_key=NEW[1])
    # Of a CA bundle only who speaks TLS needs to know.
    host = {"host": bench.emu.url.replace("http:", "https:")} if "verify" in trouble else {}
    bench.connect(**host, **trouble)
    assert hook.get_result(task["task_id"])["status"] == "running"
    rotate(bench)
    time.sleep(1.5 * renewal.RENEW_SECONDS)
    assert hook.get_result(task["task_id"])["code"] == 10000


def test_the_number_of_slots_is_read_once_a_minute_and_by_one_of_several_threads(bench: Bench) -> None:
    now, reads, going = [0.0], [], threading.Event()
    first = JimengHook().settings
    bench.connect(max_concurrency=7, submit_deadline=300)

    def read() -> AccountSettings | None:
        reads.append(now[0])
        going.wait(5.0)
        return JimengHook().settings if len(reads) < 3 else None

    newest = Newest(first, read, clock=lambda: now[0])
    for now[0] in (0.0, 59.0):
        assert newest.settings() is first
    assert reads == []
    now[0] = 61.0
    for _ in range(3):
        assert newest.settings() is first, "nobody waits for the one that reads"
    going.set()
    until(lambda: newest.settings().limit_for(MOTION_IMITATION) == 7)
    assert newest.settings().submit_deadline == first.submit_deadline
    for now[0] in (122.0, 183.0):
        _ = newest.settings()
        until(lambda: reads[-1] == now[0])
        assert newest.settings().limit_for(MOTION_IMITATION) == 7, "also where it can't be read"
    assert reads == [61.0, 122.0, 183.0]


@pytest.mark.usefixtures("bench")
def test_a_process_that_can_start_no_thread_goes_on_with_what_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    now, first = [0.0], JimengHook().settings
    newest = Newest(first, lambda: replace(first, max_concurrency=9), clock=lambda: now[0])
    now[0] = 61.0
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert newest.settings() is first
    now[0] = 122.0
    _ = newest.settings()
    until(lambda: newest.settings().limit_for(MOTION_IMITATION) == 9)


def test_a_connection_that_cannot_be_read_for_a_moment_takes_no_slots_back(bench: Bench) -> None:
    hook = JimengHook()
    bench.connect(max_concurrency=7)
    assert hook._same_account() == JimengHook().settings
    bench.connect(max_concurrency="seven")
    assert hook._same_account() is None


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)
