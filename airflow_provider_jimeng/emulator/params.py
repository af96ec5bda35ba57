# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a body may hold, and what it is counted as."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2
from airflow_provider_jimeng.emulator.pictures import LEAST_AREA, MAX_INPUTS, MOST_AREA, TEXT_TO_IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY_BYTES = 16 * 1024 * 1024
_REQ_KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Invalid:
    """A refused body: the vendor's code, and words that name the field."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Submission:
    """
    A valid submit.

    :param content: what it is counted as: the body, with every URL cut at its query string.
    """

    req_key: str
    body: Mapping[str, Any] = field(repr=False)
    content: Mapping[str, Any]

    @property
    def content_key(self) -> str:
        """Short digest of the content."""
        return hashlib.sha256(_stable(self.content).encode()).hexdigest()[:16]

    @property
    def subject(self) -> str:
        """Text that a fault's ``match`` is sought in: the body as sent."""
        return json.dumps(self.body, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class ResultQuery:
    """
    A valid query.

    :param links: whether pictures are wanted as links, and not in the answer.
    """

    req_key: str
    task_id: str
    links: bool = False


def parse_submit(raw: bytes) -> Submission | Invalid:
    """Check a submit's body; interface document, "Submit a task", and volcengine-facts, sections 3 and 4."""
    body = _parse_body(raw)
    if isinstance(body, Invalid):
        return body
    req_key = body["req_key"]
    if req_key == MOTION_IMITATION:
        invalid = _check_url(body, "image_url") or _check_url(body, "video_url")
    elif req_key == MOTION_IMITATION_2:
        invalid = _check_second_form(body)
    elif req_key == TEXT_TO_IMAGE:
        invalid = _check_text_to_image(body)
    else:
        invalid = None
    return invalid or Submission(req_key, body, {name: _countable(value) for name, value in body.items()})


def parse_query(raw: bytes) -> ResultQuery | Invalid:
    """Check a query's body; interface document, "Query a task"."""
    body = _parse_body(raw)
    if isinstance(body, Invalid):
        return body
    invalid = _check_text(body, "task_id")
    if invalid is not None:
        return invalid
    req_json = body.get("req_json")
    links = False
    if req_json is not None:
        if not isinstance(req_json, str):
            return Invalid(50204, "req_json must be a string.")
        wishes = _load(req_json)
        if wishes is None:
            return Invalid(50200, "req_json must hold a JSON object.")
        links = wishes.get("return_url") is True
    return ResultQuery(body["req_key"], body["task_id"], links)


def media_urls(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The image's and the video's URL of a body, whatever form it has."""
    image = body.get("image_url")
    if image is None and isinstance(body.get("image_urls"), list) and body["image_urls"]:
        image = body["image_urls"][0]
    video = body.get("video_url")
    return (image if isinstance(image, str) else None, video if isinstance(video, str) else None)


def _parse_body(raw: bytes) -> dict[str, Any] | Invalid:
    if len(raw) > MAX_BODY_BYTES:
        return Invalid(50213, f"The body is larger than {MAX_BODY_BYTES} bytes.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Invalid(50200, "The body is not UTF-8.")
    body = _load(text)
    if body is None:
        return Invalid(50200, "The body is not a JSON object.")
    invalid = _check_text(body, "req_key")
    if invalid is not None:
        return invalid
    if not _REQ_KEY.match(body["req_key"]):
        return Invalid(50400, "Access Denied: req_key is not known.")
    return body


def _load(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _check_text(body: Mapping[str, Any], name: str) -> Invalid | None:
    value = body.get(name)
    if value is None or value == "":
        return Invalid(50201, f"{name} is missing.")
    if not isinstance(value, str):
        return Invalid(50204, f"{name} must be a string.")
    return None


def _check_url(body: Mapping[str, Any], name: str) -> Invalid | None:
    return _check_text(body, name) or _check_link(body[name], name)


def _check_link(value: str, name: str) -> Invalid | None:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return Invalid(50200, f"{name} must be an http or https URL.")
    return None


def _check_second_form(body: Mapping[str, Any]) -> Invalid | None:
    images, binaries = body.get("image_urls"), body.get("binary_data_base64")
    if images is None and binaries is None:
        return Invalid(50201, "image_urls is missing.")
    name, given = ("image_urls", images) if images is not None else ("binary_data_base64", binaries)
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        return Invalid(50204, f"{name} must be a list of strings.")
    if len(given) != 1 or not given[0]:
        return Invalid(50200, f"{name} must hold exactly one item.")
    if images is not None:
        invalid = _check_link(given[0], name)
        if invalid is not None:
            return invalid
    switch = body.get("cut_result_first_second_switch")
    if switch is not None and not isinstance(switch, bool):
        return Invalid(50204, "cut_result_first_second_switch must be a boolean.")
    return _check_url(body, "video_url")


def _check_text_to_image(body: Mapping[str, Any]) -> Invalid | None:
    invalid = _check_text(body, "prompt")
    if invalid is not None:
        return invalid
    images = body.get("image_urls")
    if images is not None:
        if not isinstance(images, list) or not all(isinstance(item, str) for item in images):
            return Invalid(50204, "image_urls must be a list of strings.")
        if len(images) > MAX_INPUTS:
            return Invalid(50200, f"image_urls must hold at most {MAX_INPUTS} items.")
        for image in images:
            invalid = _check_link(image, "image_urls")
            if invalid is not None:
                return invalid
    for name, kind in (("size", int), ("width", int), ("height", int), ("force_single", bool)):
        value = body.get(name)
        if value is not None and type(value) is not kind:
            return Invalid(50204, f"{name} must be a{'n integer' if kind is int else ' boolean'}.")
    return _check_area(body)


def _check_area(body: Mapping[str, Any]) -> Invalid | None:
    width, height, size = (body.get(name) for name in ("width", "height", "size"))
    area = width * height if width is not None and height is not None else size
    if area is not None and not LEAST_AREA <= area <= MOST_AREA:
        return Invalid(50200, f"the picture must have {LEAST_AREA} to {MOST_AREA} pixels.")
    if width is not None and height is not None and min(width, height) < 1:
        return Invalid(50200, "width and height must be above zero.")
    scale = body.get("scale")
    if scale is None:
        return None
    if isinstance(scale, bool) or not isinstance(scale, (int, float)):
        return Invalid(50204, "scale must be a number.")
    return None if 0 <= scale <= 1 else Invalid(50200, "scale must be from 0 to 1.")


def _countable(value: Any) -> Any:
    if isinstance(value, str):
        if value.startswith(("http://", "https://")):
            return value.partition("#")[0].partition("?")[0]
        if len(value) > 1000:
            return f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
        return value
    if isinstance(value, list):
        return [_countable(item) for item in value]
    if isinstance(value, dict):
        return {name: _countable(item) for name, item in value.items()}
    return value


def _stable(value: object) -> str:
    return json.dumps(value, sort_keys=True)
