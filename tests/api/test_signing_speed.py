# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Signing against the vendor's signer, side by side on the same machine at the same time."""

from __future__ import annotations

import datetime as dt
import time
import warnings
from collections.abc import Callable
from urllib.parse import urlencode

from airflow_provider_jimeng.api.signing import sign_request

with warnings.catch_warnings():
    # The SDK's own imports are old; what they warn of is not ours.
    warnings.simplefilter("ignore")
    from volcengine.auth.SignerV4 import SignerV4
    from volcengine.base.Request import Request
    from volcengine.Credentials import Credentials

LEAST_RATIO = 5.0
ROUNDS = 12
SIGNATURES = 400

KEY = "RXhhbXBsZVNlY3JldEtleUZvclRlc3RzT25seQ=="
QUERY = {"Action": "CVSync2AsyncGetResult", "Version": "2022-08-31"}
HOST = "visual.volcengineapi.com"
BODY = b'{"req_key":"jimeng_dream_actor_m1_gen_video_cv","task_id":"7491596536074305586"}'


def theirs() -> str:
    request = Request()
    request.method = "POST"
    request.host = HOST
    request.path = "/"
    request.query = dict(QUERY)
    request.headers = {"Content-Type": "application/json", "Host": HOST}
    request.body = BODY
    SignerV4.sign(request, Credentials("AKLTEXAMPLE", KEY, "cv", "cn-north-1"))
    return str(request.headers["Authorization"])


URL = f"https://{HOST}/?{urlencode(QUERY)}"


def ours() -> str:
    return sign_request(
        method="POST",
        url=URL,
        headers={"Content-Type": "application/json", "Host": HOST},
        body=BODY,
        access_key="AKLTEXAMPLE",
        secret_key=KEY,
        region="cn-north-1",
        service="cv",
        date=dt.datetime.now(dt.UTC),
    )["Authorization"]


def cpu_seconds(sign: Callable[[], str]) -> float:
    # Processor time of this thread: a busy machine slows both, but not always in the same round.
    started = time.thread_time()
    for _ in range(SIGNATURES):
        sign()
    return time.thread_time() - started


def test_both_sign_alike():
    for _ in range(3):
        mine, other = ours(), theirs()
        if mine == other:
            break
    assert mine == other


def test_at_least_five_times_the_official_signers_speed():
    ours()
    theirs()
    rounds = [(cpu_seconds(theirs), cpu_seconds(ours)) for _ in range(ROUNDS)]
    ratio = min(their for their, _ in rounds) / min(our for _, our in rounds)
    assert ratio >= LEAST_RATIO, f"only {ratio:.1f} times as fast"
