# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Bring a finished task's result to where the user wants it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_jimeng.client.discretion import forgetful
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengOutputExistsError,
    JimengProtocolError,
)
from airflow_provider_jimeng.hooks.defaults import flag_of
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.hooks.lineage import Lineage, inputs_of
from airflow_provider_jimeng.hooks.patience import bears_a_silent_ledger
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.operators.base import JimengOperator
from airflow_provider_jimeng.policy.polling import PollKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.hooks.landing import (
        announce,
        fetch_from_vendor,
        fresh_urls,
        landed_dict,
        lander,
        watched_of,
    )
    from airflow_provider_jimeng.hooks.results import land_all
    from airflow_provider_jimeng.hooks.storage import resolve_target
    from airflow_provider_jimeng.hooks.watching import (
        Watcher,
        connection_for,
        raise_if_failed,
        row_of,
    )
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.lifecycle.harvest import Watched
    from airflow_provider_jimeng.lifecycle.land import Landed
    from airflow_provider_jimeng.lifecycle.revive import given_up_error, revive
    from airflow_provider_jimeng.media.target import Target
    from airflow_provider_jimeng.triggers.references import TaskReference, reference_of
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    announce, fetch_from_vendor, fresh_urls, landed_dict, lander, watched_of = late(
        "airflow_provider_jimeng.hooks.landing",
        "announce",
        "fetch_from_vendor",
        "fresh_urls",
        "landed_dict",
        "lander",
        "watched_of",
    )
    (land_all,) = late("airflow_provider_jimeng.hooks.results", "land_all")
    (resolve_target,) = late("airflow_provider_jimeng.hooks.storage", "resolve_target")
    Watcher, connection_for, raise_if_failed, row_of = late(
        "airflow_provider_jimeng.hooks.watching", "Watcher", "connection_for", "raise_if_failed", "row_of"
    )
    (Watched,) = late("airflow_provider_jimeng.lifecycle.harvest", "Watched")
    (Landed,) = late("airflow_provider_jimeng.lifecycle.land", "Landed")
    given_up_error, revive = late("airflow_provider_jimeng.lifecycle.revive", "given_up_error", "revive")
    (reference_of,) = late("airflow_provider_jimeng.triggers.references", "reference_of")


class JimengLandResultOperator(JimengOperator):
    """
    Land a result: stored once, verified, never over somebody else's file.

    What is there already is kept; what the ledger knows at another place is copied from there; else the
    vendor is asked for a fresh URL, which it gives for twelve hours after the submit. Nothing is ever
    submitted.

    Returns ``uri``, ``bytes``, ``sha256``, ``content_type``, and emits the asset events of its outlets with
    them. Where a task gave several pictures all of them are landed, the others beside the first
    (``poster.png``, ``poster-2.png``), and ``further`` has a dict of the same four for each.

    :param task: a task reference, or a sensor's result (templated). Where no connection is given it is asked
        about with the one that it names.
    :param output: where to: an absolute path or any fsspec URL, naming the file (templated).
    :param overwrite: whether a file that this provider did not write may be replaced.
    """

    template_fields: Sequence[str] = ("task", "output_uri", "volcengine_conn_id")
    template_ext: Sequence[str] = ()
    #: By this a sensor before it knows that a result without a URL is sought, or given up, here.
    lands_results: ClassVar[bool] = True

    def __init__(self, *, task: Any, output: Any, overwrite: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        # BaseOperator.output is Airflow's own: what the task returns.
        self.output_uri = output
        self.overwrite = overwrite

    @forgetful
    @bears_a_silent_ledger
    def execute(self, context: Context) -> dict[str, Any]:
        """Land the result."""
        try:
            reference = reference_of(self.task)
            flag_of(self.overwrite, "overwrite")
            target = resolve_target(self.output_uri)
            target.check_writable()
            record = self._row(reference)
            if record is None:
                landed, *further = self._land_without_row(reference, target)
            else:
                landed, *further = self._land(record, target)
        except JimengError as error:
            raise self._told(error) from error
        self._point_at_object(landed.uri)
        self.log.info(
            "%s %s (%s bytes).", "Landed" if landed.fresh else "Already at", landed.uri, landed.bytes
        )
        inputs = () if record is None else inputs_of(record)
        outputs = tuple((each.uri, each.bytes) for each in (landed, *further))
        self._tell(Lineage(inputs, outputs, record, reused=not landed.fresh))
        result = landed_dict(landed, further)
        announce(context, self.outlets, {**result, "task_id": reference.task_id})
        return result

    def _row(self, reference: TaskReference) -> TaskRecord | None:
        """Return the ledger's row, with the connection that the reference names where none was given."""
        told, task_id, req_key = reference.volcengine_conn_id, reference.task_id, reference.req_key
        self.volcengine_conn_id = connection_for(self.volcengine_conn_id, told, task_id, req_key)
        return row_of(self.hook, task_id, req_key, content_key=reference.content_key, conn_id=told)

    def _land(self, record: TaskRecord, target: Target) -> list[Landed]:
        raise_if_failed(record)
        back = revive(self.hook.ledger, self.hook.client, record)
        record = back.record
        if record.state is TaskState.EXPIRED:
            if back.running:
                # Its row takes a landing only once the vendor has the result.
                raise JimengProtocolError(
                    "This task was given up as expired, and the vendor may have it after all, but gives out "
                    "no result of it yet. Nothing is lost: a retry asks again, and submits nothing",
                    task_id=record.task_id,
                    content_key=record.content_key,
                )
            raise given_up_error(record, self.hook.ledger.now())
        if record.state is TaskState.SUBMITTED:
            # The operator also takes a reference straight from a submit, if the task is over by now.
            watcher = Watcher(self.hook, watched_of(record), record)
            decision = watcher.ask()
            if decision.kind in (PollKind.FAILED, PollKind.EXPIRED):
                watcher.finish(decision)
            if decision.kind is not PollKind.SUCCEEDED or watcher.record is None:
                raise JimengProtocolError(
                    "The task is still running; put a JimengTaskSensor before this operator. Nothing is lost",
                    task_id=record.task_id,
                    content_key=record.content_key,
                )
            record = watcher.record
        return land_all(self.hook, lander(self.hook, overwrite=self.overwrite), record, target)

    def _land_without_row(self, reference: TaskReference, target: Target) -> list[Landed]:
        """Land a task that the ledger does not know, because it was submitted elsewhere."""
        watched = Watched(reference.task_id, reference.req_key, reference.submitted_epoch)
        urls = fresh_urls(self.hook, watched)
        return [
            self._land_one(watched, target if number == 1 else target.numbered(number), url, number)
            for number, url in enumerate(urls, 1)
        ]

    def _land_one(self, watched: Watched, target: Target, url: str, number: int) -> Landed:
        with tempfile.TemporaryDirectory(prefix="jimeng-") as folder:
            local = Path(folder) / "result"
            source = fetch_from_vendor(self.hook, watched, local, first_url=url, part=number).named()
            if target.stat() is not None and (digest := target.sha256()) != source.sha256:
                if not self.overwrite:
                    raise JimengOutputExistsError(
                        f"A file that is not this result stands at {target.uri}. Choose another place or set "
                        "overwrite=True; "
                        "the vendor keeps the result for twelve hours after its submit",
                        task_id=watched.task_id,
                    )
                lander(self.hook, overwrite=True).keep_others(target, digest)
            stat = target.publish(source.path)
            return Landed(target.uri, stat.size, source.sha256, source.content_type, fresh=True)
