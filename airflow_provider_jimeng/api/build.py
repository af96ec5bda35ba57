# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Requests, built once to the exact bytes that are signed and sent.

Interface document, "Submit a task" and "Query a task"; vendor facts, section 4.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_jimeng.api.models import (
    MOTION_IMITATION,
    MOTION_IMITATION_2,
    Credentials,
    Endpoint,
    SignedRequest,
)
from airflow_provider_jimeng.api.products import OPTIONS, asks_for_links
from airflow_provider_jimeng.api.signing import sign_request
from airflow_provider_jimeng.exceptions import JimengInputError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

__all__ = ["build_request", "encode_body", "parts_of_body", "query_body", "submit_body"]

_LINKS = {"return_url": True}
_JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
#: ``json.dumps`` with options of one's own makes an encoder for every call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def submit_body(
    req_key: str, image_url: str, video_url: str, options: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    """
    Build the body that submits one motion imitation.

    :param req_key: one of the two products; 2.0 takes a list of one image.
    :param image_url: the character; the vendor must be able to fetch it until the task is done.
    :param video_url: the template.
    :param options: the product's switches, checked.
    :raises JimengInputError: for another product, whose body this release does not know.
    """
    if req_key == MOTION_IMITATION:
        return {"req_key": req_key, "image_url": image_url, "video_url": video_url, **(options or {})}
    if req_key == MOTION_IMITATION_2:
        return {"req_key": req_key, "image_urls": [image_url], "video_url": video_url, **(options or {})}
    raise JimengInputError(
        "req_key: this product takes a body of its own; give `body` in place of image_url and video_url. "
        "Nothing was sent, nothing was paid."
    )


def parts_of_body(req_key: str, body: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]] | None:
    """
    Return image, video and options of a body that :func:`submit_body` might have built, else ``None``.

    The values come unchecked. A body that says more than these is another wish.
    """
    known = OPTIONS.get(req_key, frozenset())
    given = {name: value for name, value in body.items() if name != "req_key"}
    options = {name: given.pop(name) for name in sorted(known & given.keys())}
    if req_key == MOTION_IMITATION and given.keys() == {"image_url", "video_url"}:
        return given["image_url"], given["video_url"], options
    if req_key == MOTION_IMITATION_2 and given.keys() == {"image_urls", "video_url"}:
        images = given["image_urls"]
        if isinstance(images, list) and len(images) == 1:
            return images[0], given["video_url"], options
    return None


def query_body(req_key: str, task_id: str, req_json: str | Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    Build the body that asks for a task.

    :param req_key: that of the submit; another one finds no task.
    :param task_id: from the submit's answer.
    :param req_json: options of the result (``aigc_meta``); they change the file, so give the same at every
        query. Products that make pictures are asked for links, unless told otherwise.
    """
    body: dict[str, Any] = {"req_key": req_key, "task_id": task_id}
    if req_json is None and asks_for_links(req_key):
        req_json = _LINKS
    if req_json is not None:
        body["req_json"] = req_json if isinstance(req_json, str) else encode_body(req_json).decode()
    return body


def encode_body(body: Mapping[str, Any]) -> bytes:
    """
    Serialise a body: UTF-8, compact, equal bodies to equal bytes.

    :raises JimengInputError: when it holds what JSON can't (NaN, bytes, a lone surrogate, itself).
    """
    try:
        return _ENCODER.encode(body).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        # No chaining: the encoder's own words quote the value.
        why = f"it cannot be written as JSON ({type(error).__name__})"
        raise JimengInputError(f"body: {why}. Nothing was sent, nothing was paid.") from None


def build_request(
    *,
    endpoint: Endpoint,
    credentials: Credentials,
    action: str,
    version: str,
    body: bytes,
    date: dt.datetime,
) -> SignedRequest:
    """
    Build and sign one send.

    :param endpoint: where to, and the signature's scope.
    :param credentials: of the account that pays.
    :param action: ``CVSync2AsyncSubmitTask`` and the like.
    :param version: of the action.
    :param body: from :func:`encode_body`.
    :param date: aware; a fresh one for every send.
    """
    url = _url(endpoint.origin, action, version)
    headers = sign_request(
        method="POST",
        url=url,
        headers={**_JSON_HEADERS, "Host": endpoint.host},
        body=body,
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
        session_token=credentials.session_token,
        region=endpoint.region,
        service=endpoint.service,
        date=date,
    )
    return SignedRequest("POST", url, headers, body)


@lru_cache(maxsize=64)
def _url(origin: str, action: str, version: str) -> str:
    return f"{origin.rstrip('/')}/?Action={quote(action, safe='')}&Version={quote(version, safe='')}"
