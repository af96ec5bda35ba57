# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What earlier tries and legs of a task have begun, where this one asks for something else.

Airflow renders templates in every try, and in every leg of a deferred one; connections change meanwhile. A
leg that took its arguments at their word would pay again, and leave what was paid for to nobody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.ledger.states import TaskState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.bulk.manifest import Manifest
    from airflow_provider_jimeng.bulk.tools import Tools
    from airflow_provider_jimeng.bulk.wishes import digest_of, to_tell, why_not, wishes_of
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.revive import may_come_back
    from airflow_provider_jimeng.lifecycle.wanted import Missing, Wanted
    from airflow_provider_jimeng.operators.base import SubmittingOperator
    from airflow_provider_jimeng.operators.batch import JimengBatchOperator
    from airflow_provider_jimeng.operators.hints import Hint
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    digest_of, to_tell, why_not, wishes_of = late(
        "airflow_provider_jimeng.bulk.wishes", "digest_of", "to_tell", "why_not", "wishes_of"
    )
    (may_come_back,) = late("airflow_provider_jimeng.lifecycle.revive", "may_come_back")

#: In the place of a digest: what no leg asks for.
_OTHERS = "others"
BROUGHT_HOME = (
    "This task's arguments or connection make another content by now than the one that it has begun with "
    "task %s, which is brought home; nothing else is submitted. Templates are rendered in every try, and in "
    "every leg of a deferred one: keep what differs from one rendering to the next (the time, a token) out "
    "of them, or name the token in [jimeng] volatile_query_params."
)


def begun_earlier(
    operator: SubmittingOperator, context: Context, wanted: Wanted, since: float | None
) -> TaskRecord | None:
    """
    Return what an earlier try paid for as another content, and what nobody has stored.

    Only for a try that Airflow makes by itself: a person who clears a task asks for what it says now, and
    what the tries before that paid for is not what the retries after it go on with.

    :param since: epoch seconds of the DAG run's start.
    """
    ti: Any = context["ti"]
    # A clear gives a task all of its retries anew, counted from the try that it had come to.
    first_try = ti.max_tries - (operator.retries or 0) + 1
    if ti.try_number <= first_try:
        return None
    ledger = operator.hook.ledger
    now = ledger.now()
    paid = [
        row
        for row in ledger.paid_since_try(wanted.provenance.attempt_scope, since, first_try=first_try)
        if row.state is not TaskState.EXPIRED or may_come_back(row, now)
    ]
    if any(row.content_key == wanted.key for row in paid):
        return None
    return next((row for row in paid if row.task_id is not None and row.state is not TaskState.LANDED), None)


def told_of(missing: Missing) -> dict[str, int]:
    """Return what a leg that waits for a slot hands on of the result that it found missing."""
    return {"row": missing.record.id, "revision": missing.record.revision}


def as_before(
    operator: JimengBatchOperator, hint: Hint, manifest: Manifest, tools: Tools, *, another: bool
) -> tuple[str | None, Hint]:
    """
    Look whether a leg of a bulk run asks for what the ones before it did.

    :param another: whether the manifest holds something else than it did.
    :return: why it must not submit, or ``None``; and what to tell the next one.
    """
    settings = tools.settings
    asked = digest_of(
        settings.account, settings.endpoint_name, operator.force_new, operator.req_key, operator.options
    )
    # A file may be corrected at any time; a list is only what a template made of it.
    listed = another and not isinstance(operator.manifest, str)
    now = wishes_of(manifest.lines(), tools.want) if listed else None
    stopped = why_not((hint.asked, hint.wishes), (asked, now))
    if stopped is not None:
        # For good: the next leg may well ask for the same as this one.
        return stopped, replace(hint, asked=_OTHERS)
    return None, replace(hint, asked=asked, wishes=hint.wishes if now is None else to_tell(now))
