# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A whole manifest as one task."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.client.discretion import forgetful
from airflow_provider_jimeng.exceptions import JimengError, JimengProtocolError
from airflow_provider_jimeng.hooks.defaults import seconds_of, whole_number
from airflow_provider_jimeng.hooks.late import late
from airflow_provider_jimeng.hooks.lineage import Lineage
from airflow_provider_jimeng.hooks.patience import bears_a_silent_ledger
from airflow_provider_jimeng.lifecycle.choices import FAIL
from airflow_provider_jimeng.links.jimeng import JimengReportLink, object_page
from airflow_provider_jimeng.operators.base import POLICY_FIELDS, JimengOperator, event_of, policies_of
from airflow_provider_jimeng.operators.earlier import as_before, in_the_middle
from airflow_provider_jimeng.operators.hints import Hint
from airflow_provider_jimeng.triggers import settling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow_provider_jimeng.api.products import check_product_options
    from airflow_provider_jimeng.api.validation import check_choice, check_req_key
    from airflow_provider_jimeng.bulk.away import InputsAway
    from airflow_provider_jimeng.bulk.content import Folder
    from airflow_provider_jimeng.bulk.items import Outcome
    from airflow_provider_jimeng.bulk.job import Finished, check_manifest, check_tolerance, judge, run_to_end
    from airflow_provider_jimeng.bulk.manifest import Manifest, open_manifest
    from airflow_provider_jimeng.bulk.parking import Parked
    from airflow_provider_jimeng.bulk.plan import in_words, plan
    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.hooks.bulk import harvest_over, tools_of, turns_of
    from airflow_provider_jimeng.hooks.jimeng import iso, provenance_of
    from airflow_provider_jimeng.hooks.landing import announce
    from airflow_provider_jimeng.hooks.storage import resolve_target
    from airflow_provider_jimeng.lifecycle.wanted import Policies
    from airflow_provider_jimeng.media.target import Target
    from airflow_provider_jimeng.triggers.bulk import JimengBulkTrigger
else:
    # A DAG file is parsed again and again; what only a worker needs is imported there.
    (check_product_options,) = late("airflow_provider_jimeng.api.products", "check_product_options")
    check_choice, check_req_key = late(
        "airflow_provider_jimeng.api.validation", "check_choice", "check_req_key"
    )
    (InputsAway,) = late("airflow_provider_jimeng.bulk.away", "InputsAway")
    (Outcome,) = late("airflow_provider_jimeng.bulk.items", "Outcome")
    Finished, check_manifest, check_tolerance, judge, run_to_end = late(
        "airflow_provider_jimeng.bulk.job",
        "Finished",
        "check_manifest",
        "check_tolerance",
        "judge",
        "run_to_end",
    )
    (open_manifest,) = late("airflow_provider_jimeng.bulk.manifest", "open_manifest")
    in_words, plan = late("airflow_provider_jimeng.bulk.plan", "in_words", "plan")
    (Terms,) = late("airflow_provider_jimeng.bulk.tools", "Terms")
    harvest_over, tools_of, turns_of = late(
        "airflow_provider_jimeng.hooks.bulk", "harvest_over", "tools_of", "turns_of"
    )
    iso, provenance_of = late("airflow_provider_jimeng.hooks.jimeng", "iso", "provenance_of")
    (announce,) = late("airflow_provider_jimeng.hooks.landing", "announce")
    (resolve_target,) = late("airflow_provider_jimeng.hooks.storage", "resolve_target")
    (JimengBulkTrigger,) = late("airflow_provider_jimeng.triggers.bulk", "JimengBulkTrigger")

SKIP = "skip"
DEFAULT_RUN_SECONDS = 7 * 24 * 3600.0
#: A deferral ends by itself at the latest when the vendor has forgotten every task it waits for.
_BACKSTOP = dt.timedelta(hours=13)
#: Contents that a deferring leg reads ahead: each leg does it anew.
_AHEAD_OF_A_LEG = 20
#: Seconds for which a deferring leg waits for the store of an input.
_LEGS_INPUT_PATIENCE = 30.0
#: What a deferral takes beyond its trigger's hold: to the triggerer, and back to a worker.
_WAY_BACK_SECONDS = 3.0


class JimengBatchOperator(JimengOperator):
    """
    A manifest of images and template videos in, a folder of landed videos and a report out.

    A small window of tasks slides over the manifest, as wide as the account's slots; a slot is refilled the
    moment its task ends. All progress is in the ledger: a retry, a kill, a clear, or the same manifest in
    another DAG goes on where it was, and pays nothing for what was paid.

    Returns the summary, as written to ``summary.json``; with ``dry_run`` what a run would do and cost.

    :param manifest: a URI of a JSON Lines, CSV or Parquet file, or a list of dicts (templated).
    :param output: the folder for results and report: an absolute path or any fsspec URL (templated).
    :param max_in_flight: most tasks of this run at the vendor at once; default: the account's slots.
    :param tolerance: how many items may come to nothing (an integer), or what share of them (a float).
    :param on_invalid: ``fail`` before anything is paid, or ``skip`` lines in bad form (templated).
    :param budget: most new submits of this task instance, over all its tries.
    :param max_attempts: submits of one content by this task instance; only verdicts that the vendor marks
        retryable, none of which is billed, lead to a second one.
    :param on_unknown_submit: ``fail`` or ``resubmit`` where nobody knows whether a submit was accepted; the
        latter may pay twice (templated).
    :param on_missing_output: ``fail`` or ``resubmit`` where a paid result exists nowhere (templated).
    :param on_input_changed: ``fail``, ``reuse``, ``resubmit``: other bytes behind a URL (templated).
    :param overwrite: whether files that this provider did not write may be replaced.
    :param force_new: a reason to pay for the same contents again; each reason is paid once (templated).
    :param req_key: the product of lines that name none (templated).
    :param options: switches per product: ``{req_key: {switch: true or false}}``; part of the contents
        (templated).
    :param timeout: seconds from when the run begins to work, over all its tries, after which nothing is
        submitted any more; what runs is still harvested.
    :param poke_interval: seconds between two queries of a task; ``None`` adapts to how long tasks take.
    :param deferrable: wait in the triggerer. The worker refills a slot quicker; a deferred run holds no
        worker, which pays where tasks take minutes.
    :param dry_run: only tell what a run would do; nothing is paid, and nothing is written.
    :param probe: whether the inputs are looked at before they are paid for, ahead of the window; by default
        where the extra ``media`` is installed (``[jimeng] probe``). What can't be used is ``invalid``.
    :param adopt_output: let this ledger take over a folder whose results another ledger paid for.
    """

    template_fields: Sequence[str] = (
        "manifest",
        "output_uri",
        "force_new",
        "req_key",
        "options",
        "on_invalid",
        *POLICY_FIELDS,
        "volcengine_conn_id",
    )
    template_ext: Sequence[str] = ()
    operator_extra_links: Sequence[Any] = (JimengReportLink(),)

    def __init__(
        self,
        *,
        manifest: Any,
        output: Any,
        max_in_flight: int | None = None,
        tolerance: int | float = 0,
        on_invalid: str = FAIL,
        budget: int | None = None,
        max_attempts: int = 3,
        on_unknown_submit: str = FAIL,
        on_missing_output: str = FAIL,
        on_input_changed: str = FAIL,
        overwrite: bool = False,
        force_new: str | None = None,
        req_key: Any = MOTION_IMITATION,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        timeout: float | dt.timedelta = DEFAULT_RUN_SECONDS,
        poke_interval: float | dt.timedelta | None = None,
        deferrable: bool = False,
        dry_run: bool = False,
        probe: bool | None = None,
        adopt_output: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        # BaseOperator.output is Airflow's own: what the task returns. So is dry_run.
        self.output_uri = output
        self.plan_only = dry_run
        self.max_in_flight = max_in_flight
        self.tolerance = tolerance
        self.on_invalid = on_invalid
        self.budget = budget
        self.max_attempts = max_attempts
        self.on_unknown_submit = on_unknown_submit
        self.on_missing_output = on_missing_output
        self.on_input_changed = on_input_changed
        self.overwrite = overwrite
        self.force_new = force_new
        self.req_key = req_key
        self.options = options
        self.timeout = timeout
        self.poke_interval = poke_interval
        self.deferrable = deferrable
        self.probe = probe
        self.adopt_output = adopt_output
        self.report_target: str | None = None

    @bears_a_silent_ledger
    def execute(self, context: Context) -> dict[str, Any]:
        """Run the manifest, or its first leg."""
        return self._run(context, None, Hint())

    @bears_a_silent_ledger
    def execute_complete(self, context: Context, event: Any = None, **told: Any) -> dict[str, Any]:
        """
        Go on after a task has ended, or a slot has come free.

        :param told: what earlier legs found out, see :class:`~.hints.Hint`.
        """
        return self._run(context, event, Hint.of(told))

    @forgetful
    def _run(self, context: Context, event: Any, hint: Hint) -> dict[str, Any]:
        try:
            terms = self._terms(context)
            tolerance = check_tolerance(self.tolerance)
            skip_invalid = check_choice(self.on_invalid, "on_invalid", (FAIL, SKIP)) == SKIP
            folder = resolve_target(self.output_uri)
            req_key = check_req_key(self.req_key, "req_key")
            if event is not None:
                # First of all: each verdict in the ledger is a slot that can be refilled.
                harvested = harvest_over(self.hook, event_of(event), terms.mine, req_key)
                terms = replace(terms, harvested=harvested)
            manifest = open_manifest(self.manifest, resolve=resolve_target, default_req_key=req_key)
            try:
                another = hint.digest != manifest.digest
                if another:
                    hint = Hint(began=hint.began, wishes=hint.wishes, asked=hint.asked)
                if not hint.after_line or skip_invalid:
                    check_manifest(manifest, skip_invalid=skip_invalid)
                hint = replace(
                    hint,
                    products=max(len(manifest.products), hint.products),
                    began=self._began(terms) if hint.began is None else hint.began,
                )
                terms = replace(terms, products=hint.products, deadline=self._deadline(hint.began))
                tools = self._tools(terms, folder)
                if self.deferrable:
                    stopped, hint = as_before(self, hint, manifest, tools, another=another)
                    terms = replace(terms, stopped=stopped)
                if self.plan_only:
                    planned = plan(
                        manifest.lines(), ledger=tools.ledger, settings=tools.settings, want=tools.want
                    )
                    self.log.info("Nothing was sent and nothing was paid. %s", "\n".join(in_words(planned)))
                    return planned
                return self._work(context, manifest, tools, terms, hint, tolerance)
            finally:
                manifest.close()
        except JimengError as error:
            raise self._told(in_the_middle(error, self, context, event)) from error

    def _work(
        self,
        context: Context,
        manifest: Manifest,
        tools: Tools,
        terms: Terms,
        hint: Hint,
        tolerance: int | float,
    ) -> dict[str, Any]:
        note = self.hook.admission.note_at(tools.folder.note)
        self.hook.admission.check(note, adopt=self.adopt_output)
        self._point_at_report(context, tools.folder)
        away = InputsAway(hint.inputs_away)
        try:
            ended = run_to_end(
                manifest,
                replace(
                    tools,
                    ensure=partial(self.hook.ensure, beside=note, stopping=self.stopping),
                    stopping=self.stopping,
                    away=away,
                ),
                terms,
                leg=self.deferrable,
                after_line=hint.after_line,
                total=hint.total,
            )
        finally:
            self.hook.admission.leave()
        if not isinstance(ended, Finished):
            self._defer(ended, manifest, terms.deadline, replace(hint, inputs_away=away.left()))
            raise JimengProtocolError("a deferral returned")
        summary = dict(ended.summary)
        self._tell(self._lineage_of(ended))
        announce(context, self.outlets, summary)
        judge(ended, tolerance)
        return summary

    def _asked_for(self) -> Sequence[str]:
        return (self.manifest,) if isinstance(self.manifest, str) else ()

    def _lineage_of(self, ended: Finished) -> Lineage:
        landed = ended.sample
        return Lineage(
            inputs=(*self._asked_for(), *(url for each in landed for url in (each.image, each.video))),
            outputs=(
                (ended.summary["report_uri"], None),
                *((each.uri, each.bytes) for each in landed),
            ),
            counts={str(name): ended.summary[str(name)] for name in ("total", *Outcome, "submits")},
        )

    def _terms(self, context: Context) -> Terms:
        since = getattr(context.get("dag_run"), "start_date", None)
        interval = None if self.poke_interval is None else seconds_of(self.poke_interval, "poke_interval")
        more: dict[str, Any] = {}
        if self.deferrable:
            blind = settling.hold_seconds() + _WAY_BACK_SECONDS
            more = {"ahead": _AHEAD_OF_A_LEG, "blind": blind, "input_patience": _LEGS_INPUT_PATIENCE}
        return Terms(
            provenance_of(context),
            self._policies(),
            since=None if since is None else since.timestamp(),
            max_in_flight=whole_number("max_in_flight", self.max_in_flight, least=1),
            budget=whole_number("budget", self.budget, least=0),
            deadline=self._deadline(None),
            poll_interval=interval,
            **more,
        )

    def _began(self, terms: Terms) -> float:
        """
        Return when the run began to work, in any of its tries.

        Not when its DAG run did: a late upstream task, or a pool in a backfill, would use its time up.
        """
        first: float | None = self.hook.ledger.first_claim(terms.provenance.attempt_scope, terms.since)
        return time.time() if first is None else first

    def _deadline(self, began: float | None) -> float:
        return (time.time() if began is None else began) + seconds_of(self.timeout, "timeout")

    def _policies(self) -> Policies:
        attempts = whole_number("max_attempts", self.max_attempts, least=1)
        return policies_of(self, 1 if attempts is None else attempts)

    def _tools(self, terms: Terms, folder: Target) -> Tools:
        tags = {"dag_id": terms.provenance.dag_id, "task_id": terms.provenance.task_id}
        return tools_of(
            self.hook,
            terms,
            folder,
            overwrite=self.overwrite,
            force_new=self.force_new,
            tags=tags,
            probe=self.probe,
            options=check_product_options(self.options),
        )

    def _point_at_report(self, context: Context, folder: Folder) -> None:
        self.report_target = object_page(folder.child("report.html").uri)
        for link in self.operator_extra_links:
            # Airflow stores links when a leg ends; this run may take days, and its report is there earlier.
            context["ti"].xcom_push(key=link.xcom_key, value=self.report_target)

    def _defer(self, parked: Parked, manifest: Manifest, deadline: float | None, hint: Hint) -> None:
        if not parked.open and (parked.scope is None or parked.content_key is None):
            raise JimengProtocolError("a leg of a bulk run ended with nothing to wait for, and is not done")
        look_at = iso(parked.look_at(time.time(), deadline))
        self.defer(
            trigger=JimengBulkTrigger(
                tasks=[
                    {
                        "task_id": each.task_id,
                        "req_key": each.scope.req_key,
                        "content_key": each.content_key,
                        "submitted_at": iso(each.submitted_at),
                        "expected_seconds": parked.expected.get(each.scope),
                    }
                    for each in parked.open
                ],
                volcengine_conn_id=self.volcengine_conn_id,
                deadline=look_at if parked.open else None,
                poll_interval=self._terms_interval(),
                **turns_of(parked, look_at),
                hold=settling.hold_seconds(),
            ),
            method_name="execute_complete",
            kwargs=replace(
                hint,
                after_line=parked.after_line,
                digest=manifest.digest,
                total=manifest.total if hint.total is None else hint.total,
            ).to_dict(),
            timeout=_BACKSTOP,
        )

    def _terms_interval(self) -> float | None:
        return None if self.poke_interval is None else seconds_of(self.poke_interval, "poke_interval")
