# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Which task instances a page asks about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_jimeng.ledger.records import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_jimeng.ledger.records import TaskRecord

__all__ = ["MOST_INSTANCES", "Asked", "WrongQuestion"]

#: More task instances than a page can sensibly sum up; a bulk run of any length is one.
MOST_INSTANCES = 20_000
_TASK = re.compile(r"(?P<task>[\w.\-]{1,250})(?::(?P<from>-?\d{1,7})(?:-(?P<to>\d{1,7}))?)?")


class WrongQuestion(Exception):
    """The page asked for something in no good form."""


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Some task instances of one DAG run.

    :param instances: task ids with their map indexes, -1 for a task that is not mapped.
    """

    dag_id: str
    run_id: str
    instances: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, dag_id: str, run_id: str, tasks: Iterable[str]) -> Asked:
        """
        Read what a page asks for.

        :param tasks: texts like ``imitate`` (not mapped), ``imitate:3`` or ``imitate:0-999``.
        :raises WrongQuestion: one is in no such form, or they are too many.
        """
        found: list[tuple[str, int]] = []
        for text in tasks:
            match = _TASK.fullmatch(text)
            if match is None:
                raise WrongQuestion(f"task: not TASK, TASK:INDEX or TASK:FROM-TO: {text[:100]!r}")
            first = int(match["from"] or -1)
            last = first if match["to"] is None else int(match["to"])
            if len(found) + last - first + 1 > MOST_INSTANCES:
                raise WrongQuestion(f"task: more than {MOST_INSTANCES} task instances in one question")
            found += ((match["task"], at) for at in range(first, last + 1))
        return cls(dag_id, run_id, tuple(found))

    @property
    def scopes(self) -> list[str]:
        """What the ledger counts these task instances' attempts by."""
        return [Provenance(self.dag_id, self.run_id, task, at).attempt_scope for task, at in self.instances]

    def covers(self, record: TaskRecord) -> bool:
        """Tell whether a row was written by this run of this DAG."""
        return (record.provenance.dag_id, record.provenance.run_id) == (self.dag_id, self.run_id)
