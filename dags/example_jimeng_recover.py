# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Submits of unknown outcome: listed every morning, and settled by whoever triggers the DAG with a decision.

The vendor can't be asked what became of a submit that got no answer, so nothing is decided here. Look at the
vendor's console or bill, then trigger this DAG: *adopt* where there is a task, *release* where there is none.
"""

from __future__ import annotations

import datetime
from typing import Any

from airflow.sdk import DAG, Param, task
from airflow_provider_jimeng.hooks.recovery import JimengRecoveryHook

with DAG(
    dag_id="example_jimeng_recover",
    schedule="@daily",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    tags=["example", "jimeng"],
    doc_md=__doc__,
    params={
        "release": Param([], type="array", items={"type": "integer"}, title="Rows to submit again"),
        "adopt": Param({}, type="object", title="Row: the vendor's task id, as text"),
        "reason": Param("", type="string", title="Why; kept in the ledger"),
    },
):
    # [START howto_jimeng_recover]
    @task
    def unknowns() -> list[dict[str, Any]]:
        """Say which submits nobody knows the outcome of."""
        found = JimengRecoveryHook().unknowns()
        for each in found:
            print(f"row {each['record']}: sent {each['sent_at']} by {each['asked_by']}: {each['message']}")
        return found

    @task
    def settle(found: list[dict[str, Any]], params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Do what the person said, and nothing else."""
        params, hook = params or {}, JimengRecoveryHook()
        reason = params["reason"]
        settled = [hook.release(row, reason=reason) for row in params["release"]]
        settled += [hook.adopt(int(row), task_id, reason=reason) for row, task_id in params["adopt"].items()]
        print(f"{len(found)} unknown, {len(settled)} of them settled now.")
        return settled

    settle(unknowns())  # type: ignore[arg-type]
    # [END howto_jimeng_recover]
