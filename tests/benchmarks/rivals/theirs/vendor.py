# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The vendor's two calls through its official SDK, and a download: what all rivals share.

The choices, which are those that the vendor's page suggests:

- ask every 5 seconds;
- 50429 and 50430 on a submit: wait and try again, 1 s at first, doubling up to 10 s, with jitter, for half
  an hour;
- everything else that the page calls retryable, and a network that fails: 3 more attempts;
- 50411, 50412, 50413 and 50512: no second attempt;
- a result goes to a temporary name first, so that a file that exists is whole; an item whose file exists is
  done, and isn't submitted again.
"""

from __future__ import annotations

import functools
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from volcengine.visual.VisualService import VisualService

from airflow.sdk import BaseHook

REQ_KEY = "jimeng_dream_actor_m1_gen_video_cv"
CONN_ID = "rivals_vendor"
POLL_SECONDS = 5.0
RETRIES = 3
PATIENCE_SECONDS = 1800.0
BUSY = frozenset({50429, 50430})
FINAL = frozenset({50411, 50412, 50413, 50512})

_CODE = re.compile(r'"code"\s*:\s*(\d+)')


class GenerationFailedError(Exception):
    """The vendor's last word on a task."""


@functools.cache
def service() -> Any:
    """
    Return the SDK's client, with the connection's keys.

    It is one for the whole process whatever one does (``VisualService`` is a singleton), so it is made once.
    """
    connection = BaseHook.get_connection(CONN_ID)
    where = urlsplit(str(connection.host))
    client = VisualService()
    client.set_ak(connection.login)
    client.set_sk(connection.password)
    client.set_host(where.netloc)
    client.set_scheme(where.scheme)
    return client


def code_of(error: Exception) -> int | None:
    """Return the business code of what the SDK raised: it raises the answer's text."""
    found = _CODE.search(str(error))
    return int(found[1]) if found else None


def submit(image_url: str, video_url: str, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """
    Submit one item and return its task id.

    :raises Exception: of the SDK, when three more attempts did not help or the code is final.
    """
    body = {"req_key": REQ_KEY, "image_url": image_url, "video_url": video_url}
    until, pause, failures = time.monotonic() + PATIENCE_SECONDS, 1.0, 0
    while True:
        try:
            answer = service().cv_sync2async_submit_task(body)
            return str(answer["data"]["task_id"])
        except Exception as error:
            code = code_of(error)
            if code in BUSY and time.monotonic() < until:
                sleep(pause * random.uniform(0.5, 1.0))
                pause = min(10.0, pause * 2)
                continue
            failures += 1
            if code in FINAL or failures > RETRIES:
                raise
            sleep(float(failures))


def result_url(task_id: str, *, sleep: Callable[[float], None] = time.sleep) -> str | None:
    """
    Ask once for a task; return the URL of its result, or ``None`` while it runs.

    :raises GenerationFailedError: the task ended without a result.
    """
    failures = 0
    while True:
        try:
            answer = service().cv_sync2async_get_result({"req_key": REQ_KEY, "task_id": task_id})
            break
        except Exception as error:
            code = code_of(error)
            if code in BUSY:
                return None
            failures += 1
            if code in FINAL or failures > RETRIES:
                raise GenerationFailedError(f"task {task_id}: {error}") from error
            sleep(float(failures))
    data = answer["data"]
    if data["status"] == "done":
        return str(data["video_url"])
    if data["status"] in ("not_found", "expired"):
        raise GenerationFailedError(f"task {task_id}: {data['status']}")
    return None


def download(url: str, output: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Store a result; a file that exists is whole."""
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    for attempt in range(RETRIES + 1):
        try:
            with requests.get(url, stream=True, timeout=60) as answer:
                answer.raise_for_status()
                with part.open("wb") as file:
                    for chunk in answer.iter_content(1 << 20):
                        file.write(chunk)
            part.replace(target)
            return
        except requests.RequestException:
            if attempt == RETRIES:
                raise
            sleep(float(attempt + 1))
