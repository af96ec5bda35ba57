# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The report that a bulk run writes beside its results, as far as it is that run's own.

Where it lies is concluded from the ledger's landings, never from what a browser says; and whose it is, from
the report itself: the next run of the same DAG may have replaced it.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.hooks.storage import resolve_target
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.media.target import SAFE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.media.target import Target
    from airflow_provider_jimeng.ui.request import Asked

__all__ = ["Report", "reports_of"]

log = logging.getLogger(__name__)

_SUMMARY, _LINES = "summary.json", "report.jsonl"
_SUMMARY_BYTES = 256 * 1024
_LINES_BYTES = 32 * 1024 * 1024
#: Landed rows that are looked at for the folders they are in, and folders that are looked into.
_ROWS, _FOLDERS = 40, 5
_GROUPS = 20


@dataclass(frozen=True, slots=True)
class Report:
    """
    A report of one of the run's task instances.

    :param folder: where it and the results are.
    :param summary: ``summary.json``.
    :param invalid: why lines can't be used, and how many for each reason; known once the run is complete.
    """

    folder: str
    summary: Mapping[str, Any]
    invalid: Mapping[str, int]

    @property
    def complete(self) -> bool:
        """Whether each line of the manifest has its fate in it."""
        return self.summary.get("complete") is True

    def count(self, name: str) -> int:
        """Return a number of the summary, 0 where it has none of that name."""
        value = self.summary.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def reports_of(
    admin: LedgerAdmin, asked: Asked, *, resolve: Callable[[str], Target] = resolve_target
) -> list[Report]:
    """
    Return the reports of a run's bulk tasks, one per task instance at most.

    A store that can't be read, or holds no report of this run, is no error: the ledger tells the rest.
    """
    found = []
    for folder in _folders(admin, asked):
        try:
            report = _read(folder, asked, resolve)
        except (JimengError, OSError, ValueError) as error:
            log.info("No report can be read in %s: %s", folder, error)
            continue
        except Exception:
            # A store's own error: whatever it is, the page is there without it.
            log.warning("The report in %s can't be read", folder, exc_info=True)
            continue
        if report is not None:
            found.append(report)
    return found


def _folders(admin: LedgerAdmin, asked: Asked) -> list[str]:
    rows = admin.rows_of_run(asked.scopes, [TaskState.LANDED], limit=_ROWS)
    landings = admin.landings_of(rows)
    folders: dict[str, None] = {}
    for row in rows:
        for landing in landings.get((row.content_key, row.attempt), ())[:1]:
            folder = landing.uri.rpartition("/")[0]
            folders[folder.removesuffix(f"/{SAFE_FOLDER}")] = None
    return [folder for folder in folders if folder][:_FOLDERS]


def _read(folder: str, asked: Asked, resolve: Callable[[str], Target]) -> Report | None:
    text = _text(resolve(f"{folder}/{_SUMMARY}"), _SUMMARY_BYTES)
    summary = None if text is None else json.loads(text)
    if not isinstance(summary, dict) or not _is_of(summary.get("run"), asked):
        return None
    invalid: Mapping[str, int] = {}
    if summary.get("complete") is True and summary.get("invalid"):
        lines = _text(resolve(f"{folder}/{_LINES}"), _LINES_BYTES)
        invalid = _invalid(() if lines is None else lines.splitlines())
    return Report(folder, summary, invalid)


def _text(target: Target, most: int) -> bytes | None:
    stat = target.stat()
    if stat is None or stat.size > most:
        return None
    with target.fs.open(target.path, "rb") as file:
        return bytes(file.read(most))


def _is_of(run: Any, asked: Asked) -> bool:
    if not isinstance(run, dict) or (run.get("dag_id"), run.get("run_id")) != (asked.dag_id, asked.run_id):
        return False
    return (run.get("task_id"), run.get("map_index")) in asked.instances


def _invalid(lines: Iterable[bytes]) -> Mapping[str, int]:
    reasons: Counter[str] = Counter()
    for line in lines:
        if b'"invalid"' not in line:
            continue
        told = json.loads(line)
        if told.get("outcome") == "invalid":
            reasons[str(told.get("error") or "")[:500]] += 1
    return dict(reasons.most_common(_GROUPS))
