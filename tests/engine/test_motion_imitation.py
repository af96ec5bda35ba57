# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Motion imitation on a real scheduler, triggerer and PostgreSQL; the emulator counts the money."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig

from tests.engine.rest import ApiError

if TYPE_CHECKING:
    from tests.engine.airflow_stack import AirflowStack
    from tests.postgres import Databases

SLOTS = 2
SECONDS = 3.0


@pytest.fixture(scope="module")
def vendor() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=SLOTS, duration=SECONDS, results="cheap")) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def ledger_url(postgres_databases: Databases) -> str:
    return postgres_databases.create("ledger")


@pytest.fixture(scope="module")
def engine(
    start_stack: Callable[..., AirflowStack], vendor: Emulator, ledger_url: str
) -> Iterator[AirflowStack]:
    connection = {
        "conn_type": "volcengine",
        "login": vendor.config.access_key,
        "password": vendor.config.secret_key,
        "host": vendor.url,
        "extra": {"max_concurrency": SLOTS, "submit_qps": 20, "query_qps": 20},
    }
    stack = start_stack(
        env={
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(connection),
            "AIRFLOW__JIMENG__LEDGER_URL": ledger_url,
            # Nobody serves the inputs of these tests.
            "AIRFLOW__JIMENG__PROBE": "False",
        }
    )
    yield stack
    stack.stop()


@pytest.fixture
def items(vendor: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., list[dict]]:
    def make(count: int, *, prefix: str = request.node.name) -> list[dict[str, str]]:
        return [
            {
                "image_url": f"{vendor.url}/media/{prefix}-{number}.png",
                "video_url": f"{vendor.url}/media/{prefix}.mp4",
                "output": str(tmp_path / f"{number:03d}.mp4"),
            }
            for number in range(count)
        ]

    return make


def accepted(vendor: Emulator) -> int:
    return int(vendor.ledger()["totals"]["accepted"])


def refused(vendor: Emulator) -> int:
    return int(vendor.ledger()["totals"]["refused"])


def landed(items: list[dict[str, str]]) -> list[bool]:
    return [Path(item["output"]).read_bytes()[4:8] == b"ftyp" for item in items]


class RunningStretches:
    """How long task instances were seen running without a break, sampled."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        self.longest: dict[int, float] = defaultdict(float)

    def look(self, instances: list[dict[str, Any]]) -> None:
        now = time.monotonic()
        for each in instances:
            index = each["map_index"]
            if each["state"] == "running":
                self._since.setdefault(index, now)
                self.longest[index] = max(self.longest[index], now - self._since[index])
            else:
                self._since.pop(index, None)


def test_forty_mapped_items_at_two_slots_pay_forty_and_a_rerun_pays_nothing(engine, vendor, items):
    dag, wanted = "imitation_mapped", items(40)
    before, refusals = accepted(vendor), refused(vendor)
    engine.api.wait_for_dag(dag)
    engine.api.unpause(dag)
    run_id = engine.api.trigger(dag, {"items": wanted})
    stretches = RunningStretches()

    def over() -> bool:
        stretches.look(engine.api.task_instances(dag, run_id, "imitate"))
        return engine.api.dag_run(dag, run_id)["state"] in ("success", "failed")

    engine.api.wait("40 items", over, 480)

    assert engine.api.dag_run(dag, run_id)["state"] == "success", engine.api.states(dag, run_id)
    assert all(landed(wanted))
    assert accepted(vendor) - before == 40
    assert refused(vendor) - refusals <= 4
    assert max(slots["max_in_use"] for slots in vendor.ledger()["slots"].values()) <= SLOTS
    print(json.dumps(vendor.ledger()["totals"]), f"longest leg seen: {max(stretches.longest.values()):.1f} s")
    # An item waits for minutes for its slot; no worker does: a leg is short, even on a busy machine.
    assert max(stretches.longest.values(), default=0.0) < 15.0

    engine.api.clear(dag, run_id)
    assert engine.api.wait_for_run(dag, run_id, 300)["state"] == "success"
    assert accepted(vendor) - before == 40

    changed = [dict(item) for item in wanted[:8]]
    changed[7]["image_url"] = changed[7]["image_url"].replace(".png", "-other.png")
    again = engine.api.run(dag, {"items": changed}, seconds=300)
    assert again["state"] == "success"
    assert accepted(vendor) - before == 41


def test_submits_that_nobody_watches_yet_free_their_slots(engine, vendor, items):
    wanted = items(6)
    before = accepted(vendor)
    run = engine.api.run("imitation_blocks", {"items": wanted}, seconds=300)

    assert run["state"] == "success", engine.api.states("imitation_blocks", run["dag_run_id"])
    assert all(landed(wanted))
    assert accepted(vendor) - before == 6


def test_a_group_of_building_blocks_per_item_lands_each(engine, vendor, items):
    wanted = items(5)
    before = accepted(vendor)
    run = engine.api.run("imitation_groups", {"items": wanted}, seconds=300)

    assert run["state"] == "success", engine.api.states("imitation_groups", run["dag_run_id"])
    assert all(landed(wanted))
    assert accepted(vendor) - before == 5


def test_two_dags_that_want_the_same_content_at_once_pay_once(engine, vendor, items, tmp_path):
    wanted = items(4)
    elsewhere = [{**item, "output": str(tmp_path / "twin" / Path(item["output"]).name)} for item in wanted]
    before = accepted(vendor)
    for dag in ("imitation_mapped", "imitation_mapped_twin"):
        engine.api.wait_for_dag(dag)
        engine.api.unpause(dag)
    runs = {
        "imitation_mapped": engine.api.trigger("imitation_mapped", {"items": wanted}),
        "imitation_mapped_twin": engine.api.trigger("imitation_mapped_twin", {"items": elsewhere}),
    }

    states = {dag: engine.api.wait_for_run(dag, run_id, 300)["state"] for dag, run_id in runs.items()}
    assert states == {"imitation_mapped": "success", "imitation_mapped_twin": "success"}
    assert accepted(vendor) - before == 4
    for one, other in zip(wanted, elsewhere, strict=True):
        assert Path(one["output"]).read_bytes() == Path(other["output"]).read_bytes()


def test_a_slot_held_by_a_deleted_dags_task_is_settled_by_the_next_claim(engine, vendor, items):
    orphans = [items(1, prefix=f"orphan-{number}") for number in range(SLOTS)]
    for orphan in orphans:
        run = engine.api.run("imitation_submit_only", {"items": orphan}, seconds=120)
        assert run["state"] == "success"
    engine.api.delete_dag("imitation_submit_only")
    wanted = items(2, prefix="after-the-orphans")
    before = accepted(vendor)

    run = engine.api.run("imitation_mapped", {"items": wanted}, seconds=240)
    assert run["state"] == "success"
    assert accepted(vendor) - before == 2


def test_a_backfill_pays_each_day_once_and_reprocessing_it_pays_nothing(engine, vendor, tmp_path):
    dag = "imitation_daily"
    engine.api.set_variable("imitation_media", f"{vendor.url}/media")
    engine.api.set_variable("imitation_output", str(tmp_path))
    engine.api.unpause(dag)

    def paid() -> list[str]:
        # The schedule itself runs the newest day too.
        images = [task["content"]["image_url"] for task in vendor.ledger()["tasks"].values()]
        return sorted(image.rpartition("/")[2] for image in images if "/day-2026-03-" in image)

    def finished(tries: int) -> bool:
        runs = [run for run in engine.api.dag_runs(dag) if run["run_type"] == "backfill"]
        done = [run for run in runs if run["state"] == "success"]
        instances = [engine.api.task_instance(dag, run["dag_run_id"], "imitate") for run in done]
        return len(done) == 3 and all(each["try_number"] >= tries for each in instances)

    def begun(reprocess: str) -> bool:
        try:
            engine.api.backfill(dag, "2026-03-01", "2026-03-03", reprocess=reprocess)
        except ApiError as error:
            if error.status != 409:
                raise
            # The scheduler closes a backfill some time after its last run.
            return False
        return True

    for tries, reprocess in ((1, "none"), (2, "completed")):
        engine.api.wait("a new backfill", lambda reprocess=reprocess: begun(reprocess), 90)
        engine.api.wait(f"backfill, {reprocess}", lambda tries=tries: finished(tries), 240)

    assert paid() == [f"day-2026-03-0{day}.png" for day in (1, 2, 3)]
    assert {f"2026-03-0{day}.mp4" for day in (1, 2, 3)} <= {path.name for path in tmp_path.glob("*.mp4")}


def test_a_link_leads_to_the_task_while_it_is_deferred_and_to_the_result_after_it(engine, vendor, items):
    dag, wanted = "imitation_groups", items(1)
    vendor.configure(duration=12.0)
    try:
        engine.api.unpause(dag)
        run_id = engine.api.trigger(dag, {"items": wanted})
        engine.api.wait_for_task(dag, run_id, "one_item.wait", {"deferred"}, map_index=0, seconds=90)
        while_deferred = engine.api.links(dag, run_id, "one_item.wait", 0)["Jimeng result"]
        assert while_deferred is not None
        assert requests.get(while_deferred, timeout=10).status_code == 200
        assert engine.api.wait_for_run(dag, run_id, 120)["state"] == "success"
    finally:
        vendor.configure(duration=SECONDS)

    result = engine.api.xcom(dag, run_id, "one_item.wait", map_index=0)
    assert f"/_emulator/tasks/{result['task_id']}" in while_deferred
    assert (
        engine.api.links(dag, run_id, "one_item.land", 0)["Jimeng result"] == f"file://{wanted[0]['output']}"
    )


@pytest.mark.parametrize("waiting", ["worker", "deferred"])
def test_a_batch_lands_its_manifest_and_a_rerun_pays_nothing(engine, vendor, tmp_path, waiting):
    dag = f"imitation_batch_{waiting}"
    manifest = [
        {
            "id": f"{waiting}-{number}",
            "image": f"{vendor.url}/media/{waiting}-{number}.png",
            "video": f"{vendor.url}/media/batch.mp4",
        }
        for number in range(8)
    ]
    before = accepted(vendor)
    run = engine.api.run(dag, {"items": manifest, "output": str(tmp_path)}, seconds=240)
    assert run["state"] == "success", engine.api.states(dag, run["dag_run_id"])
    summary = engine.api.xcom(dag, run["dag_run_id"], "imitate")
    assert (summary["total"], summary["landed"], summary["submits"]) == (8, 8, 8)
    assert all((tmp_path / f"{line['id']}.mp4").read_bytes()[4:8] == b"ftyp" for line in manifest)
    assert len((tmp_path / "report.jsonl").read_text().splitlines()) == 8
    assert accepted(vendor) - before == 8

    again = engine.api.run(dag, {"items": manifest[::-1], "output": str(tmp_path)}, seconds=240)
    summary = engine.api.xcom(dag, again["dag_run_id"], "imitate")
    assert (again["state"], summary["reused"], summary["submits"]) == ("success", 8, 0)
    assert accepted(vendor) - before == 8
