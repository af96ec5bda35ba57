# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Signing, and building a whole request, against the two official SDKs::

    python -m tests.benchmarks.signing [--sdk FOLDER] [--records FILE]

``volcengine`` comes with the development dependencies. ``--sdk`` names a folder with the other one, which is
wanted for nothing else: ``pip install --no-deps --target FOLDER volcenginesdk-core``.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from urllib.parse import urlencode

from airflow_provider_jimeng.api.build import build_request, encode_body, query_body
from airflow_provider_jimeng.api.models import MOTION_IMITATION, Credentials, Endpoint
from airflow_provider_jimeng.api.signing import sign_request

from tests.benchmarks.record import Row, interleaved, keep, parser_of

with warnings.catch_warnings():
    # The SDK's own imports are old; what they warn of is not ours.
    warnings.simplefilter("ignore")
    from volcengine.auth.SignerV4 import SignerV4
    from volcengine.base.Request import Request
    from volcengine.Credentials import Credentials as TheirCredentials
    from volcengine.visual.VisualService import VisualService

AK, SK = "AKLTEXAMPLE", "RXhhbXBsZVNlY3JldEtleUZvclRlc3RzT25seQ=="
HOST, ACTION, VERSION = "visual.volcengineapi.com", "CVSync2AsyncGetResult", "2022-08-31"
QUERY = {"Action": ACTION, "Version": VERSION}
URL = f"https://{HOST}/?{urlencode(QUERY)}"
TASK = "7491596536074305586"
BODY = encode_body(query_body(MOTION_IMITATION, TASK))
HEADERS = {"Content-Type": "application/json", "Host": HOST}
TIMES = 400


def ours() -> str:
    """Sign alone."""
    return sign_request(
        method="POST",
        url=URL,
        headers=HEADERS,
        body=BODY,
        access_key=AK,
        secret_key=SK,
        region="cn-north-1",
        service="cv",
        date=dt.datetime.now(dt.UTC),
    )["Authorization"]


def volcengine() -> str:
    """Sign alone, as the SDK does."""
    request = Request()
    request.method, request.host, request.path = "POST", HOST, "/"
    request.query, request.headers, request.body = dict(QUERY), dict(HEADERS), BODY
    SignerV4.sign(request, TheirCredentials(AK, SK, "cv", "cn-north-1"))
    return str(request.headers["Authorization"])


ENDPOINT, CREDENTIALS = Endpoint(f"https://{HOST}"), Credentials(AK, SK)


def ours_whole() -> str:
    """Build a request from a task's id, and sign it."""
    return build_request(
        endpoint=ENDPOINT,
        credentials=CREDENTIALS,
        action=ACTION,
        version=VERSION,
        body=encode_body(query_body(MOTION_IMITATION, TASK)),
        date=dt.datetime.now(dt.UTC),
    ).headers["Authorization"]


def volcengine_whole() -> Callable[[], str]:
    """Do what ``VisualService`` does for a query before it sends."""
    service = VisualService()
    service.set_ak(AK)
    service.set_sk(SK)
    api = service.api_info[ACTION]

    def build() -> str:
        request = service.prepare_request(api, {})
        request.headers["Content-Type"] = "application/json"
        request.body = json.dumps({"req_key": MOTION_IMITATION, "task_id": TASK})
        SignerV4.sign(request, service.service_info.credentials)
        return str(request.headers["Authorization"])

    return build


def python_sdk(folder: Path) -> Callable[[], str]:
    """Return the signer of the other SDK, alone."""
    sys.path.insert(0, str(folder))
    from volcenginesdkcore.signv4 import SignerV4 as Signer  # type: ignore[import-not-found,unused-ignore]

    def sign() -> str:
        headers = dict(HEADERS)
        Signer.sign("/", "POST", headers, BODY.decode(), None, dict(QUERY), AK, SK, "cn-north-1", "cv")
        return headers["Authorization"]

    return sign


def per_call(sign: Callable[[], str]) -> Callable[[], float]:
    """Return what measures microseconds of processor time of one call."""

    def measure() -> float:
        # Of this thread: what else the machine does is not counted.
        started = time.thread_time()
        for _ in range(TIMES):
            sign()
        return (time.thread_time() - started) / TIMES * 1e6

    return measure


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the record."""
    parser = parser_of("signing", __doc__)
    parser.add_argument("--sdk", type=Path, help="a folder with volcengine-python-sdk")
    parser.add_argument("--rounds", type=int, default=25)
    chosen = parser.parse_args(arguments)
    signers = {"sign": {"ours": ours, "volcengine SignerV4": volcengine}}
    signers["whole request"] = {"ours": ours_whole, "volcengine VisualService": volcengine_whole()}
    versions = ["volcengine"]
    if chosen.sdk is not None:
        signers["sign"]["volcengine-python-sdk SignerV4"] = python_sdk(chosen.sdk)
        found = metadata.distributions(path=[str(chosen.sdk)])
        told = {each.metadata["Name"]: each.version for each in found}
        print(f"volcenginesdk-core {told['volcenginesdk-core']}", file=sys.stderr)
    rows: list[Row] = []
    for what, rivals in signers.items():
        for sign in rivals.values():
            sign()
        timed = interleaved({who: per_call(sign) for who, sign in rivals.items()}, chosen.rounds)
        best = {who: min(values) for who, values in timed.items()}
        rows += [
            {"who": who, "what": what, "cpu_us": figure, "times_ours": figure / best["ours"]}
            for who, figure in best.items()
        ]
    keep("signing", rows, chosen.records, versions=versions)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
