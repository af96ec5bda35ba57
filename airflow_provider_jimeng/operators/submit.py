# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Submit one content, or find the task that was paid for it before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.client.discretion import forgetful
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.hooks.lineage import Lineage, inputs_of
from airflow_provider_jimeng.hooks.patience import bears_a_silent_ledger
from airflow_provider_jimeng.lifecycle.ensured import InHand
from airflow_provider_jimeng.operators.base import (
    SubmittingOperator,
    event_of,
    no_slot,
    reference_dict,
)
from airflow_provider_jimeng.operators.earlier import BROUGHT_HOME, about_what_was_begun, begun_earlier
from airflow_provider_jimeng.triggers.outcomes import DEADLINE

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.hooks.watching import known_to_this_account
    from airflow_provider_jimeng.ledger.records import TaskRecord
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    (known_to_this_account,) = late("airflow_provider_jimeng.hooks.watching", "known_to_this_account")


class JimengSubmitTaskOperator(SubmittingOperator):
    """
    Submit a task, at most once per content, whatever is retried, cleared, killed or run twice.

    The content (account, endpoint, product, inputs, variant) is looked up in the ledger first: a task that
    exists is adopted and costs nothing. While every slot of the account is busy the task is deferred; it
    neither holds a worker nor asks the vendor.

    Returns a task reference for :class:`~airflow_provider_jimeng.sensors.jimeng.JimengTaskSensor` and
    :class:`~airflow_provider_jimeng.operators.jimeng.JimengLandResultOperator`: a dict with ``task_id``,
    ``req_key``, ``content_key``, ``submitted_at``, ``reused`` and more.

    See :class:`~airflow_provider_jimeng.operators.base.SubmittingOperator` for the parameters.
    """

    @bears_a_silent_ledger
    def execute(self, context: Context) -> dict[str, Any]:
        """Submit or adopt; defers while no slot is free."""
        return self._run(context, None)

    @bears_a_silent_ledger
    def execute_complete(self, context: Context, event: Any = None, **later: Any) -> dict[str, Any]:
        """Go on after a wait for a slot."""
        return self._run(context, event)

    @forgetful
    def _run(self, context: Context, event: Any) -> dict[str, Any]:
        try:
            told = None if event is None else event_of(event)
            wanted = self._wanted(context)
            if told is not None and told["status"] == DEADLINE:
                raise no_slot(told, wanted.key)
            # What is landed was begun as well: this task's success got lost after it.
            begun = begun_earlier(
                self, context, wanted, self._since, lambda row: True, waited=told is not None
            )
            in_hand = self._in_hand(wanted, told) if begun is None else self._begun(begun)
        except JimengError as error:
            raise self._told(error) from error
        self._point_at_task(in_hand.record.task_id)
        self.log.info(
            "%s task %s (content %s).",
            "Found" if in_hand.reused else "Submitted",
            in_hand.record.task_id,
            in_hand.record.content_key,
        )
        record = in_hand.record
        self._tell(Lineage(inputs_of(record), record=record, reused=in_hand.reused))
        return reference_dict(
            in_hand, self.volcengine_conn_id, self.hook.ledger.typical_seconds(in_hand.record.scope)
        )

    def _begun(self, record: TaskRecord) -> InHand:
        """Return what an earlier try paid for, if whoever waits for it can ask with this connection."""
        self.log.warning(BROUGHT_HOME, record.task_id)
        with about_what_was_begun():
            return InHand(known_to_this_account(self.hook, record).record, reused=True)
