# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Lineage in OpenLineage's own classes.

Needs ``apache-airflow-providers-openlineage``, which this provider does not: imported by
:mod:`airflow_provider_jimeng.hooks.lineage` when OpenLineage asks, and by nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attr
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    RunFacet,
    error_message_run,
    external_query_run,
    output_statistics_output_dataset,
)

from airflow.providers.openlineage.extractors import OperatorLineage
from airflow_provider_jimeng.hooks.lineage import MOST, Lineage, dataset_name
from airflow_provider_jimeng.ledger.keys import redact_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_jimeng.exceptions import JimengError
    from airflow_provider_jimeng.ledger.records import TaskRecord

__all__ = ["JimengBulkRunFacet", "JimengErrorRunFacet", "JimengTaskRunFacet", "operator_lineage"]


@attr.define
class JimengTaskRunFacet(RunFacet):
    """
    The vendor's task that a run is about.

    :param reused: whether it was paid for earlier.
    """

    taskId: str | None
    reqKey: str
    contentKey: str
    account: str
    attempt: int
    submittedAt: float | None
    elapsed: float | None
    reused: bool | None


@attr.define
class JimengErrorRunFacet(RunFacet):
    """What went wrong: the class by reaction, and the vendor's code and words."""

    error: str
    message: str
    code: int | None
    requestId: str | None
    taskId: str | None
    contentKey: str | None
    httpStatus: int | None
    retryHelps: bool


@attr.define
class JimengBulkRunFacet(RunFacet):
    """The numbers of a bulk run's summary, by outcome."""

    counts: dict[str, int]


def operator_lineage(lineage: Lineage, failure: JimengError | None) -> OperatorLineage[Any, Any]:
    """Return what the extractor of OpenLineage's provider wants."""
    facets: dict[str, Any] = {}
    if lineage.record is not None:
        facets.update(_of_task(lineage.record, lineage.reused))
    if lineage.counts is not None:
        facets["jimeng_bulk"] = JimengBulkRunFacet(counts=dict(lineage.counts))
    if failure is not None:
        facets.update(_of_failure(failure))
    outputs = {dataset_name(uri): size for uri, size in lineage.outputs[:MOST]}
    return OperatorLineage(
        inputs=[InputDataset(namespace=space, name=name) for space, name in _named(lineage.inputs)],
        outputs=[_output(space, name, size) for (space, name), size in outputs.items()],
        run_facets=facets,
    )


def _named(places: Iterable[str]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(map(dataset_name, places)))[:MOST]


def _output(namespace: str, name: str, size: int | None) -> OutputDataset:
    counted = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(size=size, fileCount=1)
    facets: dict[str, Any] = {} if size is None else {"outputStatistics": counted}
    return OutputDataset(namespace=namespace, name=name, outputFacets=facets)


def _of_task(record: TaskRecord, reused: bool | None) -> dict[str, Any]:
    facets: dict[str, Any] = {
        "jimeng_task": JimengTaskRunFacet(
            taskId=record.task_id,
            reqKey=record.scope.req_key,
            contentKey=record.content_key,
            account=record.scope.account,
            attempt=record.attempt,
            submittedAt=record.submitted_at,
            elapsed=record.elapsed,
            reused=reused,
        )
    }
    if record.task_id is not None:
        facets["externalQuery"] = external_query_run.ExternalQueryRunFacet(
            externalQueryId=record.task_id, source=f"{record.scope.endpoint}/{record.scope.req_key}"
        )
    return facets


def _of_failure(error: JimengError) -> dict[str, Any]:
    message = redact_text(error.message)
    return {
        # OpenLineage's provider puts one of its own in its place where it is told the exception.
        "errorMessage": error_message_run.ErrorMessageRunFacet(message=message, programmingLanguage="python"),
        "jimeng_error": JimengErrorRunFacet(
            error=type(error).__name__,
            message=message,
            code=error.code,
            requestId=error.request_id,
            taskId=error.task_id,
            contentKey=error.content_key,
            httpStatus=error.http_status,
            retryHelps=error.retry_helps,
        ),
    }
