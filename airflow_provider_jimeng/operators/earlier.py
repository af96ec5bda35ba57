# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What earlier tries and legs of a task have begun, where this one asks for something else.

Airflow renders templates in every try, and in every leg of a deferred one; connections change meanwhile. A
leg that took its arguments at their word would pay again, and leave what was paid for to nobody.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.exceptions import JimengError, JimengInputError, JimengLedgerError
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.ledger.states import LIVE, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.bulk.manifest import Manifest
    from airflow_provider_jimeng.bulk.tools import Tools
    from airflow_provider_jimeng.bulk.wishes import digest_of, to_tell, why_not, wishes_of
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.doubtful import settle_doubt
    from airflow_provider_jimeng.lifecycle.outcomes import stopped_error
    from airflow_provider_jimeng.lifecycle.revive import may_come_back
    from airflow_provider_jimeng.lifecycle.wanted import Missing, Wanted
    from airflow_provider_jimeng.operators.base import JimengOperator, SubmittingOperator
    from airflow_provider_jimeng.operators.batch import JimengBatchOperator
    from airflow_provider_jimeng.operators.hints import Hint
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    digest_of, to_tell, why_not, wishes_of = late(
        "airflow_provider_jimeng.bulk.wishes", "digest_of", "to_tell", "why_not", "wishes_of"
    )
    (settle_doubt,) = late("airflow_provider_jimeng.lifecycle.doubtful", "settle_doubt")
    (stopped_error,) = late("airflow_provider_jimeng.lifecycle.outcomes", "stopped_error")
    (may_come_back,) = late("airflow_provider_jimeng.lifecycle.revive", "may_come_back")

#: In the place of a digest: what no leg asks for.
_OTHERS = "others"
#: How often a wait for the outcome of an earlier try's submit looks for it.
_NAP_SECONDS = 5.0
BROUGHT_HOME = (
    "This task's arguments or connection make another content by now than the one that it has begun with "
    "task %s, which is brought home; nothing else is submitted. A person who clears this task asks for what "
    "its arguments say then, and pays for that. Templates are rendered in every try, and in "
    "every leg of a deferred one: keep what differs from one rendering to the next (the time, a token) out "
    "of them, or name the token in [jimeng] volatile_query_params."
)


def begun_earlier(
    operator: SubmittingOperator,
    context: Context,
    wanted: Wanted,
    since: float | None,
    is_there: Callable[[TaskRecord], bool],
    *,
    waited: bool,
) -> TaskRecord | None:
    """
    Return what an earlier try or leg paid for as another content, unless its result is gone by now.

    Waits while nobody knows whether it did: a worker that was killed in the middle of a submit may have.

    Only for a try that Airflow makes by itself, and for a leg after a wait: a person who clears a task asks
    for what it says now, and what the tries before that paid for is not what the retries after it go on with.

    :param since: epoch seconds of the DAG run's start.
    :param is_there: whether a landed result can still be had: a try may fail after it has landed.
    :param waited: whether this try has waited for its turn. What stands for its content by then, running,
        given up or in doubt, makes it wait just as a full house does.
    :raises JimengUnknownSubmitError: nobody will know whether an earlier try paid for another content.
    """
    first_try = _first_try(operator, context)
    if wanted.provenance.try_number <= first_try and not waited:
        return None
    began = since
    if wanted.provenance.try_number <= first_try:
        # Nothing before this try is its own: ``airflow dags test`` makes a date's DAG run again and again.
        began = max(since or 0.0, _start_of(context))
    ledger = operator.hook.ledger
    while True:
        now = ledger.now()
        rows = [
            row
            for row in ledger.begun_since_try(wanted.provenance.attempt_scope, began, first_try=first_try)
            if row.state is not TaskState.EXPIRED or may_come_back(row, now)
        ]
        if any(row.content_key == wanted.key and not row.never_sent for row in rows):
            return None
        others = [row for row in rows if row.content_key != wanted.key]
        for row in others:
            if row.task_id is not None and (row.state is not TaskState.LANDED or is_there(row)):
                return row
        doubtful = [row for row in others if row.task_id is None]
        if not doubtful:
            return None
        _wait_out(operator, wanted, doubtful[0])


def go_on_with(operator: SubmittingOperator, wanted: Wanted) -> None:
    """
    Have what stands for the content count as begun by this try, where an earlier one of the task paid for it.

    A cleared task finds it by its content; the retries after the clear, whose arguments may make another
    content, only by the number of the try.
    """
    mine = wanted.provenance
    if mine.try_number <= 1:
        return
    row = operator.hook.ledger.latest(wanted.key)
    if row is None or row.state not in (*LIVE, TaskState.EXPIRED):
        return
    if row.provenance.attempt_scope == mine.attempt_scope and row.provenance.try_number < mine.try_number:
        operator.hook.ledger.asked_again(row, mine.try_number)


def _first_try(operator: JimengOperator, context: Context) -> int:
    """Return the number of the try that the task began with, or that a person had it begin anew with."""
    ti: Any = context["ti"]
    # A clear gives a task all of its retries anew, counted from the try that it had come to.
    return int(ti.max_tries) - (operator.retries or 0) + 1


def _start_of(context: Context) -> float:
    """Return when this try began, in epoch seconds; its legs after a deferral keep that."""
    started = getattr(context["ti"], "start_date", None)
    return 0.0 if started is None else float(started.timestamp())


def _wait_out(operator: SubmittingOperator, wanted: Wanted, doubtful: TaskRecord) -> None:
    """
    Wait for the outcome of an earlier try's submit, which may be paid for already; a minute or a few.

    :raises JimengUnknownSubmitError: it has none.
    """
    with about_what_was_begun():
        wait = settle_doubt(operator.hook.ledger, doubtful, wanted.policies)
    if operator.stopping():
        raise stopped_error(wanted.key)
    if wait > 0:
        operator.log.info("An earlier try's submit may be under way: nothing is submitted for %.0f s.", wait)
        time.sleep(min(wait, _NAP_SECONDS))


@contextmanager
def about_what_was_begun() -> Iterator[None]:
    """Add to errors about what an earlier try or leg has begun that a clear is for something else by now."""
    try:
        yield
    except JimengLedgerError:
        raise
    except JimengError as error:
        # Their own words promise that a clear finds what was paid for, which it does by the arguments.
        error.message += (
            ". But this is about what an earlier try or leg of this task has begun; its arguments or "
            "connection make another content by now, for which nothing was submitted. A clear submits that, "
            "and pays for it; with the arguments of then it goes on with this one"
        )
        raise


def in_the_middle(
    error: JimengError, operator: JimengBatchOperator, context: Context, event: Any
) -> JimengError:
    """
    Return an error of a bulk run's leg; a wrong file costs it a try only, where there were legs before.

    A manifest may be half written just now. What was submitted for it is landed by whichever leg reads it. A
    list is never half written: one that a template makes otherwise in each leg is for a person to look at.

    :param event: what the leg was called with, ``None`` for the first of a try.
    """
    if not isinstance(error, JimengInputError):
        return error
    if event is None and context["ti"].try_number <= _first_try(operator, context):
        return error
    error.message += "\nThat is by this leg: what earlier ones submitted is paid for, and known to the ledger"
    if not isinstance(operator.manifest, str):
        error.message += ". A clear goes on with what of it is listed then"
        return error
    error.message += ". A retry reads the manifest again, and goes on with it"
    return error.retried(True)


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
