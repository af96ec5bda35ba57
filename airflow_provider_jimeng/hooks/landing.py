# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Landing with a connection: where the vendor's URL comes from, and what is told to Airflow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.api.products import takes_image_and_video
from airflow_provider_jimeng.exceptions import JimengLandingError, JimengMissingOutputError
from airflow_provider_jimeng.hooks.ledger import check_sha256
from airflow_provider_jimeng.hooks.storage import resolve_target
from airflow_provider_jimeng.lifecycle.harvest import Watched, harvest, harvest_doubt, what_may_be_done
from airflow_provider_jimeng.lifecycle.land import Landed, Lander
from airflow_provider_jimeng.media.download import Downloaded, download
from airflow_provider_jimeng.policy.poll import PollKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow_provider_jimeng.hooks.jimeng import JimengHook
    from airflow_provider_jimeng.ledger.records import TaskRecord

#: A query that meets trouble is asked again; the whole is one of several downloads of a retried task.
_ASKS = 3
#: A worker waits no longer between two of them, even where a hold would: the retry is the longer wait.
_MOST_PAUSE = 15.0


def lander(hook: JimengHook, *, overwrite: bool) -> Lander:
    """
    Return what lands results for this connection's ledger.

    :raises JimengConfigurationError: ``[jimeng] check_sha256`` is neither true nor false.
    """
    return Lander(hook.ledger, resolve_target, overwrite=overwrite, check_sha256=check_sha256())


def fetch_from_vendor(
    hook: JimengHook, watched: Watched, into: Path, *, first_url: str | None = None, part: int = 1
) -> Downloaded:
    """
    Ask the vendor for the result's URL and download it.

    Every call asks again, because URLs live an hour; nothing is submitted, whatever happens.

    :param first_url: a URL that was obtained a moment ago.
    :param part: which of the task's results, where it made several.
    :raises JimengMissingOutputError: the vendor no longer has the result.
    :raises JimengLandingError: the result could not be fetched now.
    """
    settings = hook.settings
    return download(
        first_url or _one_of(fresh_urls(hook, watched), part, watched),
        into,
        guard=hook.guard,
        timeout=(settings.connect_timeout, settings.read_timeout),
        pictures=not takes_image_and_video(watched.req_key),
    )


def _one_of(urls: list[str], part: int, watched: Watched) -> str:
    if part <= len(urls):
        return urls[part - 1]
    raise JimengLandingError(
        f"The vendor gave {len(urls)} results of this task now, and more before; result {part} is not among "
        "them. The task is paid and known: a retry asks again",
        task_id=watched.task_id,
    )


def fresh_urls(hook: JimengHook, watched: Watched) -> list[str]:
    """
    Ask the vendor for the links of all that a task made.

    :raises JimengMissingOutputError: the vendor no longer has it.
    :raises JimengLandingError: it gave no link now.
    """
    state, decision = None, None
    for ask in range(_ASKS):
        state, decision = harvest(hook.client, watched, now=time.time(), state=state)
        state, decision = harvest_doubt(
            hook.client, watched, state, decision, now=time.time, sleep=time.sleep
        )
        if decision.kind is PollKind.SUCCEEDED and decision.video_url:
            return [decision.video_url, *decision.further_urls]
        if decision.kind in (PollKind.EXPIRED, PollKind.FAILED):
            since = watched.submitted_at
            may_come_back = since is not None and time.time() - since < TASK_LIFETIME_SECONDS
            raise JimengMissingOutputError(
                f"The vendor no longer gives out this result ({decision.message or decision.kind.value}); it "
                f"was paid for and is not stored. {what_may_be_done(may_come_back)}",
                code=decision.code,
                request_id=decision.request_id,
                task_id=watched.task_id,
            ).retried(may_come_back)
        if ask + 1 < _ASKS:
            time.sleep(min(decision.retry_after or 1.0, _MOST_PAUSE))
    what = decision.note or decision.message if decision is not None else ""
    raise JimengLandingError(
        f"The vendor gave no URL for the result now ({what or 'no answer'}). The task is paid and known: a "
        "retry asks again",
        task_id=watched.task_id,
    )


def watched_of(record: TaskRecord) -> Watched:
    """Return what to ask the vendor about for a row."""
    return Watched(record.task_id or "", record.scope.req_key, record.submitted_at)


def landed_dict(landed: Landed, further: Sequence[Landed] = ()) -> dict[str, Any]:
    """Return what goes to XCom and asset events; ``further`` only where a task made several things."""
    told = _dict(landed)
    if further:
        told["further"] = [_dict(each) for each in further]
    return told


def _dict(landed: Landed) -> dict[str, Any]:
    return {
        "uri": landed.uri,
        "bytes": landed.bytes,
        "sha256": landed.sha256,
        "content_type": landed.content_type,
    }


def announce(context: Mapping[str, Any], outlets: Any, extra: Mapping[str, Any]) -> None:
    """Attach what was landed to the asset events of a task's outlets."""
    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets or ():
        if hasattr(outlet, "uri"):
            events[outlet].extra = {**dict(extra)}
