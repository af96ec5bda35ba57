# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The vendor's words: business and gateway envelopes, byte for byte what goes over the wire.

The tables are the emulator's own on purpose: a judge that shared the product's table would share its
mistakes.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

SUCCESS = 10000

#: Business code -> (HTTP status, message). Interface document, "Business error codes"; facts, section 3.
BUSINESS: Mapping[int, tuple[int, str]] = {
    10000: (200, "Success"),
    50200: (400, "Parameter error."),
    50201: (400, "Missing parameter."),
    50204: (400, "Parameter type error."),
    50205: (400, "Image size is too large."),
    50206: (400, "Image is empty."),
    50207: (400, "Image decode error."),
    50209: (400, "Video is empty."),
    50210: (400, "Video decode error."),
    50211: (400, "Video size is not supported."),
    50213: (400, "Request body is too large."),
    50214: (400, "Video is too long."),
    50215: (400, "Input invalid for this service."),
    50218: (400, "Resource exists risk."),
    50400: (401, "Access Denied"),
    50402: (404, "Interface not found."),
    50411: (400, "Pre Img Risk Not Pass"),
    50412: (400, "Text Risk Not Pass"),
    50413: (400, "Post Text Risk Not Pass"),
    50429: (429, "Request Has Reached API Limit, Please Try Later"),
    50430: (429, "Request Has Reached API Concurrent Limit, Please Try Later"),
    50500: (500, "Internal Error"),
    50501: (500, "Internal RPC Error"),
    50511: (400, "Post Img Risk Not Pass"),
    50512: (400, "Post Text Risk Not Pass"),
    50513: (400, "Pre Video Risk Not Pass"),
    50514: (400, "Pre Audio Risk Not Pass"),
    50516: (400, "Post Video Risk Not Pass"),
    50517: (400, "Post Audio Risk Not Pass"),
    50518: (400, "Pre Img Copyright Risk Not Pass"),
    50519: (400, "Post Img Copyright Risk Not Pass"),
    50520: (500, "Risk Internal Error"),
    50521: (500, "Antidirt Internal Error"),
    50522: (500, "Image Copyright Internal Error"),
    60102: (400, "Face not detected."),
    60208: (400, "Image Risk Not Pass"),
}

#: The gateway's CodeN -> (HTTP status, Code, Message). volcengine-facts, section 3.
GATEWAY: Mapping[int, tuple[int, str, str]] = {
    100001: (500, "InternalServiceTimeoutError", "Service timed out."),
    100002: (400, "MissingParameter", "The request is missing the parameter Action or Version."),
    100003: (401, "MissingAuthenticationToken", "The request is missing its authentication token."),
    100004: (400, "MissingRequestInfo", "The request is missing a required header."),
    100005: (401, "MissingSignature", "The request is missing its signature."),
    100006: (
        400,
        "InvalidTimestamp",
        "The signature is expired or not yet valid: check the clock of the caller.",
    ),
    100007: (404, "ServiceNotFound", "The service could not be found."),
    100008: (404, "InvalidActionOrVersion", "Could not find the action or version."),
    100009: (401, "InvalidAccessKey", "The access key id is invalid."),
    100010: (
        401,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    ),
    100011: (403, "LackPolicy", "The account lacks a policy."),
    100012: (403, "AccessDeniedByPolicy", "A policy denies the access."),
    100013: (403, "AccessDenied", "The caller is not authorized to perform this action."),
    100014: (500, "InternalError", "The gateway had an internal error."),
    100015: (502, "InternalServiceError", "The service had an internal error."),
    100016: (504, "InternalServiceTimeout", "The service did not answer in time."),
    100018: (429, "FlowLimitExceeded", "The request was refused by flow control."),
    100019: (503, "ServiceUnavailableTemp", "The service is temporarily unavailable."),
    100020: (405, "MethodNotAllowed", "The action doesn't support this method."),
    100021: (403, "AccessDeniedByService", "The service denies the access."),
    100023: (500, "ServiceConnectError", "The service could not be reached."),
    100024: (400, "InvalidAuthorization", "The Authorization header is malformed."),
    100025: (400, "InvalidCredential", "The Credential in the Authorization header is invalid."),
    100026: (401, "InvalidSecretToken", "The session token is missing, invalid or expired."),
    100027: (429, "AccountFlowLimitExceeded", "The account's flow limit was reached."),
    100028: (400, "UserNotFound", "There is no such user."),
    100034: (429, "ActionFlowLimitExceeded", "The action's flow limit was reached."),
    100035: (503, "ServiceOverload", "The service is overloaded."),
    100036: (403, "AccountDenied", "The account is denied."),
}


class Delivery(Enum):
    """How an answer's bytes travel."""

    WHOLE = "whole"
    RESET = "reset"
    HANG = "hang"
    DRIP = "drip"


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An answer ready to be sent.

    :param delivery: whole, or one of the ways a connection fails.
    :param seconds: how long a hanging or dripping answer takes.
    :param delay: seconds to wait before the first byte.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery.WHOLE
    seconds: float = 0.0
    delay: float = 0.0


def new_request_id(now: float, rng: random.Random) -> str:
    """Request id in the vendor's form: 14 digits of date, 20 of hex."""
    day = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y%m%d%H%M%S")
    return f"{day}{rng.getrandbits(80):020X}"


def business(
    code: int,
    *,
    request_id: str,
    data: Mapping[str, Any] | None = None,
    message: str | None = None,
    http_status: int | None = None,
    elapsed_ms: float = 0.0,
) -> Reply:
    """Business envelope ``{code, data, message, request_id, status, time_elapsed}``."""
    known_status, known_message = BUSINESS.get(code, (400, "Error"))
    body = {
        "code": code,
        "data": data,
        "message": known_message if message is None else message,
        "request_id": request_id,
        "status": code,
        "time_elapsed": f"{elapsed_ms:.6f}ms",
    }
    return Reply(
        known_status if http_status is None else http_status, encode(body), headers=_log_id(request_id)
    )


def gateway(
    code: int | str,
    *,
    request_id: str,
    action: str = "",
    name: str | None = None,
    message: str | None = None,
    http_status: int | None = None,
    region: str = "cn-north-1",
) -> Reply:
    """
    Gateway envelope ``{ResponseMetadata: {Error: {CodeN, Code, Message}}}``.

    :param code: a CodeN; or, as text, a business code that the gateway wrapped.
    """
    if isinstance(code, str):
        known = BUSINESS.get(int(code), (400, "Error"))
        status, word, words = known[0], code, known[1]
        number = int(code)
    else:
        status, word, words = GATEWAY.get(code, (400, "Error", "Error"))
        number = code
    error = {
        "CodeN": number,
        "Code": word if name is None else name,
        "Message": words if message is None else message,
    }
    metadata = {
        "RequestId": request_id,
        "Action": action,
        "Version": "2022-08-31",
        "Service": "cv",
        "Region": region,
        "Error": error,
    }
    body = encode({"ResponseMetadata": metadata})
    return Reply(status if http_status is None else http_status, body, headers=_log_id(request_id))


def html(status: int) -> Reply:
    """Page that a load balancer in front of the vendor shows."""
    words = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}.get(status, "Error")
    page = (
        f"<html>\r\n<head><title>{status} {words}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {words}</h1></center>\r\n<hr><center>TLB</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, page.encode(), content_type="text/html")


def encode(value: object) -> bytes:
    """JSON as the vendor writes it: compact, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _log_id(request_id: str) -> dict[str, str]:
    return {"X-Tt-Logid": request_id}
