# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A manifest on a real scheduler and triggerer, both ways to wait; the emulator counts the money and the slots.

What is measured in full is told in docs/performance.md (``make bench-bulk``). The floors here only catch a
run that leaves slots standing: on a machine that does much else, tasks of three seconds say no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

from tests.benchmarks.bulk_engine import DAGS
from tests.benchmarks.slots import figures

if TYPE_CHECKING:
    from tests.engine.airflow_stack import AirflowStack
    from tests.postgres import Databases

SLOTS, ITEMS = 4, 16
FLOORS = {"worker": 0.6, "deferred": 0.2}


@pytest.fixture(scope="module")
def vendor() -> Iterator[Emulator]:
    config = EmulatorConfig(concurrency=SLOTS, duration=3.0, jitter=0.1, results="cheap", inputs="ignore")
    with Emulator(config) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def engine(
    start_stack: Callable[..., AirflowStack], vendor: Emulator, postgres_databases: Databases
) -> Iterator[AirflowStack]:
    connection = {
        "conn_type": "volcengine",
        "login": vendor.config.access_key,
        "password": vendor.config.secret_key,
        "host": vendor.url,
        "extra": {"max_concurrency": SLOTS, "query_qps": 20},
    }
    stack = start_stack(
        DAGS,
        env={
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(connection),
            "AIRFLOW__JIMENG__LEDGER_URL": postgres_databases.create("ledger"),
            "AIRFLOW__JIMENG__PROBE": "False",
        },
    )
    yield stack
    stack.stop()


@pytest.mark.parametrize("mode", list(FLOORS))
def test_a_manifest_keeps_the_slots_busy(
    engine: AirflowStack, vendor: Emulator, mode: str, tmp_path: Path
) -> None:
    vendor.reset()
    dag, manifest = f"bench_{mode}", tmp_path / "manifest.jsonl"
    lines = [
        {"image": f"{vendor.url}/media/{mode}-{number}.png", "video": f"{vendor.url}/media/{mode}.mp4"}
        for number in range(ITEMS)
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    engine.api.wait_for_dag(dag)
    engine.api.unpause(dag)
    run_id = engine.api.trigger(dag, {"manifest": str(manifest), "output": str(tmp_path / "out")})
    assert engine.api.wait_for_run(dag, run_id, 240)["state"] == "success"

    told = figures(vendor.ledger(), slots=SLOTS, items=ITEMS)
    assert (told.accepted, told.paid_twice, told.refused) == (ITEMS, 0, 0)
    assert told.most_in_use <= SLOTS
    assert told.utilisation >= FLOORS[mode]
    assert len(list((tmp_path / "out").glob("*.mp4"))) == ITEMS
    (instance,) = engine.api.task_instances(dag, run_id)
    # One try more is Airflow's own ("killed externally"), and free; without its hold a trigger used up four.
    assert instance["try_number"] <= 2
