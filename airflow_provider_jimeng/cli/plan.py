# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``plan``: what a run of a manifest would do, before it does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.cli.render import json_line, plain
from airflow_provider_jimeng.cli.session import as_a_command_of_airflow, say, url_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Mapping

    from airflow_provider_jimeng.bulk.items import Item
    from airflow_provider_jimeng.bulk.plan import History
    from airflow_provider_jimeng.ledger.records import Scope, TaskRecord
    from airflow_provider_jimeng.lifecycle.wanted import Wanted

__all__ = ["plan_manifest"]

_LISTED = 20


class _NothingYet:
    """The history of a machine on which nothing was ever submitted."""

    def latest_many(self, content_keys: Collection[str]) -> Mapping[str, TaskRecord]:
        """Return nothing."""
        return {}

    def typical_seconds(self, scope: Scope) -> float | None:
        """Return that nobody knows."""
        return None


def plan_manifest(options: argparse.Namespace) -> int:
    """
    Count what a run would do with each line; returns 1 where a line can't be read.

    Nothing is made: where there is no ledger yet, every line is new.
    """
    as_a_command_of_airflow()
    from airflow_provider_jimeng.api.models import MOTION_IMITATION
    from airflow_provider_jimeng.api.products import check_product_options
    from airflow_provider_jimeng.api.validation import check_req_key
    from airflow_provider_jimeng.bulk.manifest import open_manifest
    from airflow_provider_jimeng.bulk.plan import in_words, plan
    from airflow_provider_jimeng.hooks.ledger import volatile_query_params
    from airflow_provider_jimeng.hooks.storage import resolve_target
    from airflow_provider_jimeng.hooks.volcengine import VolcengineHook
    from airflow_provider_jimeng.ledger.records import Provenance
    from airflow_provider_jimeng.lifecycle.wanted import Policies, Request, want

    settings = VolcengineHook(volcengine_conn_id=options.conn_id).settings
    policies = Policies(
        on_unknown_submit=options.on_unknown_submit, on_missing_output=options.on_missing_output
    )
    volatile, nobody = volatile_query_params(), Provenance()
    switches = check_product_options(options.options, "--options")

    def wanted(item: Item) -> Wanted:
        return want(
            Request(
                item.image,
                item.video,
                item.req_key,
                None,
                item.variant,
                options.force_new,
                switches.get(item.req_key),
            ),
            settings=settings,
            provenance=nobody,
            policies=policies,
            volatile=volatile,
        )

    place = options.manifest if "://" in options.manifest else os.path.abspath(options.manifest)
    manifest = open_manifest(
        place,
        resolve=resolve_target,
        default_req_key=check_req_key(options.req_key or MOTION_IMITATION, "req_key"),
    )
    try:
        problems = manifest.check()
        planned = plan(manifest.lines(), ledger=_history(options.ledger_url), settings=settings, want=wanted)
    finally:
        manifest.close()
    if options.json:
        print(json_line(planned))
    else:
        print(*map(plain, in_words(planned)), sep="\n")
    _tell(problems)
    return 1 if planned["invalid"] else 0


def _history(url: str | None) -> History:
    from airflow_provider_jimeng.ledger.admin import LedgerAdmin, NoLedger
    from airflow_provider_jimeng.ledger.store import Ledger

    place = url_of(url)
    try:
        LedgerAdmin(place)
    except NoLedger as error:
        say(f"No ledger is at {error.message.partition(' at ')[2].partition('. ')[0]}: every line is new.")
        return _NothingYet()
    return Ledger(place)


def _tell(problems: Any) -> None:
    count = getattr(problems, "total", len(problems))
    if count == 1:
        say('a problem of form; a run stops at it, or leaves its line out (on_invalid="skip"):')
    elif count:
        say(f'{count} problems of form; a run stops at them, or leaves their lines out (on_invalid="skip"):')
    say(*(f"  {each}" for each in problems[:_LISTED]))
    if count > _LISTED:
        say(f"  and {count - _LISTED} more")
