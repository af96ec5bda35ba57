# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Submit, wait and land as one task."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.client.discretion import forgetful
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengMissingOutputError,
    JimengProtocolError,
)
from airflow_provider_jimeng.hooks.defaults import DEFAULT_TIMEOUT_SECONDS, flag_of, seconds_of
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.hooks.lineage import Lineage, inputs_of
from airflow_provider_jimeng.hooks.patience import bears_a_silent_ledger
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.choices import RESUBMIT
from airflow_provider_jimeng.lifecycle.ensured import InHand
from airflow_provider_jimeng.operators.base import (
    SubmittingOperator,
    event_of,
    no_slot,
    reference_dict,
)
from airflow_provider_jimeng.operators.earlier import BROUGHT_HOME, about_what_was_begun, begun_earlier
from airflow_provider_jimeng.policy import giving_up
from airflow_provider_jimeng.policy.polling import PollKind
from airflow_provider_jimeng.triggers.outcomes import DEADLINE, FINISHED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.hooks.jimeng import epoch_of, iso, provenance_of
    from airflow_provider_jimeng.hooks.landing import announce, landed_dict, lander
    from airflow_provider_jimeng.hooks.results import land_all
    from airflow_provider_jimeng.hooks.storage import resolve_target
    from airflow_provider_jimeng.hooks.watching import Watcher, known_to_this_account, raise_if_failed
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.harvest import Watched
    from airflow_provider_jimeng.lifecycle.land import Landed, Lander
    from airflow_provider_jimeng.lifecycle.revive import given_up_error
    from airflow_provider_jimeng.lifecycle.wanted import Missing, Wanted
    from airflow_provider_jimeng.media.target import Target
    from airflow_provider_jimeng.policy.poll import PollDecision
    from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger
    from airflow_provider_jimeng.triggers.references import reference_of
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    epoch_of, iso, provenance_of = late(
        "airflow_provider_jimeng.hooks.jimeng", "epoch_of", "iso", "provenance_of"
    )
    announce, landed_dict, lander = late(
        "airflow_provider_jimeng.hooks.landing", "announce", "landed_dict", "lander"
    )
    (land_all,) = late("airflow_provider_jimeng.hooks.results", "land_all")
    (resolve_target,) = late("airflow_provider_jimeng.hooks.storage", "resolve_target")
    Watcher, known_to_this_account, raise_if_failed = late(
        "airflow_provider_jimeng.hooks.watching", "Watcher", "known_to_this_account", "raise_if_failed"
    )
    (Watched,) = late("airflow_provider_jimeng.lifecycle.harvest", "Watched")
    (given_up_error,) = late("airflow_provider_jimeng.lifecycle.revive", "given_up_error")
    (Missing,) = late("airflow_provider_jimeng.lifecycle.wanted", "Missing")
    (JimengTaskTrigger,) = late("airflow_provider_jimeng.triggers.jimeng", "JimengTaskTrigger")
    (reference_of,) = late("airflow_provider_jimeng.triggers.references", "reference_of")

#: The framework's own deferral timeout bypasses ``execute_complete``; it is a backstop for a trigger that
#: never ends.
_BACKSTOP = dt.timedelta(minutes=30)


class JimengMotionImitationOperator(SubmittingOperator):
    """
    An image and a template video in, a landed video out, as one task; made for dynamic task mapping.

    All progress is in the ledger: each leg looks at where the content stands and goes on from there, so a
    retry, a kill, a clear or a second DAG with the same inputs re-attaches, and pays nothing.

    Returns ``uri``, ``bytes``, ``sha256``, ``content_type`` of the landed file and ``task_id``,
    ``content_key``, ``reused``, ``attempt`` of the task. A product that is asked with a ``body`` may give
    several pictures: see ``further`` of :class:`~.operators.land.JimengLandResultOperator`.

    :param output: where to land the result: an absolute path or any fsspec URL, naming the file (templated).
    :param overwrite: whether a file that this provider did not write may be replaced.
    :param timeout: seconds to wait for the vendor's task in one try; after it, a retry re-attaches.
    :param poke_interval: seconds between two queries; ``None`` adapts to how long such tasks have taken.

    See :class:`~airflow_provider_jimeng.operators.base.SubmittingOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (*SubmittingOperator.template_fields, "output_uri")

    def __init__(
        self,
        *,
        output: Any,
        overwrite: bool = False,
        timeout: float | dt.timedelta = DEFAULT_TIMEOUT_SECONDS,
        poke_interval: float | dt.timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # BaseOperator.output is Airflow's own: what the task returns.
        self.output_uri = output
        self.overwrite = overwrite
        self.timeout = timeout
        self.poke_interval = poke_interval

    @bears_a_silent_ledger
    def execute(self, context: Context) -> dict[str, Any]:
        """Go as far as possible without waiting; then defer, or wait here where ``deferrable`` is off."""
        return self._run(context, None)

    @bears_a_silent_ledger
    def execute_complete(
        self, context: Context, event: Any = None, missing: Mapping[str, Any] | None = None, **later: Any
    ) -> dict[str, Any]:
        """
        Go on after a wait for a slot or for the vendor.

        :param missing: the row whose result was found nowhere, for whose replacement a slot was waited for.
        """
        return self._run(context, event, missing)

    @forgetful
    def _run(self, context: Context, event: Any, missing: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            told = None if event is None else event_of(event)
            seconds_of(self.timeout, "timeout")
            if self.poke_interval is not None:
                seconds_of(self.poke_interval, "poke_interval")
            flag_of(self.overwrite, "overwrite")
            target = resolve_target(self.output_uri)
            wanted = self._wanted(context)
            return self._advance(context, wanted, target, told, self._still_missing(missing))
        except JimengError as error:
            raise self._told(error) from error

    def _advance(
        self,
        context: Context,
        wanted: Wanted,
        target: Target,
        told: Mapping[str, Any] | None,
        supersede: Missing | None,
    ) -> dict[str, Any]:
        landing = lander(self.hook, overwrite=self.overwrite)
        if told is not None and "tasks" in told:
            if (begun := self._begun(wanted, told)) is not None:
                return self._bring_home(context, begun, target, landing, told)
        else:
            if told is not None and told["status"] == DEADLINE:
                raise no_slot(told, wanted.key)
            begun = begun_earlier(
                self, context, wanted, self._since, landing.is_stored, waited=told is not None
            )
            if told is None:
                landing.check_free(wanted.key if begun is None else begun.content_key, target)
            if begun is not None:
                return self._bring_home(context, begun, target, landing, None)
        while True:
            in_hand = self._in_hand(wanted, told, supersede, target)
            self._point_at_task(in_hand.record.task_id)
            finished = self._finished(in_hand, told)
            if finished is None:
                # The verdict allows a new attempt, or the task was given up: the next pass decides.
                told = None
                continue
            try:
                landed = land_all(self.hook, landing, finished, target)
            except JimengMissingOutputError as error:
                # A result that was never stored is asked for as long as the vendor may have it.
                early = finished.state is TaskState.SUCCEEDED and error.retry_helps
                if self.on_missing_output != RESUBMIT or early or _was_paid_again(supersede, finished):
                    raise
                supersede, told = Missing(finished), None
                continue
            return self._done(context, in_hand, finished, landed)

    def _still_missing(self, missing: Mapping[str, Any] | None) -> Missing | None:
        record = None if missing is None else self.hook.ledger.get(int(missing["row"]))
        same = record is not None and missing is not None and record.revision == missing["revision"]
        return Missing(record) if same and record is not None else None

    def _begun(self, wanted: Wanted, told: Mapping[str, Any]) -> TaskRecord | None:
        """
        Return the task that this try was deferred for, if its arguments name another content by now.

        Airflow renders templates anew in every leg, and a connection may be another one: a leg that submitted
        for that would defer, and the next one submit again, without end.
        """
        for one in told["tasks"]:
            task_id = str(one.get("task_id"))
            scope = wanted.scope
            record = self.hook.ledger.by_task_id(task_id, scope) or self.hook.ledger.by_task_id(task_id)
            if record is not None and record.content_key != wanted.key:
                return record
        return None

    def _bring_home(
        self,
        context: Context,
        record: TaskRecord,
        target: Target,
        landing: Lander,
        told: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Wait for and land what this task has begun, whatever its arguments say by now; never submits."""
        self.log.warning(BROUGHT_HOME, record.task_id)
        self._point_at_task(record.task_id)
        with about_what_was_begun():
            raise_if_failed(record)
            finished = None
            while finished is None:
                if record.state is not TaskState.LANDED or not landing.is_stored(record):
                    record = self._asked_about(record, told)
                in_hand = InHand(record, reused=told is None)
                finished = self._finished(in_hand, told, next_pass=False)
                record = self.hook.ledger.get(record.id) or record
            results = land_all(self.hook, landing, finished, target)
        return self._done(context, in_hand, finished, results)

    def _asked_about(self, record: TaskRecord, told: Mapping[str, Any] | None) -> TaskRecord:
        """Return the row of a paid task; waits while one that was given up may be there after all."""
        deadline = self._deadline(told)
        while True:
            back = known_to_this_account(self.hook, record)
            if back.record.state is not TaskState.EXPIRED:
                return back.record
            if back.wait is None or time.time() >= deadline:
                raise given_up_error(back.record, self.hook.ledger.now())
            if self.deferrable:
                in_hand = InHand(back.record, reused=told is None)
                self._defer_for_task(in_hand, told, every=giving_up.DOUBT_SECONDS)
            self._watcher(back.record, told).pause(min(back.wait, deadline - time.time()))

    def _finished(
        self, in_hand: InHand, told: Mapping[str, Any] | None, *, next_pass: bool = True
    ) -> TaskRecord | None:
        """
        Return a finished task's row, ``None`` where the ledger's row decides what is next; or defer.

        :param next_pass: whether a bad verdict may lead to another attempt; else it is raised.
        """
        record = in_hand.record
        if record.state in (TaskState.SUCCEEDED, TaskState.LANDED):
            return record
        watcher = self._watcher(record, told)
        if told is not None and told["status"] in (FINISHED, DEADLINE):
            decision = watcher.confirm(_about(told, record.task_id))
        elif in_hand.reused:
            decision = watcher.ask()
        else:
            decision = None
        if decision is None or decision.kind in (PollKind.WAIT, PollKind.HOLD):
            if self.deferrable:
                self._defer_for_task(in_hand, told)
            decision = watcher.wait(poke_interval=self._interval())
        return self._judge(record, watcher, decision, next_pass)

    def _judge(
        self, record: TaskRecord, watcher: Watcher, decision: PollDecision, next_pass: bool
    ) -> TaskRecord | None:
        if decision.kind is PollKind.SUCCEEDED and watcher.record is not None:
            return watcher.record
        if decision.kind is PollKind.EXPIRED:
            # The next pass asks on while the vendor may have it after all; then what the user chose is done.
            self.log.warning("Task %s was given up: %s.", watcher.watched.task_id, decision.message)
            return None
        if decision.kind is PollKind.FAILED and decision.new_attempt and next_pass:
            self.log.warning(
                "Task %s: %s; a new attempt is allowed.",
                watcher.watched.task_id,
                decision.message or decision.kind.value,
            )
            return None
        watcher.finish(decision)
        raise JimengProtocolError("a wait ended without a verdict", content_key=record.content_key)

    def _watcher(self, record: TaskRecord, told: Mapping[str, Any] | None) -> Watcher:
        submitted_at, deadline = record.submitted_at, self._deadline(told)
        watched = Watched(record.task_id or "", record.scope.req_key, submitted_at, deadline)
        return Watcher(self.hook, watched, record, self._expected(record), stopping=self.stopping)

    def _deadline(self, told: Mapping[str, Any] | None) -> float:
        given = epoch_of(told.get("deadline")) if told is not None and "tasks" in told else None
        return given if given is not None else time.time() + seconds_of(self.timeout, "timeout")

    def _interval(self) -> float | None:
        return None if self.poke_interval is None else seconds_of(self.poke_interval, "poke_interval")

    def _expected(self, record: TaskRecord) -> float | None:
        return self.hook.ledger.typical_seconds(record.scope)

    def _defer_for_task(
        self, in_hand: InHand, told: Mapping[str, Any] | None, *, every: float | None = None
    ) -> None:
        deadline = self._deadline(told)
        reference = reference_of(
            reference_dict(in_hand, self.volcengine_conn_id, self._expected(in_hand.record))
        )
        self.defer(
            trigger=JimengTaskTrigger(
                tasks=[reference.to_dict()],
                volcengine_conn_id=self.volcengine_conn_id,
                deadline=iso(deadline),
                poll_interval=every or self._interval(),
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=max(0.0, deadline - time.time())) + _BACKSTOP,
        )

    def _done(
        self, context: Context, in_hand: InHand, record: TaskRecord, results: list[Landed]
    ) -> dict[str, Any]:
        landed, *further = results
        self._point_at_object(landed.uri)
        result = {
            **landed_dict(landed, further),
            "task_id": record.task_id,
            "content_key": record.content_key,
            "attempt": record.attempt,
            # Paid for by somebody else, or landed by an earlier try: this task instance spent nothing now.
            "reused": not landed.fresh or record.attempt_scope != provenance_of(context).attempt_scope,
        }
        self.log.info(
            "%s %s (task %s).", "Landed" if landed.fresh else "Already at", landed.uri, record.task_id
        )
        stored = tuple((each.uri, each.bytes) for each in results)
        self._tell(Lineage(inputs_of(record), stored, record, reused=bool(result["reused"])))
        announce(context, self.outlets, result)
        return result


def _was_paid_again(missing: Missing | None, finished: TaskRecord) -> bool:
    """Return whether a missing result was asked for once already, and nothing new is known of it."""
    if missing is None:
        return False
    return missing.record.id != finished.id or missing.record.revision == finished.revision


def _about(told: Mapping[str, Any], task_id: str | None) -> Mapping[str, Any] | None:
    return next((one for one in told.get("tasks", ()) if one.get("task_id") == task_id), None)
