# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A caller with a key: signs with the product's own signer, sends with requests, keeps every byte."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import Any

import requests

from airflow_provider_jimeng.api.models import API_VERSION, MOTION_IMITATION, RESULT_ACTION, SUBMIT_ACTION
from airflow_provider_jimeng.api.signing import sign_request
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

CHEAP = EmulatorConfig(duration=0.0, concurrency=None, seed=1)


class Caller:
    def __init__(self, emulator: Emulator, **overrides: Any) -> None:
        config = emulator.config
        self.emulator = emulator
        self.keys: dict[str, Any] = {
            "access_key": config.access_key,
            "secret_key": config.secret_key,
            "session_token": config.session_token,
            "region": config.region,
            "service": config.service,
            **overrides,
        }

    def signed(
        self, action: str, body: bytes, *, date: dt.datetime | None = None, version: str = API_VERSION
    ) -> requests.PreparedRequest:
        url = f"{self.emulator.url}/?Action={action}&Version={version}"
        headers = sign_request(
            method="POST",
            url=url,
            headers={"Content-Type": "application/json"},
            body=body,
            date=date or dt.datetime.now(dt.UTC),
            **self.keys,
        )
        return requests.Request("POST", url, headers=headers, data=body).prepare()

    def send(self, request: requests.PreparedRequest, timeout: float = 10.0) -> requests.Response:
        with requests.Session() as session:
            return session.send(request, allow_redirects=False, timeout=timeout)

    def call(self, action: str, body: Mapping[str, Any] | bytes, timeout: float = 10.0) -> requests.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(self.signed(action, raw), timeout)

    def submit(self, name: str = "a", timeout: float = 10.0, **body: Any) -> requests.Response:
        return self.call(SUBMIT_ACTION, {**pair(name), **body}, timeout)

    def created(self, name: str = "a", **body: Any) -> str:
        answer = self.submit(name, **body)
        assert answer.status_code == 200, answer.text
        task_id = answer.json()["data"]["task_id"]
        assert isinstance(task_id, str)
        return task_id

    def query(
        self, task_id: str, req_key: str = MOTION_IMITATION, timeout: float = 10.0, **body: Any
    ) -> requests.Response:
        return self.call(RESULT_ACTION, {"req_key": req_key, "task_id": task_id, **body}, timeout)

    def status(self, task_id: str) -> str:
        return str(self.query(task_id).json()["data"]["status"])

    def finished(
        self, task_id: str, req_key: str = MOTION_IMITATION, seconds: float = 30.0
    ) -> requests.Response:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.query(task_id, req_key)
            if (answer.json()["data"] or {}).get("status") == "done":
                return answer
            time.sleep(0.02)
        raise AssertionError(f"task {task_id} was not done within {seconds} s")

    def result_url(self, task_id: str) -> str:
        return str(self.finished(task_id).json()["data"]["video_url"])


def pair(name: str, req_key: str = MOTION_IMITATION) -> dict[str, str]:
    return {
        "req_key": req_key,
        "image_url": f"https://example.com/{name}.png?X-Tos-Signature=secret",
        "video_url": f"https://example.com/{name}.mp4",
    }


def error_of(answer: requests.Response) -> tuple[int, int, str]:
    """HTTP status, CodeN and Code of a gateway answer."""
    error = answer.json()["ResponseMetadata"]["Error"]
    return answer.status_code, error["CodeN"], error["Code"]
