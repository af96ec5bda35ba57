# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A bulk run's tools, made of a connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.content import Folder
from airflow_provider_jimeng.bulk.tools import Terms, Tools
from airflow_provider_jimeng.client import meter
from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.hooks.jimeng import epoch_of, iso
from airflow_provider_jimeng.hooks.landing import fetch_from_vendor, lander, watched_of
from airflow_provider_jimeng.hooks.ledger import volatile_query_params
from airflow_provider_jimeng.hooks.probing import probing_asked_for
from airflow_provider_jimeng.hooks.watching import ended_in
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.asking import ask_about, is_true_for_strangers
from airflow_provider_jimeng.lifecycle.harvest import Watched, expectation, harvest, record_verdict
from airflow_provider_jimeng.lifecycle.settle import settle_seen_over
from airflow_provider_jimeng.lifecycle.wanted import Request, want
from airflow_provider_jimeng.policy.poll import PollState

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.content import Mine
    from airflow_provider_jimeng.bulk.items import Item
    from airflow_provider_jimeng.bulk.parking import Parked
    from airflow_provider_jimeng.client.aio import AsyncClient
    from airflow_provider_jimeng.hooks.jimeng import JimengHook
    from airflow_provider_jimeng.ledger.records import Scope, TaskRecord
    from airflow_provider_jimeng.lifecycle.land import Fetch
    from airflow_provider_jimeng.lifecycle.wanted import Wanted
    from airflow_provider_jimeng.media.target import Target

log = logging.getLogger(__name__)

_QUESTIONS_AT_ONCE = 8
#: The share of its expected time after which a task is asked about by a leg that is there anyway.
_NEARLY = 0.9


def tools_of(
    hook: JimengHook,
    terms: Terms,
    folder: Target,
    *,
    overwrite: bool,
    force_new: str | None,
    tags: Mapping[str, str],
    probe: bool | None = None,
    options: Mapping[str, Mapping[str, bool]] | None = None,
) -> Tools:
    """
    Return what a bulk run works with, for this connection.

    :param options: the switches of each product's items, checked.
    """
    volatile = volatile_query_params()
    settings, client, ledger = hook.settings, hook.client, hook.ledger
    first = [settings]

    def wanted(item: Item) -> Wanted:
        return want(
            Request(
                item.image,
                item.video,
                item.req_key,
                None,
                item.variant,
                force_new,
                (options or {}).get(item.req_key),
            ),
            settings=settings,
            provenance=terms.provenance,
            policies=terms.policies,
            volatile=volatile,
        )

    def query_client() -> AsyncClient:
        from airflow_provider_jimeng.client.aio import AsyncClient

        # From the second time on the credentials were refused: a secrets backend may have rotated them.
        return AsyncClient(first.pop() if first else hook.refreshed().settings)

    def fetch(record: TaskRecord, url: str | None) -> Fetch:
        urls = [url]
        return lambda into: fetch_from_vendor(
            hook, watched_of(record), into, first_url=urls.pop() if urls else None
        )

    _ = hook.guard  # made here, not by several threads at once
    return Tools(
        ledger=ledger,
        settings=settings,
        newest=hook.newest_settings,
        want=wanted,
        inspect=partial(hook.look_at_inputs, since=terms.since),
        probe=hook.prober.check if probing_asked_for(probe) else _no_probe,
        ensure=hook.ensure,
        ask=partial(ask_about, ledger, client),
        query_client=query_client,
        fetch=fetch,
        lander=lander(hook, overwrite=overwrite),
        folder=Folder(folder),
        report=lambda fate, line: None,
        gauge=lambda name, value: meter.gauge(f"bulk.{name}", value, tags),
    )


def _no_probe(wanted: Wanted) -> None:
    """Leave the judgement of inputs to the vendor."""


def harvest_over(
    hook: JimengHook, event: Mapping[str, Any], mine: Mine, req_key: str
) -> dict[str, str | None]:
    """
    Record the ends of this run's tasks, and of those for whose slots it was called, which frees the slots.

    Those that a trigger saw over, and those that have had their time: between the trigger's event and this
    leg seconds passed, in which others ended as well, and a slot must not wait for a leg of its own. The
    worker's own answer decides; the trigger's count of strange answers is carried on.

    :param req_key: whose tasks are looked at even if the trigger told of none, since it was the run's turn;
        and whose turn it was, where an earlier release's trigger does not say.
    :return: the tasks that were asked about, with the URLs of their results: nobody need ask again at once.
    """
    turn = hook.settings.scope(str(event.get("req_key") or req_key))
    settle_seen_over(hook.ledger, hook.client, turn, ended_in(event))
    tasks = event.get("tasks") or ()
    told = {str(each.get("task_id")): each for each in tasks if each.get("outcome") != "deadline"}
    due: dict[int, TaskRecord] = {}
    for task_id, each in told.items():
        record = _row(hook, task_id, str(each.get("req_key")), mine)
        if record is not None and record.task_id is not None:
            due[record.id] = record
    for scope in {hook.settings.scope(req_key), turn, *(record.scope for record in due.values())}:
        view = hook.ledger.slot_view(scope, hook.settings.limit_for(scope.req_key))
        due.update(
            {each.id: each for each in view.holders if mine.made(each) and _has_had_its_time(each, view.now)}
        )
    _ = hook.client  # made here, not by several threads at once
    with ThreadPoolExecutor(_QUESTIONS_AT_ONCE, thread_name_prefix="jimeng-bulk-harvest") as pool:
        urls = pool.map(lambda each: _harvest_one(hook, each, told.get(each.task_id or "", {})), due.values())
        return {each.task_id: url for each, url in zip(due.values(), urls, strict=True) if each.task_id}


def _row(hook: JimengHook, task_id: str, req_key: str, mine: Mine) -> TaskRecord | None:
    """Return a task's row; also one of this run's from before its account got a name, or another key."""
    record = hook.ledger.by_task_id(task_id, hook.settings.scope(req_key))
    if record is None:
        record = hook.ledger.by_task_id(task_id)
        if record is not None and not (
            mine.made(record) and hook.settings.may_ask_about(record.scope.account, record.scope.endpoint)
        ):
            return None
    return record


def _has_had_its_time(record: TaskRecord, now: float) -> bool:
    expected = expectation(record)
    if record.state is not TaskState.SUBMITTED or record.task_id is None or record.submitted_at is None:
        return False
    return expected is None or now - record.submitted_at >= _NEARLY * expected


def _harvest_one(hook: JimengHook, record: TaskRecord, told: Mapping[str, Any]) -> str | None:
    watched = Watched(record.task_id or "", record.scope.req_key, record.submitted_at)
    poll = told.get("poll")
    state = PollState.from_dict(poll) if isinstance(poll, Mapping) else None
    state, decision = harvest(hook.client, watched, now=time.time(), state=state)
    if not hook.settings.is_called(record.scope.account) and not is_true_for_strangers(
        record, state, decision, now=time.time()
    ):
        # The leg asks whether the vendor knows the task by this key, before it believes anything.
        return None
    try:
        record_verdict(hook.ledger, record, decision, state=state, seen_at=epoch_of(told.get("seen_at")))
    except JimengLedgerError as error:
        log.warning("The end of task %s is recorded later: %s", record.task_id, error)
    return decision.video_url


def turns_of(parked: Parked, look_at: str | None) -> dict[str, Any]:
    """
    Return what the trigger needs to know to wait for slots; nothing where only tasks are waited for.

    :param look_at: when the run looks by itself, as ISO 8601 UTC time.
    """
    if parked.scope is None or (parked.open and parked.ticket is None):
        return {}
    not_before = None if parked.ticket else iso(time.time() + max(1.0, parked.wait or 0.0))
    # Where tasks are watched as well, their watch ends then.
    until = {} if parked.open or not parked.ticket else {"deadline": look_at}
    more = [_turn(scope, key, ticket) for scope, key, ticket in parked.others]
    return {
        "turn": {
            **_turn(parked.scope, parked.content_key, parked.ticket),
            "not_before": not_before,
            **until,
        },
        **({"more_turns": more} if more else {}),
    }


def _turn(scope: Scope, content_key: str | None, ticket: int | None) -> dict[str, Any]:
    return {
        "account": scope.account,
        "endpoint": scope.endpoint,
        "req_key": scope.req_key,
        "content_key": content_key,
        "ticket_id": ticket,
    }
