# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a fault makes of an answer."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import time
from typing import TYPE_CHECKING

from airflow_provider_jimeng.emulator import answers
from airflow_provider_jimeng.emulator.answers import SUCCESS, Delivery, Reply

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator.faults import Fault

#: What is cut where no task was created: a success that never got as far as its id.
_CUT_SUCCESS = b'{"code":10000,"data":{"task_id":"73926163'


def fault_reply(fault: Fault, genuine: Reply | None, *, request_id: str) -> Reply:
    """
    The answer of a struck call.

    :param genuine: what would have been said; ``None`` for a submit that created nothing.
    """
    reply = _body(fault, genuine, request_id)
    headers = dict(reply.headers)
    if fault.retry_after is not None:
        headers["Retry-After"] = f"{fault.retry_after:g}"
    if fault.skew is not None:
        headers["Date"] = email.utils.formatdate(time.time() + fault.skew, usegmt=True)
    return dataclasses.replace(reply, headers=headers)


def _body(fault: Fault, genuine: Reply | None, request_id: str) -> Reply:
    kind = fault.kind
    if kind == "code" or (kind == "race" and fault.status is None):
        return _code(fault, request_id)
    if kind == "gateway":
        return answers.gateway(
            fault.effective_code,
            name=fault.name,
            message=fault.message,
            http_status=fault.http_status,
            request_id=request_id,
        )
    if kind == "wrapped":
        return answers.gateway(
            str(fault.effective_code),
            message=fault.message,
            http_status=fault.http_status,
            request_id=request_id,
        )
    if kind in ("status", "race"):
        word = fault.status or "reticulating"
        return answers.business(SUCCESS, data={"status": word}, request_id=request_id)
    if kind == "data-null":
        return answers.business(SUCCESS, data=None, request_id=request_id)
    if kind in ("no-url", "task-id-number"):
        return _edited(fault, genuine)
    return _transport(fault, genuine)


def _code(fault: Fault, request_id: str) -> Reply:
    return answers.business(
        fault.effective_code,
        data=None if fault.status is None else {"status": fault.status},
        message=fault.message,
        http_status=fault.http_status,
        request_id=request_id,
    )


def _edited(fault: Fault, genuine: Reply | None) -> Reply:
    if genuine is None:
        raise ValueError(f"{fault.kind}: needs an answer to edit")
    body = json.loads(genuine.body)
    data = body["data"] or {}
    if fault.kind == "no-url":
        data.pop("video_url", None)
    else:
        data["task_id"] = int(data["task_id"])
    body["data"] = data
    return dataclasses.replace(genuine, body=answers.encode(body))


def _transport(fault: Fault, genuine: Reply | None) -> Reply:
    kind = fault.kind
    seconds = fault.seconds
    if kind == "html":
        return answers.html(fault.http_status or 502)
    if kind == "empty":
        return Reply(fault.http_status or 503, b"", content_type="text/plain")
    if kind == "truncated":
        body = _CUT_SUCCESS if genuine is None else genuine.body[:40]
        return Reply(fault.http_status or 200, body)
    if kind == "redirect":
        return Reply(fault.http_status or 307, b"", headers={"Location": fault.location or "/"})
    if kind == "reset":
        return Reply(0, delivery=Delivery.RESET)
    if kind == "hang":
        return Reply(0, delivery=Delivery.HANG, seconds=3600.0 if seconds is None else seconds)
    answer = genuine or Reply(500, b"{}")
    if kind == "drip":
        return dataclasses.replace(
            answer, delivery=Delivery.DRIP, seconds=10.0 if seconds is None else seconds
        )
    return dataclasses.replace(answer, delay=1.0 if seconds is None else seconds)
