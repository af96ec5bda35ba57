# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Answers, parsed once and without ever raising.

An answer that can't be understood may still stand for a task that was paid, so it is a value to decide on,
not an exception to lose it in. Vendor facts, sections 3 and 5.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_jimeng.api.codes import RULES, SUCCESS, code_named
from airflow_provider_jimeng.api.models import MOST_RESULTS, Answer, Envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "THROUGH_A_FLOAT",
    "clean_text",
    "is_no_id",
    "parse_answer",
    "readable_task_id",
    "result_urls_of",
    "status_of",
    "task_id_of",
    "video_url_of",
]

_MESSAGE_CHARS = 500
_ID_CHARS = 200
_URL_CHARS = 8192
#: Longer digits than any id or code; turning them into an int costs quadratic time and is refused beyond
#: 4300.
_DIGITS = 200
_RETRY_AFTER_SECONDS = 24 * 3600.0

_SCHEME = r"([a-zA-Z][a-zA-Z0-9+.-]{0,15}://)"
_URL_SECRET = re.compile(_SCHEME + r"(?:[^\s/?#@]*@)?([^\s?#]*)\?\S*")
_USER_INFO = re.compile(_SCHEME + r"[^\s/?#@]*@")
_PARAMETER_SECRET = re.compile(
    r"\b((?:x-[a-z]{1,10}-)?(?:signature|credential|security-token)|sig|token)=[^\s&]+", re.IGNORECASE
)
_HTTP_DATE = re.compile(
    r"[A-Za-z]{3,9}, ([0-9]{1,2})[ -]([A-Z][a-z]{2})[ -]([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) (?:GMT|UTC|[+-]0000)"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: What programs write where they have no id; "0" is the text of an integer that was never set.
_NO_ID = frozenset({"null", "none", "nil", "undefined", "nan"})
#: A number's text from which digits are missing.
THROUGH_A_FLOAT = re.compile(r"[0-9]+(\.[0-9]*)?[eE]\+?[0-9]+|[0-9]+\.[0-9]*")
_CUT_TASK_ID = re.compile(rb'"task_id"\s*:\s*"(\d{6,40})"')
#: A field given twice with different values decides nothing.
_DECISIVE = frozenset(
    {"code", "data", "task_id", "status", "video_url", "ResponseMetadata", "Error", "Code", "CodeN"}
)


class _Ambiguous(ValueError):
    pass


def clean_text(value: object, limit: int = _MESSAGE_CHARS) -> str:
    """
    Make the vendor's words fit for logs and ledger rows.

    Control characters and lone surrogates go (a database refuses them, and the row with them), and so do the
    query string and user-info of any URL quoted in them, since those are secrets of whoever presigned it.

    :param value: anything; what is not text or a number becomes an empty string.
    :param limit: most characters to keep.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value.bit_length() <= limit else ""
    if not isinstance(value, str):
        return ""
    text = value[: 4 * limit]
    # Nearly every word of the vendor's is plain, and every poll brings several.
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    if "://" in text:
        text = _USER_INFO.sub(r"\1", _URL_SECRET.sub(r"\1\2", text))
    if "=" in text:
        text = _PARAMETER_SECRET.sub(r"\1=***", text)
    return " ".join(text.split())[:limit]


def parse_answer(http_status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """
    Understand an answer as far as it can be understood; never raises.

    :param http_status: the HTTP status.
    :param headers: the answer's headers, in any case.
    :param body: the answer's bytes, decompressed; the client bounds their number.
    """
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    date = _server_date(named.get("date"))
    retry_after = _retry_after(named.get("retry-after"), date)
    header_id = clean_text(named.get("x-tt-logid") or named.get("x-request-id"), _ID_CHARS) or None
    document, trouble = _load(body)
    if document is None:
        return Answer(
            http_status,
            Envelope.NONE,
            message=trouble,
            request_id=header_id,
            retry_after=retry_after,
            server_date=date,
        )
    data = document.get("data")
    envelope, code, name, message, request_id = _envelope(document)
    return Answer(
        http_status,
        envelope,
        code,
        name,
        message,
        request_id or header_id,
        data if isinstance(data, dict) else None,
        retry_after,
        date,
        _mentions_task(document),
    )


def _envelope(document: dict[str, Any]) -> tuple[Envelope, int | None, str, str, str | None]:
    metadata = document.get("ResponseMetadata")
    error = metadata.get("Error") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(error, dict):
        if _integer(document.get("code")) == SUCCESS:
            return Envelope.NONE, None, "", "JSON that says success and failure at once", None
        name = clean_text(error.get("Code"), _ID_CHARS)
        request_id = clean_text(metadata.get("RequestId"), _ID_CHARS) or None
        return (
            Envelope.GATEWAY,
            _gateway_code(error, name),
            name,
            clean_text(error.get("Message")),
            request_id,
        )
    request_id = clean_text(document.get("request_id"), _ID_CHARS) or None
    code = _integer(document.get("code"))
    if code is None:
        return Envelope.NONE, None, "", "JSON without the vendor's code", request_id
    return Envelope.BUSINESS, code, "", clean_text(document.get("message")), request_id


def _mentions_task(document: dict[str, Any]) -> bool:
    """Tell whether something stands under ``task_id`` anywhere: an id in a strange place is still one."""
    waiting: list[Any] = [document]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if "task_id" in each and not is_no_id(each["task_id"]):
                return True
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return False


def _gateway_code(error: dict[str, Any], name: str) -> int | None:
    """Find the most telling number: a known code in the word or in ``CodeN``, the word's, or any."""
    number = _integer(error.get("CodeN"))
    word = _integer(name)
    if word in RULES:
        return word
    if number in RULES:
        return number
    return code_named(name) or number or word


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        return int(value)
    return None


def _load(body: bytes) -> tuple[dict[str, Any] | None, str]:
    """Read a JSON object, or say what the body is instead, without its bytes: they may hold anything."""
    stripped = body.strip()
    if not stripped:
        return None, "an empty body"
    try:
        # A message in another encoding must not cost the task id beside it, so what can't be decoded is
        # replaced.
        document = _DECODER.decode(stripped.decode("utf-8-sig", errors="replace"))
    except _Ambiguous:
        return None, "JSON with a decisive field given twice"
    except RecursionError:
        return None, "JSON nested too deeply"
    except ValueError:
        return None, _not_json(stripped)
    if not isinstance(document, dict):
        return None, "JSON that is not an object"
    return document, ""


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS else digits


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        for name, value in pairs:
            if name in _DECISIVE and fields[name] != value:
                raise _Ambiguous
    return fields


#: ``json.loads`` with hooks of one's own makes a decoder for every call.
_DECODER = json.JSONDecoder(parse_int=_parse_int, object_pairs_hook=_unambiguous)


def _not_json(body: bytes) -> str:
    if body[:1] == b"<":
        return "an HTML page"
    if body[:1] not in (b"{", b"["):
        return "text that is not JSON"
    # Not taken as the task's id, but a person who looks into an unknown submit wants to know it.
    found = _CUT_TASK_ID.search(body[:65536])
    hint = f"; it names task_id {found[1].decode()}" if found else ""
    return f"JSON that is cut short or broken{hint}"


@lru_cache(maxsize=16)
def _server_date(value: str | None) -> dt.datetime | None:
    """Read HTTP's one date format by hand: ``email.utils`` loads sockets, ``strptime`` follows the locale."""
    found = _HTTP_DATE.fullmatch((value or "").strip())
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        return dt.datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=dt.UTC
        )
    except ValueError:
        return None


def _retry_after(value: str | None, now: dt.datetime | None) -> float | None:
    """Read seconds, or a date relative to the vendor's own clock."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = _server_date(value)
        if until is None or now is None:
            return None
        seconds = (until - now).total_seconds()
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _RETRY_AFTER_SECONDS)


def is_no_id(value: object) -> bool:
    """
    Tell whether a value plainly says that there is no id, as opposed to one that can't be read.

    :param value: what stands where a task id should.
    """
    return value is None or value == 0 or (isinstance(value, str) and not value.strip("0"))


def readable_task_id(value: object) -> str | None:
    """
    Read a task id, or ``None`` where the value can't be trusted to be one.

    A float has lost the last digits of a 19-digit id, so it is refused, as text too; an exact integer has
    not. Text must be storable in any database.

    :param value: what stands where a task id should.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 < value < 10**_ID_CHARS else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if is_no_id(text) or len(text) > _ID_CHARS or not text.isprintable() or "\ufffd" in text:
        return None
    if text.lower() in _NO_ID or THROUGH_A_FLOAT.fullmatch(text) or len(text.split()) > 1:
        return None
    return text


def task_id_of(answer: Answer) -> str | None:
    """
    Read the id of the task that a submit created.

    :param answer: of a submit; a readable id counts whatever the code beside it.
    """
    return readable_task_id(answer.data.get("task_id")) if answer.data is not None else None


def status_of(answer: Answer) -> str | None:
    """
    Read a task's status word, ``None`` where there is none.

    :param answer: of a query.
    """
    value = answer.data.get("status") if answer.data is not None else None
    return clean_text(value, _ID_CHARS) or None if isinstance(value, str) else None


def result_urls_of(answer: Answer) -> list[str]:
    """
    Read the links of all that a task made, in the vendor's order.

    One video, or, of products that make pictures, one or several of these: each is paid for.

    :param answer: of a query; the links live one hour (the vendor says a day for pictures) and their query
        strings are secrets.
    """
    if answer.data is None:
        return []
    images = answer.data.get("image_urls")
    candidates = [answer.data.get("video_url"), *(images[:MOST_RESULTS] if isinstance(images, list) else [])]
    return list(dict.fromkeys(url for url in map(_fetchable, candidates) if url is not None))


def video_url_of(answer: Answer) -> str | None:
    """
    Read the result's URL, the first where there are several.

    :param answer: of a query; the URL lives one hour and its query string is a secret.
    """
    return next(iter(result_urls_of(answer)), None)


def _fetchable(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _URL_CHARS:
        return None
    url = value.strip()
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return url if usable else None
