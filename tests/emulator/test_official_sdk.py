# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from volcengine.visual.VisualService import VisualService

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig, result_tag

from tests.emulator.caller import pair


def sdk(emulator: Emulator, **keys: str) -> Any:
    service = VisualService()
    service.set_ak(keys.get("ak", emulator.config.access_key))
    service.set_sk(keys.get("sk", emulator.config.secret_key))
    service.set_session_token(keys.get("token", ""))
    service.set_host(emulator.host)
    service.set_scheme("http")
    return service


@pytest.fixture
def service(emulator: Emulator) -> Iterator[Any]:
    running = sdk(emulator)
    yield running
    running.session.close()


def test_the_official_sdk_submits_queries_and_downloads(emulator: Emulator, service: Any) -> None:
    submitted = service.cv_sync2async_submit_task(pair("a"))
    assert submitted["code"] == submitted["status"] == 10000
    assert submitted["message"] == "Success"
    task_id = submitted["data"]["task_id"]
    assert len(task_id) == 19
    assert task_id.isdecimal()
    answer = service.cv_sync2async_get_result({"req_key": MOTION_IMITATION, "task_id": task_id})
    assert answer["data"]["status"] == "done"
    video = requests.get(answer["data"]["video_url"], timeout=10).content
    assert (result_tag(video) or {})["task_id"] == task_id
    assert emulator.accepted == 1


def test_the_official_sdk_is_told_of_a_refusal_in_the_gateways_words(emulator: Emulator) -> None:
    service = sdk(emulator, sk="not-the-secret")
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        service.cv_sync2async_submit_task(pair("a"))
    service.session.close()
    assert emulator.ledger()["refused"] == {"100010": 1}


def test_the_official_sdk_signs_in_with_a_session_token() -> None:
    with Emulator(EmulatorConfig(session_token="STS2eyJ0b2tlbiI=", duration=0.0)) as emulator:
        service = sdk(emulator, token="STS2eyJ0b2tlbiI=")
        assert service.cv_sync2async_submit_task(pair("a"))["code"] == 10000
        stale = sdk(emulator, token="STS2old")
        with pytest.raises(Exception, match="InvalidSecretToken"):
            stale.cv_sync2async_submit_task(pair("a"))
        service.session.close()
        stale.session.close()
        assert emulator.ledger()["refused"] == {"100026": 1}


def test_the_official_sdk_signs_words_of_any_script(emulator: Emulator, service: Any) -> None:
    body = {"req_key": "jimeng_t2i_v40", "prompt": "一只猫 🐈 naïve"}
    assert service.cv_sync2async_submit_task(body)["code"] == 10000
    contents = emulator.ledger()["contents"].values()
    assert [json.dumps(entry["content"]) for entry in contents] == [json.dumps(body)]
