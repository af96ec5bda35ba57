# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Motion imitation for ``@task`` functions and for the operators: submits through the ledger, and queries."""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.build import encode_body
from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.api.validation import check_body, check_req_key, check_task_id
from airflow_provider_jimeng.client.discretion import forgetful
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengInputError,
    JimengInputStoreError,
    JimengNotSentError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.hooks import metrics
from airflow_provider_jimeng.hooks.admission import Admission
from airflow_provider_jimeng.hooks.answers import as_result, links_of as links_of
from airflow_provider_jimeng.hooks.inputs import fetchable, fetchable_body
from airflow_provider_jimeng.hooks.ledger import daily_submit_limit, open_ledger, volatile_query_params
from airflow_provider_jimeng.hooks.lineage import tell_collector
from airflow_provider_jimeng.hooks.probing import Prober, probing_asked_for
from airflow_provider_jimeng.hooks.renewal import LastingClient, Newest
from airflow_provider_jimeng.hooks.volcengine import VolcengineHook
from airflow_provider_jimeng.hooks.waiting import current_run_start, wait_on_worker
from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.counting import raw_submit
from airflow_provider_jimeng.lifecycle.ensured import Ensured, InHand
from airflow_provider_jimeng.lifecycle.harvest import Watched, harvest
from airflow_provider_jimeng.lifecycle.settle import Ended, settle_beside
from airflow_provider_jimeng.lifecycle.sources import superseded_by, with_validators
from airflow_provider_jimeng.lifecycle.submit import Submitter
from airflow_provider_jimeng.lifecycle.wanted import Policies, Request, Superseded, Wanted, want
from airflow_provider_jimeng.media.guard import NetworkGuard
from airflow_provider_jimeng.policy.poll import PollSettings, PollState, decide_poll
from airflow_provider_jimeng.policy.submit import SubmitKind, judge_submit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.lifecycle.marker import Marker

log = logging.getLogger(__name__)
# Whoever submits, asks or lands with a connection of Airflow's comes by here.
metrics.start()

#: Rows after which a submit is the first one of its content all the same.
_UNPAID = frozenset({TaskState.REJECTED, TaskState.RELEASED})
#: Outside of Airflow there is no task instance whose tries belong together.
_NOWHERE = Provenance(run_id=f"process-{uuid.uuid4().hex}")


class JimengHook(VolcengineHook):
    """
    Submit and query tasks of the Visual API.

    Submits go through the ledger, so a ``@task`` that is retried, cleared or run by two DAGs finds the task
    that was paid for. The raw call exists as :meth:`unsafe_submit`.

    :param volcengine_conn_id: the connection, see the connection page of the documentation.
    """

    hook_name = "Volcengine Jimeng"

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger that the configuration names; submits stop where it can't be reached."""
        return open_ledger()

    @cached_property
    def admission(self) -> Admission:
        """What keeps a ledger that has forgotten payments from paying again."""
        return Admission(self.ledger, self.settings)

    @cached_property
    def client(self) -> LastingClient:
        """The client of this connection, whose questions outlive a rotation of its keys."""
        return LastingClient(self.settings, lambda: self.refreshed().settings)

    @cached_property
    def _newest(self) -> Newest:
        return Newest(self.settings, self._same_account)

    def newest_settings(self) -> AccountSettings:
        """Return the settings with the connection's numbers of slots as they were a minute ago or later."""
        return self._newest.settings()

    def want(
        self, request: Request, *, provenance: Provenance | None = None, policies: Policies | None = None
    ) -> Wanted:
        """Check a request and give it its identity, for this connection's account."""
        return want(
            request,
            settings=self.settings,
            provenance=provenance or current_provenance(),
            policies=policies or Policies(),
            volatile=volatile_query_params(),
        )

    @cached_property
    def guard(self) -> NetworkGuard:
        """What addresses inputs and results may be on."""
        return NetworkGuard.of_account(self.settings)

    @cached_property
    def prober(self) -> Prober:
        """What looks at inputs before they are paid for."""
        return Prober(self.guard)

    def probe_if_new(self, wanted: Wanted, supersede: Superseded | None, *, probe: bool | None) -> None:
        """
        Look at the inputs of a content that nobody has paid for, and that is about to be submitted.

        :param probe: see :func:`~airflow_provider_jimeng.hooks.probing.probing_asked_for`.
        :raises JimengInputError: an input can't be what the product needs; nothing was paid.
        :raises JimengUnreadableInputError: an input can't be read now; nothing was paid.
        """
        if not probing_asked_for(probe) or not wanted.sources:
            return
        record = self.ledger.latest(wanted.key)
        if supersede is None and record is not None and record.state not in _UNPAID:
            return
        self.prober.check(wanted)

    def look_at_inputs(
        self, wanted: Wanted, *, since: float | None = None
    ) -> tuple[Wanted, TaskRecord | None]:
        """
        Note what is behind the input URLs, and return the row to be paid for again where that was chosen.

        What can't even be presigned now is no reason to give up what is paid for: it is asked about as it is.

        :param since: see :func:`~airflow_provider_jimeng.lifecycle.sources.superseded_by`.
        :raises JimengInputChangedError: other bytes are there than were paid for.
        :raises JimengNotCreatedError: an input of a content that nobody has paid for can't be presigned.
        """
        try:
            noted = with_validators(wanted, self.guard, self.settings.connect_timeout, fetchable)
        except (JimengInputError, JimengInputStoreError) as error:
            record = self.ledger.latest(wanted.key)
            if record is None or record.state in _UNPAID:
                raise
            log.warning("Whether an input has changed since it was paid for can't be told: %s", error)
            return wanted, None
        return noted, superseded_by(noted, self.ledger, since=since)

    def ensure(
        self,
        wanted: Wanted,
        *,
        supersede: Superseded | None = None,
        budget: int | None = None,
        watched: Callable[[], Collection[str]] = tuple,
        seen_over: Collection[Ended] = (),
        beside: Marker | None = None,
        stopping: Callable[[], bool] = lambda: False,
        lost: TaskRecord | None = None,
    ) -> Ensured:
        """
        Make one pass towards a task for the content; never sleeps for a slot.

        :param seen_over: the tasks that this leg's trigger saw over.
        :param beside: the note where the result is wanted; another ledger there stops the submit.
        :param stopping: asked until the last moment: once it tells ``True``, nothing is submitted any more.
        :param lost: a row that was just proven lost, and that is not asked about again.
        """
        submitter = Submitter(
            self.ledger,
            self.client,
            replace(self._capped(self.newest_settings()), credentials=self.client.credentials),
            refresh=self._refreshed,
            budget=budget,
            watched=watched,
            seen_over=seen_over,
            admit=lambda: self.admission.admit(beside),
            present=fetchable_body,
            stopping=stopping,
        )
        waiter = waiter_of(wanted.provenance)
        ensured = submitter.ensure(wanted, waiter=waiter, supersede=supersede, lost=lost)
        if isinstance(ensured, InHand) and ensured.reused:
            settle_beside(self.ledger, self.client, ensured.record)
        return ensured

    def _capped(self, settings: AccountSettings) -> AccountSettings:
        """Fill in the configuration's daily limit where the connection has none of its own."""
        limit = settings.daily_submit_limit or daily_submit_limit()
        return (
            settings if limit == settings.daily_submit_limit else replace(settings, daily_submit_limit=limit)
        )

    def refreshed(self) -> JimengHook:
        """
        Return a hook with the connection as it is now; this one where it can't be read or is another account.

        A connection that is just being repaired is no reason to give up what is paid for, or under way; and
        another account knows nothing of it.
        """
        fresh = type(self)(self.volcengine_conn_id)
        try:
            _ = fresh.settings
        except Exception as error:
            log.warning("The connection can't be read anew (%s); going on with what it was.", error)
            return self
        if not self.settings.goes_on_as(fresh.settings):
            log.warning(
                "The connection %r is another account or endpoint now; going on with what it was.",
                self.volcengine_conn_id,
            )
            return self
        return fresh

    def _same_account(self) -> AccountSettings | None:
        """Read the connection anew; ``None`` where it can't be, or is an account that must not pay here."""
        fresh = self.refreshed()
        same = fresh is not self and fresh.settings.account == self.settings.account
        return fresh.settings if same else None

    def _refreshed(self) -> AccountSettings | None:
        """
        Return these settings with rotated credentials, if they are the same account's.

        With no other deadline: what is sent again is an intent that others measure by the first one. The
        submits after it need not be refused first.
        """
        fresh = self._same_account()
        if fresh is None:
            return None
        self.client.pay_with(fresh.credentials)
        return self._capped(replace(self.settings, credentials=fresh.credentials))

    @forgetful
    def submit_task(
        self,
        req_key: str,
        body: Mapping[str, Any],
        *,
        force_new: str | None = None,
        slot_timeout: float = 300.0,
    ) -> str:
        """
        Return the id of a task for this content, submitting it only if nobody has yet.

        :param req_key: the product.
        :param body: the request without ``req_key``.
        :param force_new: a reason to pay for the same content again; each reason is paid once.
        :param slot_timeout: seconds to wait for a free slot. Use the operators, which wait without a worker,
            where that may be long.
        :raises JimengNoSlotError: no slot came free; nothing was paid.
        :raises JimengError: by reaction, see :mod:`airflow_provider_jimeng.exceptions`.
        """
        request = Request(req_key=req_key, body=body, force_new=force_new)
        return self._submit(request, slot_timeout)

    @forgetful
    def submit_motion_imitation(
        self,
        image_url: str,
        video_url: str,
        *,
        req_key: str = MOTION_IMITATION,
        variant: int = 0,
        force_new: str | None = None,
        slot_timeout: float = 300.0,
        probe: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """
        Return the id of a task for this image and template video; see :meth:`submit_task`.

        :param options: the product's switches, such as 2.0's ``cut_result_first_second_switch``; part of the
            content.
        :param probe: whether the inputs are looked at before they are paid for; by default where the extra
            ``media`` is installed.
        """
        request = Request(image_url, video_url, req_key, None, variant, force_new, options)
        return self._submit(request, slot_timeout, probe)

    def _submit(self, request: Request, slot_timeout: float, probe: bool | None = None) -> str:
        wanted, supersede = self.look_at_inputs(self.want(request), since=current_run_start())
        self.probe_if_new(wanted, supersede, probe=probe)
        in_hand = wait_on_worker(
            lambda: self.ensure(wanted, supersede=supersede), timeout=slot_timeout, key=wanted.key
        )
        if in_hand.record.task_id is None:
            raise JimengUnknownSubmitError(
                "The ledger has no task id for this content", content_key=wanted.key
            )
        tell_collector(self, wanted.sources.values())
        return in_hand.record.task_id

    @forgetful
    def unsafe_submit(self, req_key: str, body: Mapping[str, Any]) -> str:
        """
        Send one submit past the ledger: **every call is paid**, and a lost id can't be found again.

        For experiments. Everything else is :meth:`submit_task`.
        """
        whole = {**check_body(body, "body"), "req_key": check_req_key(req_key, "req_key")}
        sent = encode_body(fetchable_body(whole))
        outcome = judge_submit(self.client.submit(sent, on_late=lambda _: None))
        raw_submit(self.settings.scope(whole["req_key"]), outcome)
        if outcome.kind is SubmitKind.CREATED and outcome.task_id is not None:
            return outcome.task_id
        facts: dict[str, Any] = {
            "code": outcome.code,
            "request_id": outcome.request_id,
            "http_status": outcome.http_status,
        }
        if outcome.kind is SubmitKind.UNKNOWN:
            raise JimengUnknownSubmitError(
                f"Nobody knows whether the vendor accepted this submit: {outcome.message}. It may be "
                "billed; there is no ledger row of it",
                **facts,
            )
        kind: type[JimengError] = outcome.error or JimengNotSentError
        raise kind(f"The submit was refused, nothing was paid: {outcome.message}", **facts)

    @forgetful
    def get_result(self, task_id: str, req_key: str = MOTION_IMITATION) -> dict[str, Any]:
        """
        Ask once about a task; free.

        :return: ``task_id``, ``status`` (``running``, ``done``, ``failed``, ``expired``), ``code``,
            ``message``, ``request_id`` and, once it is done, ``video_url``: valid for one hour, ask again
            for a fresh one. Where a task gave several results, ``result_urls`` has them all.
        """
        watched = Watched(check_task_id(task_id, "task_id"), check_req_key(req_key, "req_key"))
        _, decision = harvest(self.client, watched, now=time.time())
        return as_result(watched.task_id, decision)

    async def aget_result(self, task_id: str, req_key: str = MOTION_IMITATION) -> dict[str, Any]:
        """Ask once about a task from a coroutine; see :meth:`get_result`."""
        from airflow_provider_jimeng.client.aio import AsyncClient

        client = AsyncClient(await self.aget_settings())
        check_task_id(task_id, "task_id")
        observation = await client.query(check_req_key(req_key, "req_key"), task_id)
        _, decision = decide_poll(
            PollState(),
            observation,
            now=time.time(),
            submitted_at=None,
            deadline=None,
            settings=PollSettings(),
        )
        return as_result(task_id, decision)


def provenance_of(context: Mapping[str, Any]) -> Provenance:
    """Return who is asking: the task instance of an Airflow context."""
    ti = context["ti"]
    return Provenance(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
    )


def current_provenance() -> Provenance:
    """Return who is asking from within a ``@task``; nobody in particular outside of one."""
    from airflow.providers.common.compat.sdk import get_current_context

    try:
        return provenance_of(get_current_context())
    except RuntimeError:
        return _NOWHERE


def waiter_of(provenance: Provenance) -> str:
    """Return the name under which a task instance holds its place in the queue, over all its tries."""
    return provenance.attempt_scope


def iso(epoch: float | None) -> str | None:
    """Return an ISO 8601 UTC time of epoch seconds."""
    return None if epoch is None else dt.datetime.fromtimestamp(epoch, dt.UTC).isoformat()


def epoch_of(value: str | float | None) -> float | None:
    """Return epoch seconds of an ISO 8601 time, or of a number as it is."""
    if value is None or isinstance(value, (int, float)):
        return value
    parsed = dt.datetime.fromisoformat(value)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)).timestamp()
