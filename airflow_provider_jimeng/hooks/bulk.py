# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A bulk run's tools, made of a connection; and its numbers, as Airflow's metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.content import Folder
from airflow_provider_jimeng.bulk.tools import Terms, Tools
from airflow_provider_jimeng.client.aio import AsyncClient
from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.hooks.jimeng import epoch_of
from airflow_provider_jimeng.hooks.landing import fetch_from_vendor, lander, watched_of
from airflow_provider_jimeng.hooks.ledger import volatile_query_params
from airflow_provider_jimeng.lifecycle.harvest import Watched, harvest, record_verdict
from airflow_provider_jimeng.lifecycle.wanted import Request, want
from airflow_provider_jimeng.policy.poll import PollState

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.items import Item
    from airflow_provider_jimeng.hooks.jimeng import JimengHook
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.land import Fetch
    from airflow_provider_jimeng.lifecycle.wanted import Wanted
    from airflow_provider_jimeng.media.target import Target

log = logging.getLogger(__name__)


def tools_of(
    hook: JimengHook,
    terms: Terms,
    folder: Target,
    *,
    overwrite: bool,
    force_new: str | None,
    tags: Mapping[str, str],
) -> Tools:
    """Return what a bulk run works with, for this connection."""
    volatile = volatile_query_params()
    settings, client, ledger = hook.settings, hook.client, hook.ledger
    first = [settings]

    def wanted(item: Item) -> Wanted:
        return want(
            Request(item.image, item.video, item.req_key, None, item.variant, force_new),
            settings=settings,
            provenance=terms.provenance,
            policies=terms.policies,
            volatile=volatile,
        )

    def query_client() -> AsyncClient:
        # From the second time on the credentials were refused: a secrets backend may have rotated them.
        return AsyncClient(first.pop() if first else hook.refreshed().settings)

    def fetch(record: TaskRecord, url: str | None) -> Fetch:
        urls = [url]
        return lambda into: fetch_from_vendor(
            hook, watched_of(record), into, first_url=urls.pop() if urls else None
        )

    _ = client, hook.guard  # made here, not by several threads at once
    return Tools(
        ledger=ledger,
        settings=settings,
        want=wanted,
        inspect=hook.look_at_inputs,
        ensure=hook.ensure,
        query_client=query_client,
        fetch=fetch,
        lander=lander(hook, overwrite=overwrite),
        folder=Folder(folder),
        report=lambda fate, line: None,
        gauge=partial(_gauge, _stats_gauge(), dict(tags)),
    )


def harvest_told(hook: JimengHook, tasks: Any) -> dict[str, str]:
    """
    Record the ends of the tasks that a trigger saw over, which frees their slots.

    The worker's own answer decides; the trigger's count of strange answers is carried on.

    :return: the URLs of their results, by task id, so that landing them need not ask again.
    """
    urls: dict[str, str] = {}
    for told in tasks or ():
        record = hook.ledger.by_task_id(
            str(told.get("task_id")), hook.settings.scope(str(told.get("req_key")))
        )
        if record is None or record.task_id is None or told.get("outcome") == "deadline":
            continue
        watched = Watched(record.task_id, record.scope.req_key, record.submitted_at)
        poll = told.get("poll")
        state = PollState.from_dict(poll) if isinstance(poll, Mapping) else None
        state, decision = harvest(hook.client, watched, now=time.time(), state=state)
        try:
            record_verdict(hook.ledger, record, decision, state=state, seen_at=epoch_of(told.get("seen_at")))
        except JimengLedgerError as error:
            log.warning("The end of task %s is recorded later: %s", record.task_id, error)
            continue
        if decision.video_url is not None:
            urls[record.task_id] = decision.video_url
    return urls


def _stats_gauge() -> Callable[..., Any] | None:
    """Return Airflow's gauge; it has moved with every minor release."""
    try:
        from airflow.sdk.observability.stats import Stats  # Airflow 3.2 and later
    except ImportError:
        try:
            from airflow.stats import Stats
        except ImportError:
            return None
    found: Callable[..., Any] | None = getattr(Stats, "gauge", None)
    return found


def _gauge(gauge: Callable[..., Any] | None, tags: Mapping[str, str], name: str, value: float) -> None:
    if gauge is not None:
        try:
            gauge(f"jimeng.bulk.{name}", value, tags=tags)
        except Exception:
            log.debug("A metric could not be published.", exc_info=True)
