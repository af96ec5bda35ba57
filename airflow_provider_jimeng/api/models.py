# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What goes to the vendor and what comes back, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

MOTION_IMITATION = "jimeng_dream_actor_m1_gen_video_cv"
MOTION_IMITATION_2 = "jimeng_dreamactor_m20_gen_video"

SUBMIT_ACTION = "CVSync2AsyncSubmitTask"
RESULT_ACTION = "CVSync2AsyncGetResult"
API_VERSION = "2022-08-31"

#: Vendor: "not_found: no such task, or expired (12 h)".
TASK_LIFETIME_SECONDS = 12 * 3600.0
#: Pictures that one task may give: the vendor says 15, without input pictures.
MOST_RESULTS = 16
#: Vendor facts, section 4: result URLs live one hour.
RESULT_URL_LIFETIME_SECONDS = 3600.0


class Credentials:
    """
    Keys of one account: never printed, never pickled, and no dataclass.

    Airflow stores whatever dataclass a task returns, field by field; a settings object that is returned by
    mistake must be an error, and not a row with a key in it.
    """

    __slots__ = ("access_key", "secret_key", "session_token")

    def __init__(self, access_key: str, secret_key: str, session_token: str | None = None) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.session_token = session_token

    def __repr__(self) -> str:
        return f"Credentials(access_key={self.access_key!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credentials):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.access_key, self.secret_key, self.session_token))

    def __reduce__(self) -> NoReturn:
        raise TypeError("Keys are not pickled or copied; pass the id of the connection instead.")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the vendor listens: an origin (``https://host[:port]``) and the signature's scope."""

    origin: str = "https://visual.volcengineapi.com"
    region: str = "cn-north-1"
    service: str = "cv"

    @property
    def host(self) -> str:
        """Host and, unless it is the scheme's own, port: as signed and as sent."""
        return _host_of(self.origin)


@lru_cache(maxsize=64)
def _host_of(origin: str) -> str:
    parts = urlsplit(origin)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else (parts.hostname or "")
    return host if parts.port in (None, 80, 443) else f"{host}:{parts.port}"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request ready to be sent byte for byte."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Envelope(Enum):
    """Who wrote an answer."""

    BUSINESS = "business"
    GATEWAY = "gateway"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One HTTP answer of the vendor, whatever its envelope; parsing never raises.

    :param http_status: the HTTP status.
    :param envelope: ``NONE`` where the body is not one of the vendor's envelopes (HTML, empty, cut short).
    :param code: business code, or the gateway's ``CodeN``; ``None`` for ``Envelope.NONE``.
    :param name: the gateway's ``Code`` word (``SignatureDoesNotMatch``), else an empty string.
    :param message: the vendor's own words; for ``Envelope.NONE`` what was wrong with the body, without its
        bytes.
    :param data: the ``data`` object, ``None`` where it is null, absent or not an object.
    :param retry_after: seconds the answer asks to wait, if it does.
    :param server_date: the answer's ``Date`` header, to tell a wrong local clock.
    :param mentions_task: whether anything stands under ``task_id``, wherever in the answer that is.
    """

    http_status: int
    envelope: Envelope
    code: int | None = None
    name: str = ""
    message: str = ""
    request_id: str | None = None
    data: Mapping[str, Any] | None = None
    retry_after: float | None = None
    server_date: dt.datetime | None = None
    mentions_task: bool = False


class FailureKind(Enum):
    """How far a request came that got no answer."""

    NOT_SENT = "not_sent"
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """
    A request without an answer.

    ``NOT_SENT``: certain that no byte of the request reached the vendor. ``NO_ANSWER``: anything else.
    ``detail`` holds no URL query string and no header.
    """

    kind: FailureKind
    detail: str


Observation = Answer | TransportFailure
