# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a caller asks for, before anything is known about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.build import parts_of_body, submit_body
from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.api.products import check_options
from airflow_provider_jimeng.api.validation import (
    check_body,
    check_media_url,
    check_req_key,
    check_variant,
)
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.ledger.keys import canonical_inputs, content_key
from airflow_provider_jimeng.ledger.records import TaskRecord
from airflow_provider_jimeng.lifecycle.choices import FAIL as FAIL, RESUBMIT as RESUBMIT, REUSE as REUSE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.records import Provenance, Scope


@dataclass(frozen=True, slots=True)
class Policies:
    """
    What the user chose for the cases in which money could be spent twice, or not at all.

    Every default is the one that spends nothing.

    :param on_unknown_submit: ``fail`` or ``resubmit`` a submit whose outcome nobody knows.
    :param on_missing_output: ``fail`` or ``resubmit`` where a paid result exists nowhere any more.
    :param on_input_changed: ``fail``, ``reuse`` or ``resubmit`` where other bytes are behind the same URL.
    :param max_attempts: submits of one content by one task instance (dag run, task, map index),
        counting those whose verdict allowed a new attempt.
    """

    on_unknown_submit: str = FAIL
    on_missing_output: str = FAIL
    on_input_changed: str = FAIL
    max_attempts: int = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    One content, ready to be looked up, and to be submitted if nobody has yet.

    :param key: identity by content (``design.md``, invariant 3): never a dag, a run or a date.
    :param body: what is sent; kept out of ``repr`` because presigned inputs are secrets.
    :param sources: the input URLs by field, to notice that other bytes are behind them; secret as ``body``.
    :param validators: what the inputs' servers say of their bytes, as JSON text.
    """

    key: str
    scope: Scope
    inputs: str
    variant: int
    force_new: str | None
    body: Mapping[str, Any] = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)
    provenance: Provenance
    policies: Policies = Policies()
    validators: str | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A finished row whose result was found nowhere: to be paid for again if nothing happened to it since."""

    record: TaskRecord


#: A row that the user chose to pay for again: one whose inputs changed, or whose result is missing.
Superseded = TaskRecord | Missing


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of a submit as a DAG author gives them, not yet checked."""

    image_url: Any = field(default=None, repr=False)
    video_url: Any = field(default=None, repr=False)
    req_key: Any = MOTION_IMITATION
    body: Any = field(default=None, repr=False)
    variant: Any = 0
    force_new: Any = None
    options: Any = None


def rendered(value: Any, field: str) -> Any:
    """
    Return an argument, unless it is what a template makes of nothing.

    :raises JimengInputError: "None" as a reason would pay again, and as an id would wait for nobody's task.
    """
    if value in ("None", "null"):
        raise JimengInputError(
            f"{field} is the text {value!r}: a template rendered to nothing. Give a value, or none at all. "
            "Nothing was paid."
        )
    return value


def _asked_for(request: Request, req_key: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body to send and, of a product that takes an image and a video, the two URLs."""
    image_url, video_url, options = request.image_url, request.video_url, request.options
    if request.body is not None:
        if image_url is not None or video_url is not None or options:
            raise JimengInputError(
                "body goes without image_url, video_url and options: give either the whole body or these. "
                "Nothing was paid."
            )
        given = check_body(request.body, "body")
        if given.get("req_key", req_key) != req_key:
            raise JimengInputError(
                "body names another req_key than the argument req_key: which product is meant? Nothing was "
                "paid."
            )
        parts = parts_of_body(req_key, given)
        if parts is None:
            return {**given, "req_key": req_key}, {}
        # The same wish as with the arguments, and so the same content: paid for once, not twice.
        image_url, video_url, options = parts
    image_url = check_media_url(image_url, "image_url")
    video_url = check_media_url(video_url, "video_url")
    body = submit_body(req_key, image_url, video_url, check_options(options, req_key))
    return body, {"image_url": image_url, "video_url": video_url}


def _identity(body: Mapping[str, Any], sources: Mapping[str, str]) -> Mapping[str, Any]:
    """
    Return what of a request makes it the content that it is.

    The two URLs where there is nothing else, whatever form their product's body has; else the body. Both are
    as in every release: another answer here pays for everybody's contents again.
    """
    said = {name: value for name, value in body.items() if name != "req_key"}
    return sources if sources and len(said) == len(sources) else said


def want(
    request: Request,
    *,
    settings: AccountSettings,
    provenance: Provenance,
    policies: Policies,
    volatile: Collection[str] = (),
) -> Wanted:
    """
    Check a request and give it its identity.

    :param volatile: names of query parameters that don't belong to an input's identity, beyond the known
        presigning ones (``[jimeng] volatile_query_params``).
    :raises JimengInputError: naming the field; nothing was paid.
    """
    req_key = check_req_key(rendered(request.req_key, "req_key"), "req_key")
    variant = check_variant(request.variant, "variant")
    force_new = rendered(request.force_new, "force_new")
    if force_new is not None and (not isinstance(force_new, str) or not force_new.strip()):
        raise JimengInputError(
            "force_new must be a reason (a non-empty string) or None: the reason is what keeps a retry "
            "of the same task from paying again. Nothing was paid."
        )
    body, sources = _asked_for(request, req_key)
    canonical = canonical_inputs(_identity(body, sources), volatile)
    scope = settings.scope(req_key)
    return Wanted(
        key=content_key(
            account=scope.account,
            endpoint=scope.endpoint,
            req_key=req_key,
            inputs=canonical,
            variant=variant,
            force_new=force_new,
        ),
        scope=scope,
        inputs=json.dumps(canonical, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        variant=variant,
        force_new=force_new,
        body=body,
        sources=sources,
        provenance=provenance,
        policies=policies,
    )
