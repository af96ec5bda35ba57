# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A ledger with rows of a run, as a bulk operator leaves them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord

from tests.ledger.kit import Bench, unique

DAG, RUN = "dag", "manual__2026-11-26T10:00:00+00:00"


class Rows:
    """
    Puts rows of one DAG run into a ledger.

    :param folder: where results land.
    """

    def __init__(self, url: str, folder: Path, *, dag: str = DAG, run: str = RUN) -> None:
        self.bench = Bench(url)
        self.folder = folder
        self.dag, self.run = dag, run
        self._number = 0

    def _wish(self, task: str, map_index: int, **changes: Any) -> dict[str, Any]:
        self._number += 1
        inputs = {
            "image_url": f"https://media.example/character-{self._number:02d}.png",
            "video_url": "https://media.example/template-wave.mp4",
        }
        return {
            "inputs": json.dumps(inputs, sort_keys=True),
            "provenance": Provenance(self.dag, self.run, task, map_index, 1),
            "configured_limit": 40,
            **changes,
        }

    def landed(
        self, name: str, body: bytes, *, task: str = "imitate", map_index: int = -1, ago: float = 0.0
    ) -> TaskRecord:
        """Land a file, and let it have happened some seconds ago."""
        ledger = self.bench.ledger
        row = ledger.record_succeeded(self.bench.submitted(**self._wish(task, map_index)), code=10000)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        ledger.record_landing(
            row, uri=str(path), size=len(body), sha256=hashlib.sha256(body + name.encode()).hexdigest()
        )
        self.bench.age(row, ago)
        return self.bench.now(row)

    def submitted(self, *, task: str = "imitate", map_index: int = -1, ago: float = 0.0) -> TaskRecord:
        row = self.bench.submitted(**self._wish(task, map_index))
        self.bench.age(row, ago)
        return self.bench.now(row)

    def failed(self, code: int, message: str, *, task: str = "imitate", map_index: int = -1) -> TaskRecord:
        row = self.bench.submitted(**self._wish(task, map_index))
        return self.bench.ledger.record_failed(row, code=code, message=message)

    def rejected(self, code: int, message: str, *, key: str | None = None) -> TaskRecord:
        row = self.bench.sent(key, **self._wish("imitate", -1))
        return self.bench.ledger.record_rejected(row, code=code, message=message)

    def unknown(
        self,
        message: str = "No answer within 60 s.",
        *,
        task: str = "imitate",
        map_index: int = -1,
        ago: float = 0.0,
        **changes: Any,
    ) -> TaskRecord:
        row = self.bench.sent(**self._wish(task, map_index, **changes))
        row = self.bench.ledger.record_unknown(row, message=message)
        self.bench.age(row, ago)
        return self.bench.now(row)

    def summary(self, *, task: str = "imitate", map_index: int = -1, **values: Any) -> dict[str, Any]:
        """Write a run's summary beside the results."""
        told = {
            **dict.fromkeys(
                ("total", "landed", "reused", "failed", "invalid", "unknown", "expired", "skipped"), 0
            ),
            "submits": 0,
            "slot_utilisation": None,
            "complete": False,
            "run": {"dag_id": self.dag, "run_id": self.run, "task_id": task, "map_index": map_index},
            **values,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "summary.json").write_text(json.dumps(told))
        return told


def instance(task: str = "imitate", map_index: int = -1, **values: Any) -> dict[str, Any]:
    """Return a task instance as Airflow's API tells of it."""
    return {
        "task_id": task,
        "map_index": map_index,
        "state": "running",
        "operator_name": "JimengBatchOperator",
        **values,
    }


def video(tag: str = "") -> bytes:
    """Return bytes that begin as a video does, and are no two the same."""
    return b"\x00\x00\x00\x18ftypmp42" + hashlib.sha256((tag or unique()).encode()).digest() * 40
