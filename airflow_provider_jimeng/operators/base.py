# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What every operator of this provider does the same way."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator
from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.exceptions import (
    JimengInputError,
    JimengNoSlotError,
    JimengProtocolError,
)
from airflow_provider_jimeng.hooks.defaults import (
    DEFAULT_CONNECTION,
    DEFAULT_RETRIES,
    DEFAULT_RETRY_DELAY,
    flag_of,
    mask_queries,
    seconds_of,
)
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.hooks.lineage import TellsLineage
from airflow_provider_jimeng.hooks.rendering import leave_data_alone
from airflow_provider_jimeng.lifecycle.choices import FAIL, RESUBMIT, REUSE
from airflow_provider_jimeng.lifecycle.ensured import InHand, Waiting
from airflow_provider_jimeng.links.jimeng import JimengResultLink, object_page, task_page
from airflow_provider_jimeng.media.names import NOTE
from airflow_provider_jimeng.operators.earlier import go_on_with, told_of
from airflow_provider_jimeng.triggers.outcomes import DEADLINE, FINISHED, TURN

if TYPE_CHECKING:
    import jinja2

    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.api.validation import check_choice
    from airflow_provider_jimeng.hooks.jimeng import JimengHook, epoch_of, iso, provenance_of
    from airflow_provider_jimeng.hooks.probing import probing_asked_for
    from airflow_provider_jimeng.hooks.waiting import wait_on_worker
    from airflow_provider_jimeng.hooks.watching import ended_in
    from airflow_provider_jimeng.lifecycle.counting import slot_waited_for
    from airflow_provider_jimeng.lifecycle.wanted import Missing, Policies, Request, Superseded, Wanted
    from airflow_provider_jimeng.media.target import Target
    from airflow_provider_jimeng.triggers.slots import JimengSlotTrigger
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    (check_choice,) = late("airflow_provider_jimeng.api.validation", "check_choice")
    JimengHook, epoch_of, iso, provenance_of = late(
        "airflow_provider_jimeng.hooks.jimeng", "JimengHook", "epoch_of", "iso", "provenance_of"
    )
    (probing_asked_for,) = late("airflow_provider_jimeng.hooks.probing", "probing_asked_for")
    (wait_on_worker,) = late("airflow_provider_jimeng.hooks.waiting", "wait_on_worker")
    (ended_in,) = late("airflow_provider_jimeng.hooks.watching", "ended_in")
    (slot_waited_for,) = late("airflow_provider_jimeng.lifecycle.counting", "slot_waited_for")
    Missing, Policies, Request = late(
        "airflow_provider_jimeng.lifecycle.wanted", "Missing", "Policies", "Request"
    )
    (JimengSlotTrigger,) = late("airflow_provider_jimeng.triggers.slots", "JimengSlotTrigger")

_BACKSTOP = dt.timedelta(minutes=30)
DEFAULT_SLOT_TIMEOUT_SECONDS = 7 * 24 * 3600.0
#: What a user chooses that may cost money; texts, so templates, and checked when they are rendered.
POLICY_FIELDS = ("on_unknown_submit", "on_missing_output", "on_input_changed")


class JimengOperator(TellsLineage, BaseOperator):
    """
    Base of the operators: connection, retries that are there by default, masked arguments, links.

    :param volcengine_conn_id: the connection.
    """

    operator_extra_links: Sequence[Any] = (JimengResultLink(),)
    ui_color = "#e8f0ff"
    _told_to_stop = False

    def __init__(
        self,
        *,
        volcengine_conn_id: str = DEFAULT_CONNECTION,
        retries: int | None = DEFAULT_RETRIES,
        retry_delay: dt.timedelta | float = DEFAULT_RETRY_DELAY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.volcengine_conn_id = volcengine_conn_id
        self.link_target: str | None = None

    def on_kill(self) -> None:
        """
        Stop paying: this task was marked failed or cleared, or its worker goes away.

        Airflow calls it in the handler of SIGTERM, which runs between any two lines of the main thread: it
        takes no lock and writes nothing. What is at the vendor stays there, known to the ledger.
        """
        self._told_to_stop = True

    def stopping(self) -> bool:
        """Return whether this task was told to stop: then it submits nothing and waits for nothing."""
        return self._told_to_stop

    @cached_property
    def hook(self) -> JimengHook:
        """The hook of this task's connection."""
        return JimengHook(self.volcengine_conn_id)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """
        Render, and hide the query strings of what was rendered before Airflow stores it.

        Here and not in ``render_template_fields``, which Airflow does not call on a mapped task's operator.
        """
        if parent is self:
            leave_data_alone(self, template_fields, seen_oids)
        try:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        finally:
            for field in template_fields:
                mask_queries(getattr(parent, field, None))

    def _point_at_task(self, task_id: str | None) -> None:
        settings = self.hook.settings
        self.link_target = task_page(settings.endpoint.origin, task_id, loopback=settings.loopback)

    def _point_at_object(self, uri: str) -> None:
        self.link_target = object_page(uri)


class SubmittingOperator(JimengOperator):
    """
    Base of the operators that may submit.

    :param image_url: URL of the image that the vendor can fetch (templated).
    :param video_url: URL of the template video that the vendor can fetch (templated).
    :param req_key: the product.
    :param options: the product's switches, such as 2.0's ``cut_result_first_second_switch``; what is said
        here is part of the content (templated).
    :param body: the whole request of another product, instead of the two URLs (templated).
    :param variant: a number that makes the same inputs another content, for people who want several results.
    :param on_unknown_submit: ``fail`` or ``resubmit`` where nobody knows whether a submit was accepted; the
        latter may pay twice (templated).
    :param on_missing_output: ``fail`` or ``resubmit`` where a paid result exists nowhere any more
        (templated).
    :param on_input_changed: ``fail``, ``reuse`` or ``resubmit`` where other bytes are behind the same URL
        (templated).
    :param max_attempts: submits of the content by this task instance; only verdicts that the vendor marks
        retryable, none of which is billed, lead to a second one.
    :param force_new: a reason to pay for the same content again; each reason is paid once, however often the
        task is retried (templated).
    :param probe: whether the inputs are looked at before they are paid for; by default where the extra
        ``media`` is installed (``[jimeng] probe``).
    :param slot_timeout: seconds to wait for a free slot of the account.
    :param deferrable: wait for a slot in the triggerer, not on the worker.
    """

    template_fields: Sequence[str] = (
        "image_url",
        "video_url",
        "req_key",
        "options",
        "body",
        "force_new",
        *POLICY_FIELDS,
        "volcengine_conn_id",
    )
    template_ext: Sequence[str] = ()

    def __init__(
        self,
        *,
        image_url: Any = None,
        video_url: Any = None,
        req_key: Any = MOTION_IMITATION,
        options: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        variant: int = 0,
        on_unknown_submit: str = FAIL,
        on_missing_output: str = FAIL,
        on_input_changed: str = FAIL,
        max_attempts: int = 3,
        force_new: str | None = None,
        probe: bool | None = None,
        slot_timeout: float | dt.timedelta = DEFAULT_SLOT_TIMEOUT_SECONDS,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_url = image_url
        self.video_url = video_url
        self.req_key = req_key
        self.options = options
        self.body = body
        self.variant = variant
        self.on_unknown_submit = on_unknown_submit
        self.on_missing_output = on_missing_output
        self.on_input_changed = on_input_changed
        self.max_attempts = max_attempts
        self.force_new = force_new
        self.probe = probe
        self.slot_timeout = slot_timeout
        self.deferrable = deferrable
        self._since: float | None = None
        self._slot_deadline: str | None = None

    def _asked_for(self) -> Sequence[str]:
        body = self.body.values() if isinstance(self.body, Mapping) else ()
        return [each for each in (self.image_url, self.video_url, *body) if _is_url(each)]

    def _policies(self) -> Policies:
        attempts: Any = self.max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise JimengInputError(
                f"max_attempts must be a whole number from 1, not {attempts!r}. Nothing was paid"
            )
        return policies_of(self, attempts)

    def _wanted(self, context: Context) -> Wanted:
        seconds_of(self.slot_timeout, "slot_timeout")
        flag_of(self.deferrable, "deferrable")
        probing_asked_for(self.probe)
        started = getattr(context.get("dag_run"), "start_date", None)
        self._since = None if started is None else started.timestamp()
        request = Request(
            self.image_url,
            self.video_url,
            self.req_key,
            self.body,
            self.variant,
            self.force_new,
            self.options,
        )
        return self.hook.want(request, provenance=provenance_of(context), policies=self._policies())

    def _in_hand(
        self,
        wanted: Wanted,
        event: Mapping[str, Any] | None,
        supersede: Superseded | None = None,
        target: Target | None = None,
    ) -> InHand:
        """
        Return the content's task; defers, or waits here, while no slot is free.

        :param target: where its result is wanted.
        """
        beside = None if target is None else self.hook.admission.note_at(target.beside(NOTE))
        go_on_with(self, wanted)
        if event is not None and event.get("status") == TURN:
            # A ticket whose turn it was, but whose slot somebody else took, goes on waiting until its first
            # deadline.
            self._slot_deadline = event.get("deadline")
        if not self._is_told_of_own(wanted, event):
            wanted, changed = self.hook.look_at_inputs(wanted, since=self._since)
            supersede = supersede or changed
            if event is None:
                # A leg whose turn for a slot has come was preceded by one that looked.
                self.hook.probe_if_new(wanted, supersede, probe=self.probe)
        if not self.deferrable:
            return wait_on_worker(
                lambda: self.hook.ensure(wanted, supersede=supersede, beside=beside, stopping=self.stopping),
                timeout=seconds_of(self.slot_timeout, "slot_timeout"),
                key=wanted.key,
            )
        outcome = self.hook.ensure(
            wanted,
            supersede=supersede,
            seen_over=ended_in(event),
            beside=beside,
            stopping=self.stopping,
        )
        if isinstance(outcome, InHand):
            slot_waited_for(outcome, self._waited(event))
            return outcome
        self._defer_for_slot(wanted, outcome, supersede)
        raise JimengProtocolError("a deferral returned", content_key=wanted.key)

    def _is_told_of_own(self, wanted: Wanted, event: Mapping[str, Any] | None) -> bool:
        """Return whether this leg goes on with a paid task, whose inputs were looked at at its submit."""
        tasks = () if event is None else event.get("tasks") or ()
        if not tasks:
            return False
        record = self.hook.ledger.latest(wanted.key)
        return record is not None and any(one.get("task_id") == record.task_id for one in tasks)

    def _waited(self, event: Mapping[str, Any] | None) -> float:
        """Return the seconds since this try began to wait for a slot, which its deadline was counted from."""
        deadline = None if event is None or event.get("status") != TURN else epoch_of(event.get("deadline"))
        if deadline is None:
            return 0.0
        return time.time() - (deadline - seconds_of(self.slot_timeout, "slot_timeout"))

    def _defer_for_slot(self, wanted: Wanted, waiting: Waiting, supersede: Superseded | None) -> None:
        given = self._slot_deadline
        deadline = given or iso(time.time() + seconds_of(self.slot_timeout, "slot_timeout"))
        self.log.info(
            "No submit now (%s; %s of %s slots in use): waiting in the triggerer, nothing is paid meanwhile.",
            waiting.reason,
            waiting.in_use,
            waiting.limit,
        )
        self._point_at_task(None)
        self.defer(
            trigger=JimengSlotTrigger(
                account=wanted.scope.account,
                endpoint=wanted.scope.endpoint,
                req_key=wanted.scope.req_key,
                content_key=wanted.key,
                ticket_id=waiting.ticket_id,
                volcengine_conn_id=self.volcengine_conn_id,
                not_before=None if waiting.retry_after is None else iso(time.time() + waiting.retry_after),
                deadline=deadline,
            ),
            method_name="execute_complete",
            kwargs={"missing": told_of(supersede)} if isinstance(supersede, Missing) else None,
            # The trigger tells of its deadline itself; this ends the wait where no triggerer runs it.
            timeout=dt.timedelta(seconds=max(0.0, (epoch_of(deadline) or 0.0) - time.time())) + _BACKSTOP,
        )


def policies_of(operator: Any, max_attempts: int) -> Policies:
    """
    Return the checked choices of an operator whose fields are rendered.

    :raises JimengInputError: one is none of those that there are; nothing was paid.
    """
    return Policies(
        on_unknown_submit=check_choice(operator.on_unknown_submit, "on_unknown_submit", (FAIL, RESUBMIT)),
        on_missing_output=check_choice(operator.on_missing_output, "on_missing_output", (FAIL, RESUBMIT)),
        on_input_changed=check_choice(operator.on_input_changed, "on_input_changed", (FAIL, REUSE, RESUBMIT)),
        max_attempts=max_attempts,
    )


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and "://" in value


def reference_dict(in_hand: InHand, conn_id: str, expected_seconds: float | None) -> dict[str, Any]:
    """Return the task reference that goes to XCom: no URL, no secret."""
    record = in_hand.record
    return {
        "task_id": record.task_id,
        "req_key": record.scope.req_key,
        "content_key": record.content_key,
        "submitted_at": iso(record.submitted_at),
        "reused": in_hand.reused,
        "attempt": record.attempt,
        "expected_seconds": expected_seconds,
        "volcengine_conn_id": conn_id,
    }


def event_of(event: Any, allowed: Sequence[str] = (FINISHED, DEADLINE, TURN)) -> Mapping[str, Any]:
    """
    Return a trigger's event, if it is one that this release knows.

    :raises JimengProtocolError: it is not; an event that isn't understood never counts as a success.
    """
    if isinstance(event, Mapping) and event.get("status") in allowed:
        return event
    raise JimengProtocolError(
        "The trigger ended with an event that this release does not know; nothing was submitted because of "
        "it, and a retry re-attaches to the task"
    )


def no_slot(event: Mapping[str, Any], key: str) -> JimengNoSlotError:
    """Return the error for a wait for a slot that went past its deadline."""
    return JimengNoSlotError(
        f"Nothing could be submitted until {event.get('deadline')}: no slot of the account came free, or a "
        "task that was given up may be there after all. Nothing was paid by this wait; a retry goes on",
        content_key=key,
    )
