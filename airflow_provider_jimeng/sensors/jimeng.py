# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Wait for a task, with or without a worker."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)
from airflow_provider_jimeng.api.models import MOTION_IMITATION, TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.client.discretion import forgetful
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengInputError,
    JimengProtocolError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.hooks.defaults import (
    DEFAULT_CONNECTION,
    DEFAULT_RETRIES,
    DEFAULT_RETRY_DELAY,
    DEFAULT_TIMEOUT_SECONDS,
    mask_queries,
    seconds_of,
)
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.hooks.lineage import Lineage, TellsLineage, inputs_of
from airflow_provider_jimeng.hooks.patience import bears_a_silent_ledger
from airflow_provider_jimeng.hooks.rendering import leave_data_alone
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.links.jimeng import JimengResultLink, task_page
from airflow_provider_jimeng.policy import giving_up
from airflow_provider_jimeng.policy.polling import PollKind
from airflow_provider_jimeng.triggers.outcomes import DEADLINE, FINISHED

if TYPE_CHECKING:
    import jinja2

    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.hooks.jimeng import JimengHook, epoch_of, iso, links_of
    from airflow_provider_jimeng.hooks.watching import (
        Watcher,
        connection_for,
        raise_if_failed,
        row_of,
    )
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.harvest import Watched
    from airflow_provider_jimeng.lifecycle.revive import given_up_error, revive
    from airflow_provider_jimeng.policy.poll import PollDecision
    from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger
    from airflow_provider_jimeng.triggers.references import TaskReference, reference_of
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    JimengHook, epoch_of, iso, links_of = late(
        "airflow_provider_jimeng.hooks.jimeng", "JimengHook", "epoch_of", "iso", "links_of"
    )
    Watcher, connection_for, raise_if_failed, row_of = late(
        "airflow_provider_jimeng.hooks.watching", "Watcher", "connection_for", "raise_if_failed", "row_of"
    )
    (Watched,) = late("airflow_provider_jimeng.lifecycle.harvest", "Watched")
    given_up_error, revive = late("airflow_provider_jimeng.lifecycle.revive", "given_up_error", "revive")
    (JimengTaskTrigger,) = late("airflow_provider_jimeng.triggers.jimeng", "JimengTaskTrigger")
    TaskReference, reference_of = late(
        "airflow_provider_jimeng.triggers.references", "TaskReference", "reference_of"
    )

_BACKSTOP = dt.timedelta(minutes=30)
_PENDING = frozenset({PollKind.WAIT, PollKind.HOLD})
_UNDOUBTED = _PENDING | {PollKind.DEADLINE}


class JimengTaskSensor(TellsLineage, BaseSensorOperator):
    """
    Wait until the vendor has decided about a task.

    Throttling, outages and trouble with credentials while waiting are never the task's failure. The verdict
    is recorded in the ledger, if the ledger knows the task.

    Returns a result: ``task_id``, ``req_key``, ``content_key``, ``submitted_at``, ``status``, ``code``,
    ``request_id``, ``elapsed``, ``volcengine_conn_id`` and ``video_url``: the vendor's URL, valid for one
    hour; where a task gave several pictures, ``result_urls`` has all of them. ``None`` for a result that the
    vendor no longer has, and that was landed, or that a :class:`~.operators.land.JimengLandResultOperator`
    right after this task seeks, or gives up; where none comes next, the sensor fails with
    ``JimengTaskExpiredError``.

    :param task: a task reference, usually ``submit.output`` (templated). Where no connection is given it is
        asked about with the one that it names.
    :param vendor_task_id: the vendor's task id, instead of ``task``; no ledger row is needed then
        (templated). Not ``task_id``, which names the Airflow task.
    :param req_key: the product of ``vendor_task_id`` (templated).
    :param deferrable: wait in the triggerer; else on the worker, or between pokes with ``mode="reschedule"``.
    :param poke_interval: seconds between two queries; ``None`` adapts to how long such tasks have taken.
    :param timeout: seconds; after it a retry re-attaches.
    """

    template_fields: Sequence[str] = ("task", "vendor_task_id", "req_key", "volcengine_conn_id")
    template_ext: Sequence[str] = ()
    operator_extra_links = (JimengResultLink(),)
    ui_color = "#e8f0ff"

    def __init__(
        self,
        *,
        task: Any = None,
        vendor_task_id: Any = None,
        req_key: Any = MOTION_IMITATION,
        volcengine_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool = True,
        poke_interval: float | dt.timedelta | None = None,
        timeout: float | dt.timedelta = DEFAULT_TIMEOUT_SECONDS,
        retries: int | None = DEFAULT_RETRIES,
        retry_delay: dt.timedelta | float = DEFAULT_RETRY_DELAY,
        **kwargs: Any,
    ) -> None:
        if poke_interval is not None:
            kwargs["poke_interval"] = seconds_of(poke_interval, "poke_interval")
        super().__init__(
            timeout=seconds_of(timeout, "timeout"), retries=retries, retry_delay=retry_delay, **kwargs
        )
        self.task = task
        self.vendor_task_id = vendor_task_id
        self.req_key = req_key
        self.volcengine_conn_id = volcengine_conn_id
        self.deferrable = deferrable
        self.query_interval = kwargs.get("poke_interval")
        self.link_target: str | None = None
        self._watcher: Watcher | None = None

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

    @forgetful
    @bears_a_silent_ledger
    def execute(self, context: Context) -> dict[str, Any]:
        """Return the result at once if the task is over; else wait."""
        try:
            reference = self._reference()
            record = self._row(reference)
            self._point_at(reference)
            if record is not None and (known := self._known(record)) is not None:
                return known
            self._watcher = self._watch(reference, record, time.time() + self.timeout)
            if not self.deferrable:
                return self._poke_until_over(context)
            decision = self._asked_on(self._watcher, self._watcher.ask())
            if decision.kind in _PENDING:
                self._defer(reference, self._watcher)
            return self._answer(self._watcher, decision)
        except JimengError as error:
            raise self._told(error) from error

    @forgetful
    @bears_a_silent_ledger
    def execute_complete(self, context: Context, event: Any = None, **later: Any) -> dict[str, Any]:
        """Confirm on the worker what the trigger saw, record it and return the result."""
        try:
            if not isinstance(event, Mapping) or event.get("status") not in (FINISHED, DEADLINE):
                raise JimengProtocolError(
                    "The trigger ended with an event that this release does not know; nothing is concluded "
                    "from it, and a "
                    "retry re-attaches to the task"
                )
            reference = self._reference()
            record = self._row(reference)
            self._point_at(reference)
            if record is not None and (known := self._known(record)) is not None:
                return known
            watcher = self._watch(
                reference, record, epoch_of(event.get("deadline")) or time.time() + self.timeout
            )
            told = next(
                (one for one in event.get("tasks", ()) if one.get("task_id") == reference.task_id), None
            )
            decision = self._asked_on(watcher, watcher.confirm(told))
            if decision.kind in _PENDING:
                self._defer(reference, watcher)
            return self._answer(watcher, decision)
        except JimengError as error:
            raise self._told(error) from error

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once; used by the waits that need no triggerer."""
        if self._watcher is None:
            raise JimengProtocolError("a poke outside of execute()")
        decision = self._watcher.ask()
        if decision.kind in _PENDING:
            # Between two pokes of a rescheduled sensor nothing is remembered.
            decision = self._watcher.dispel_doubt(decision)
        decision = self._asked_on(self._watcher, decision)
        if decision.kind in _PENDING:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._answer(self._watcher, decision))

    def _poke_until_over(self, context: Context) -> dict[str, Any]:
        try:
            result: dict[str, Any] = super().execute(context)
        except AirflowSensorTimeout as error:
            watcher = self._watcher
            raise JimengWaitTimeoutError(
                f"The task was still running after {self.timeout:.0f} s. It goes on at the vendor, costs "
                "what it would have "
                "cost, and stays in the ledger: a retry or a clear re-attaches and submits nothing",
                task_id=None if watcher is None else watcher.watched.task_id,
            ) from error
        return result

    def _get_next_poke_interval(self, started_at: Any, run_duration: Any, poke_count: int) -> float:
        if self.query_interval is not None or self._watcher is None:
            interval: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
            return interval
        age = time.time() - (self._watcher.watched.submitted_at or time.time() - run_duration())
        return self._watcher.delay(age, None)

    def _reference(self) -> TaskReference:
        if (self.task is None) == (self.vendor_task_id is None):
            raise JimengInputError(
                "task: give either task (a task reference, usually submit.output) or vendor_task_id. "
                "Nothing was paid "
                "by this task"
            )
        if self.task is not None:
            return reference_of(self.task)
        return reference_of({"task_id": self.vendor_task_id, "req_key": self.req_key}, "vendor_task_id")

    def _row(self, reference: TaskReference) -> TaskRecord | None:
        """Return the ledger's row, with the connection that the reference names where none was given."""
        told, task_id, req_key = reference.volcengine_conn_id, reference.task_id, reference.req_key
        self.volcengine_conn_id = connection_for(self.volcengine_conn_id, told, task_id, req_key)
        return row_of(self.hook, task_id, req_key, content_key=reference.content_key, conn_id=told)

    def _watch(self, reference: TaskReference, record: TaskRecord | None, deadline: float) -> Watcher:
        submitted_at = record.submitted_at if record is not None else reference.submitted_epoch
        watched = Watched(reference.task_id, reference.req_key, submitted_at, deadline)
        expected = reference.expected_seconds
        if record is not None:
            expected = self.hook.ledger.typical_seconds(record.scope)
        return Watcher(self.hook, watched, record, expected)

    def _known(self, record: TaskRecord) -> dict[str, Any] | None:
        """Return, or raise, what the ledger knows of a task that the vendor has forgotten by now."""
        age = time.time() - (record.submitted_at or 0.0)
        if record.state is TaskState.LANDED and age >= TASK_LIFETIME_SECONDS:
            return self._result(record.task_id or "", record, record.code, record.request_id, None)
        raise_if_failed(record)
        if record.state is TaskState.EXPIRED:
            back = revive(self.hook.ledger, self.hook.client, record)
            if back.running or back.record.state is not TaskState.EXPIRED:
                return None
            raise given_up_error(record, self.hook.ledger.now())
        return None

    def _asked_on(self, watcher: Watcher, decision: PollDecision) -> PollDecision:
        """Return what to make of a verdict on a task that was given up: the vendor may have it after all."""
        record = watcher.record
        if decision.kind in _UNDOUBTED or record is None or record.state is not TaskState.EXPIRED:
            return decision
        back = revive(self.hook.ledger, self.hook.client, record)
        watcher.record = back.record
        if back.running:
            # The user's deadline ends every wait; another trigger would only tell of it again, at once.
            late = time.time() >= (watcher.watched.deadline or math.inf)
            return replace(decision, kind=PollKind.DEADLINE if late else PollKind.WAIT)
        if decision.kind is PollKind.SUCCEEDED or back.record.state is TaskState.EXPIRED:
            return decision
        return watcher.ask()

    def _defer(self, reference: TaskReference, watcher: Watcher) -> None:
        given_up = watcher.record is not None and watcher.record.state is TaskState.EXPIRED
        deadline = watcher.watched.deadline or time.time() + self.timeout
        told = TaskReference(
            task_id=reference.task_id,
            req_key=reference.req_key,
            content_key=reference.content_key,
            submitted_at=iso(watcher.watched.submitted_at),
            expected_seconds=watcher.expected,
        )
        self.defer(
            trigger=JimengTaskTrigger(
                tasks=[told.to_dict()],
                volcengine_conn_id=self.volcengine_conn_id,
                deadline=iso(deadline),
                # The trigger gives it up again; a leg for each time need not be one every few seconds.
                poll_interval=giving_up.DOUBT_SECONDS if given_up else self.query_interval,
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=max(0.0, deadline - time.time())) + _BACKSTOP,
        )

    def _answer(self, watcher: Watcher, decision: PollDecision) -> dict[str, Any]:
        record, task_id = watcher.record, watcher.watched.task_id
        if decision.kind is PollKind.EXPIRED and record is not None:
            if record.state is TaskState.LANDED or self._is_left_to_the_landing(record):
                # The result is there, or may be: nobody should pay for it again on the sensor's word.
                return self._result(task_id, record, record.code, record.request_id, None)
            self._give_up(record, decision)
        done = watcher.finish(decision)
        self.log.info("Task %s is done.", task_id)
        return self._result(task_id, watcher.record, done.code, done.request_id, done)

    def _is_left_to_the_landing(self, record: TaskRecord) -> bool:
        """
        Return whether a landing operator comes next, and decides about a result that is gone.

        It knows where the result was wanted: a try that was killed may have stored it there. A task of the
        user's own knows nothing of that, and is not given a success without a URL.
        """
        if record.state is not TaskState.SUCCEEDED:
            return False
        after = (getattr(each, "operator_class", type(each)) for each in self.get_direct_relatives())
        if not any(getattr(kind, "lands_results", False) for kind in after):
            return False
        self.log.warning(
            "Task %s had succeeded, and the vendor no longer has its result: there is no URL. The landing "
            "operator looks for the file, and writes down that it is lost where there is none.",
            record.task_id,
        )
        return True

    def _give_up(self, record: TaskRecord, decision: PollDecision) -> None:
        """Write that a result which nobody landed is lost, so that a later submit does what was chosen."""
        ledger = self.hook.ledger
        age = ledger.now() - (record.submitted_at or 0.0)
        if record.state is TaskState.SUCCEEDED and age >= TASK_LIFETIME_SECONDS:
            ledger.record_expired(record, code=decision.code, message=decision.message)

    def _result(
        self,
        task_id: str,
        record: TaskRecord | None,
        code: int | None,
        request_id: str | None,
        done: PollDecision | None,
    ) -> dict[str, Any]:
        reference = self._reference()
        if record is not None:
            self._tell(Lineage(inputs_of(record), record=record))
        return {
            "task_id": task_id,
            "req_key": reference.req_key,
            "content_key": None if record is None else record.content_key,
            "submitted_at": reference.submitted_at if record is None else iso(record.submitted_at),
            "status": "done",
            "code": code,
            "request_id": request_id,
            "elapsed": None if record is None else record.elapsed,
            "volcengine_conn_id": self.volcengine_conn_id,
            **({"video_url": None} if done is None else links_of(done)),
        }

    def _point_at(self, reference: TaskReference) -> None:
        settings = self.hook.settings
        self.link_target = task_page(settings.endpoint.origin, reference.task_id, loopback=settings.loopback)

    def _told(self, error: JimengError) -> Exception:
        """Return what to raise; ``soft_fail`` and ``never_fail`` mean what they do elsewhere in Airflow."""
        to_raise = super()._told(error)
        if self.soft_fail or self.never_fail:
            return AirflowSkipException(f"Skipping: {error}")
        return to_raise
