# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a batch says of lines that it left out, and that may have been paid for before."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import JimengRunIncompleteError

from tests.legs import Bench, Deferred
from tests.operators.test_batch_corrected import batch


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize(
    ("change", "given", "words"),
    [
        (
            "state = 'unknown', task_id = NULL",
            {"on_unknown_submit": "resubmit", "timeout": 0.001},
            "Nobody knows whether an earlier submit of this content was accepted",
        ),
        (
            f"state = 'expired', submitted_at = submitted_at - 50000, finished_at = {time.time()}",
            {"on_missing_output": "resubmit", "budget": 2},
            "was given up and may be billed",
        ),
    ],
    ids=["unknown", "expired"],
)
def test_a_line_that_may_have_been_paid_for_is_not_said_to_have_cost_nothing(
    bench: Bench, change: str, given: dict[str, Any], words: str, deferrable: bool
) -> None:
    bench.emu.configure(duration=3600.0)
    instance = batch(bench, "ab", **given)
    if "timeout" in given:
        instance.arguments["timeout"] = 3600.0
    assert isinstance(instance.leg(), Deferred)
    bench.alter(f"UPDATE jimeng_tasks SET {change} WHERE id = 1")  # noqa: S608 - of constants
    bench.emu.configure(duration=0.2)
    bench.emu.advance(7200.0)
    instance.arguments.update(given, deferrable=deferrable)
    with pytest.raises(JimengRunIncompleteError, match="Nothing new was paid for those"):
        instance.clear().finish()

    lines = [json.loads(each) for each in (bench.folder / "out" / "report.jsonl").read_text().splitlines()]
    # Which of the two was submitted first is chance.
    (left,) = [each for each in lines if each["outcome"] == "skipped"]
    assert words in left["error"]
    assert sum(each["outcome"] == "landed" for each in lines) == 1
    assert bench.accepted == 2
