# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The rivals are no strawmen: their calls wait where the vendor says so, and give up where it says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig, result_tag

from tests.benchmarks.rivals.theirs import vendor
from tests.benchmarks.rivals.theirs.deferrable import ResultTrigger

IMAGE, VIDEO = "http://127.0.0.1/a.png", "http://127.0.0.1/a.mp4"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(duration=0.0)) as running:
        connection = {
            "conn_type": "volcengine",
            "host": running.url,
            "login": running.config.access_key,
            "password": running.config.secret_key,
        }
        monkeypatch.setenv("AIRFLOW_CONN_RIVALS_VENDOR", json.dumps(connection))
        vendor.service.cache_clear()
        yield running
        vendor.service().session.close()
        vendor.service.cache_clear()


def test_an_item_is_submitted_asked_for_and_stored(emulator: Emulator, tmp_path: Path) -> None:
    task_id = vendor.submit(IMAGE, VIDEO)
    url = vendor.result_url(task_id)
    assert url is not None
    vendor.download(url, str(tmp_path / "a" / "1.mp4"))

    assert (result_tag((tmp_path / "a" / "1.mp4").read_bytes()) or {})["task_id"] == task_id
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["1.mp4"]


def test_a_full_account_is_waited_for_longer_each_time(emulator: Emulator) -> None:
    emulator.add_fault("submit:50430,http_status=429,times=6")
    pauses: list[float] = []

    vendor.submit(IMAGE, VIDEO, sleep=pauses.append)

    assert emulator.accepted == 1
    assert [low <= pause <= 2 * low for pause, low in zip(pauses, (0.5, 1, 2, 4, 5, 5), strict=True)] == [
        True
    ] * 6


def test_a_final_code_gets_no_second_attempt(emulator: Emulator) -> None:
    emulator.add_fault("submit:50411,http_status=400,times=0")

    with pytest.raises(Exception, match="50411") as raised:
        vendor.submit(IMAGE, VIDEO, sleep=lambda seconds: pytest.fail("waited"))

    assert vendor.code_of(raised.value) == 50411
    assert emulator.ledger()["refused"] == {"50411": 1}


def test_an_answer_that_is_lost_is_paid_for_again(emulator: Emulator) -> None:
    emulator.add_fault("submit:50500,created=true,times=1")

    vendor.submit(IMAGE, VIDEO, sleep=lambda seconds: None)

    assert emulator.accepted == 2


def test_a_query_that_fails_is_asked_again_and_a_verdict_ends_it(emulator: Emulator) -> None:
    emulator.add_fault("done:code,code=50511")
    task_id = vendor.submit(IMAGE, VIDEO)
    emulator.add_fault("query:reset,times=2")

    with pytest.raises(vendor.GenerationFailedError, match="50511"):
        vendor.result_url(task_id, sleep=lambda seconds: None)


def test_a_query_too_many_only_waits(emulator: Emulator) -> None:
    task_id = vendor.submit(IMAGE, VIDEO)
    emulator.add_fault("query:50429,http_status=429")

    assert vendor.result_url(task_id) is None
    assert vendor.result_url(task_id) is not None


def test_a_task_that_is_not_known_is_an_error(emulator: Emulator) -> None:
    with pytest.raises(vendor.GenerationFailedError, match="not_found"):
        vendor.result_url("1")


async def test_the_trigger_tells_of_the_result_or_of_the_verdict(emulator: Emulator) -> None:
    emulator.add_fault("done:code,code=50511,skip=1")
    good, bad = vendor.submit(IMAGE, VIDEO), vendor.submit(IMAGE, VIDEO)
    emulator.add_fault("query:status")

    (told,) = [event.payload async for event in ResultTrigger(good, 0.01).run()]
    (failed,) = [event.payload async for event in ResultTrigger(bad, 0.01).run()]

    assert set(told) == {"url"}
    assert "50511" in failed["error"]
    assert ResultTrigger(good, 0.01).serialize()[1] == {"vendor_id": good, "poll_seconds": 0.01}
