# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a run paid for and the manifest no longer asks for, because it was corrected between two tries.

Nobody else would ever fetch it: it lands under its own safe name, and the report tells of it.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.bulk.content import Content
from airflow_provider_jimeng.ledger.keys import redact_text
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_jimeng.bulk.tools import Terms, Tools
    from airflow_provider_jimeng.exceptions import JimengError
    from airflow_provider_jimeng.ledger.records import TaskRecord

log = logging.getLogger(__name__)

_AT_ONCE = 200
#: The summary is an XCom, too: it names no more of them than this, and counts all.
_NAMED = 100


@dataclass(frozen=True, slots=True)
class Stray:
    """
    A task that the run paid for and that no line of the manifest asks for.

    :param uri: where its result is.
    :param error: why there is none.
    """

    task_id: str | None
    content_key: str
    uri: str | None = None
    error: str | None = None


class Strays:
    """Finds them once every line has its fate, and remembers what became of them."""

    def __init__(self, tools: Tools, terms: Terms) -> None:
        self._tools, self._terms = tools, terms
        self.told: list[Stray] = []
        # Contents that a line asks for, and that did not land: a part of the key, for memory's sake.
        self._asked_for: set[str] = set()
        self._after = 0

    def asked_for(self, content_key: str) -> None:
        """Note that a line of the manifest tells of a content, though nothing of it landed."""
        self._asked_for.add(content_key[-16:])

    def find(self) -> list[Content]:
        """
        Return some that were not returned before; none are left where there are none.

        Whenever they were begun: a DAG run that is cleared once it is over begins anew, and to correct the
        manifest first is what a person does. One that is lost is told of by each run: better twice than by
        one whose report nobody has.

        :raises JimengLedgerError: the ledger can't be read.
        """
        scope = self._terms.provenance.attempt_scope
        while rows := self._tools.ledger.not_landed(scope, None, after=self._after, limit=_AT_ONCE):
            standing = self._tools.ledger.latest_many({each.content_key for each in rows})
            self._after = rows[-1].id
            strays = [
                each
                for each in rows
                if each.content_key[-16:] not in self._asked_for and standing[each.content_key].id == each.id
            ]
            found = [self._content(each) for each in strays if self._may_ask(each)]
            if found:
                return found
        return []

    def _may_ask(self, record: TaskRecord) -> bool:
        """
        Return whether the connection can ask about a row; tell of it where not.

        Another account would be told that there is no such task, and a paid one that runs would be given up.
        """
        settings = self._tools.settings
        if settings.may_ask_about(record.scope.account, record.scope.endpoint):
            return True
        error = (
            f"it was submitted as account {record.scope.account!r} at {record.scope.endpoint}, and the "
            f"connection {settings.conn_id!r} is another, which can't ask about it. It stays paid and known: "
            "the same line with the connection that it was submitted with brings it home"
        )
        self.ended(Content(self._wanted(record), [], record=record, stray=True), error)
        return False

    def _content(self, record: TaskRecord) -> Content:
        log.warning(
            "The manifest no longer asks for task %s (content %s), which this run has paid for: its result, "
            "if there is one, is stored under its own name.",
            record.task_id,
            record.content_key,
        )
        theirs = self._tools.settings.is_called(record.scope.account)
        doubtful = record.state in (TaskState.SUBMITTED, TaskState.SUCCEEDED) and not theirs
        return Content(self._wanted(record), [], record=record, stray=True, doubtful=doubtful)

    def _wanted(self, record: TaskRecord) -> Wanted:
        return Wanted(
            key=record.content_key,
            scope=record.scope,
            inputs=record.inputs,
            variant=record.variant,
            force_new=record.force_new,
            body={},
            sources={},
            provenance=record.provenance,
            policies=self._terms.policies,
        )

    def landed(self, content: Content) -> None:
        """Note that a result is stored."""
        record = content.record
        if record is not None:
            uri = self._tools.folder.safe(record).uri
            log.warning(
                "The result of task %s, which the manifest no longer asks for: %s", record.task_id, uri
            )
            self.told.append(Stray(record.task_id, content.key, uri))

    def ended(self, content: Content, error: JimengError | str) -> None:
        """Note that there is no result, or none yet."""
        words = redact_text(error if isinstance(error, str) else error.message)
        task_id = None if content.record is None else content.record.task_id
        log.warning("Task %s, which the manifest no longer asks for, has no result here: %s", task_id, words)
        self.told.append(Stray(task_id, content.key, error=words))


def in_summary(strays: Sequence[Stray]) -> dict[str, Any]:
    """Return what the summary tells of them."""
    return {
        "not_in_manifest": len(strays),
        "not_in_manifest_tasks": [asdict(each) for each in strays[:_NAMED]],
    }
