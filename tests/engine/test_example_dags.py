# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The example DAGs, as they are, on a real scheduler, triggerer and PostgreSQL; and what its users see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig, result_tag
from airflow_provider_jimeng.emulator.sample_media import make_media
from airflow_provider_jimeng.hooks.metadata import CONNECTION_FIELDS

from tests.bulk.chromium import chromium_page
from tests.engine import connection_form
from tests.engine.rest import ApiError
from tests.statsd_listener import StatsDListener

if TYPE_CHECKING:
    from tests.engine.airflow_stack import AirflowStack
    from tests.postgres import Databases

DAGS = Path(__file__).parents[2] / "dags"
#: Nobody waits three of these for the release of an unknown.
SUBMIT_DEADLINE = 3


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples") / "media"
    make_media(folder, images=12, videos=3)
    return folder


@pytest.fixture(scope="module")
def vendor(media: Path) -> Iterator[Emulator]:
    config = EmulatorConfig(concurrency=4, duration=1.0, results="cheap", inputs="fetch", media_dir=media)
    with Emulator(config) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples-output")


@pytest.fixture(scope="module")
def statsd() -> Iterator[StatsDListener]:
    with StatsDListener() as listener:
        yield listener


@pytest.fixture(scope="module")
def engine(
    start_stack: Callable[..., AirflowStack],
    vendor: Emulator,
    postgres_databases: Databases,
    output: Path,
    statsd: StatsDListener,
) -> Iterator[AirflowStack]:
    connection = {
        "conn_type": "volcengine",
        "login": vendor.config.access_key,
        "password": vendor.config.secret_key,
        "host": vendor.url,
        "extra": {
            "account": "studio",
            "max_concurrency": 4,
            "submit_qps": 20,
            "query_qps": 20,
            "submit_deadline": SUBMIT_DEADLINE,
            "price_per_second": 1.5,
        },
    }
    stack = start_stack(
        DAGS,
        env={
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(connection),
            "AIRFLOW__JIMENG__LEDGER_URL": postgres_databases.create("ledger"),
            "JIMENG_EXAMPLE_MEDIA": f"{vendor.url}/media",
            "JIMENG_EXAMPLE_OUTPUT": str(output),
            "JIMENG_EXAMPLE_POLL": "0.5",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            **statsd.environment,
        },
    )
    yield stack
    stack.stop()


def accepted(vendor: Emulator) -> int:
    return int(vendor.ledger()["totals"]["accepted"])


def test_a_bulk_run_ends_in_an_asset_whose_summary_reaches_the_dag_that_follows(engine, vendor, output):
    downstream = "example_jimeng_bulk_downstream"
    before = accepted(vendor)
    engine.api.wait_for_dag(downstream)
    engine.api.unpause(downstream)
    run = engine.api.run("example_jimeng_bulk_manifest", {"count": 14}, seconds=240)
    assert run["state"] == "success", engine.api.states("example_jimeng_bulk_manifest", run["dag_run_id"])
    summary = json.loads((output / "bulk" / "summary.json").read_text())
    assert (summary["total"], summary["landed"], accepted(vendor) - before) == (14, 14, 14)

    def followed() -> Any:
        return next((each for each in engine.api.dag_runs(downstream) if each["state"] == "success"), None)

    follower = engine.api.wait("the DAG that follows the asset", followed, 120)
    told = engine.api.xcom(downstream, follower["dag_run_id"], "look")
    assert told == f"14 new, 0 known: {summary['gallery_uri']}"
    again = engine.api.run("example_jimeng_bulk_manifest", {"count": 14}, seconds=240)
    assert again["state"] == "success"
    assert accepted(vendor) - before == 14


def test_a_backfill_of_manifests_pays_each_content_once_and_reprocessing_pays_nothing(engine, vendor, output):
    dag = "example_jimeng_backfill"
    before = accepted(vendor)
    engine.api.wait_for_dag(dag)
    engine.api.unpause(dag)

    def begun(reprocess: str) -> bool:
        try:
            engine.api.backfill(dag, "2026-03-02", "2026-03-04", reprocess=reprocess)
        except ApiError as error:
            if error.status != 409:
                raise
            # The scheduler closes a backfill some time after its last run.
            return False
        return True

    def finished(tries: int) -> bool:
        runs = [run for run in engine.api.dag_runs(dag) if run["run_type"] == "backfill"]
        done = [run for run in runs if run["state"] == "success"]
        instances = [engine.api.task_instance(dag, run["dag_run_id"], "imitate") for run in done]
        return len(done) == 3 and all(each["try_number"] >= tries for each in instances)

    paid = []
    for tries, reprocess in ((1, "none"), (2, "completed")):
        engine.api.wait("a new backfill", lambda reprocess=reprocess: begun(reprocess), 90)
        engine.api.wait(f"backfill, {reprocess}", lambda tries=tries: finished(tries), 240)
        paid.append(accepted(vendor) - before)

    days = sorted(path.name for path in (output / "backfill").iterdir() if path.name.startswith("2026-03"))
    assert days == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert all(len(list((output / "backfill" / day).glob("*.mp4"))) == 2 for day in days)
    # The schedule itself runs the newest day too, whose items may be among these.
    assert paid[0] == paid[1]
    assert vendor.ledger()["paid_more_than_once"] == []


def test_the_second_product_and_a_picture_land_and_are_paid_once(engine, vendor, output):
    dag = "example_jimeng_other_products"
    before = accepted(vendor)
    vendor.configure(pictures=2)
    run = engine.api.run(dag, seconds=240)
    assert run["state"] == "success", engine.api.states(dag, run["dag_run_id"])
    folder = output / "other-products"
    assert (folder / "imitated.mp4").read_bytes()[4:8] == b"ftyp"
    told = engine.api.xcom(dag, run["dag_run_id"], "keep")
    assert (told["content_type"], len(told["further"])) == ("image/jpeg", 1)
    tags = [result_tag((folder / name).read_bytes()) for name in ("poster.jpeg", "poster-2.jpeg")]
    assert [tag and tag["number"] for tag in tags] == [1, 2]
    assert accepted(vendor) - before == 2
    again = engine.api.run(dag, seconds=240)
    assert again["state"] == "success"
    assert accepted(vendor) - before == 2


def test_an_unknown_is_listed_released_by_name_and_then_lands(engine, vendor, output):
    single = "example_jimeng_motion_imitation"
    vendor.add_fault("submit:50500,created=false")
    # A pair that no other test of this account wants.
    wanted = {
        "image_url": f"{vendor.url}/media/character-12-blue.png",
        "video_url": f"{vendor.url}/media/template-03-walk.mp4",
        "output": str(output / "recovered.mp4"),
    }
    run = engine.api.run(single, wanted, seconds=120)
    assert run["state"] == "failed"
    listed = engine.api.run("example_jimeng_recover", seconds=120)
    found = engine.api.xcom("example_jimeng_recover", listed["dag_run_id"], "unknowns")
    assert [each["code"] for each in found] == [50500]
    assert engine.api.xcom("example_jimeng_recover", listed["dag_run_id"], "settle") == []

    def released() -> bool:
        decision = {"release": [found[0]["record"]], "reason": "not in the console"}
        settled = engine.api.run("example_jimeng_recover", decision, seconds=120)
        return bool(settled["state"] == "success")

    # The account is young: three submit deadlines have to pass.
    engine.api.wait("the release", released, 60)
    before = accepted(vendor)
    again = engine.api.run(single, wanted, seconds=120)
    assert again["state"] == "success"
    assert (output / "recovered.mp4").read_bytes()[4:8] == b"ftyp"
    assert accepted(vendor) - before == 1


def test_a_spend_waits_for_a_person_who_reads_the_estimate_and_approves_or_not(engine, vendor, output):
    dag = "example_jimeng_approval"
    engine.api.unpause(dag)
    before = accepted(vendor)

    def asked(variant: int) -> tuple[str, str, str]:
        run = engine.api.trigger(dag, {"count": 3, "variant": variant})
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"

        def look() -> Any:
            try:
                return engine.api.call("GET", path)
            except ApiError as error:
                if error.status != 404:
                    raise
            return None

        detail = engine.api.wait("the question", look, 120)
        return run, path, f"{detail['subject']} {detail['body']}"

    def answer(path: str, option: str) -> None:
        # As long as a person takes to read, at the least: a task that is resumed before Airflow has noticed
        # that its worker ended counts as killed.
        time.sleep(5)
        engine.api.call("PATCH", path, {"chosen_options": [option], "params_input": {}})

    run, path, told = asked(7)
    plan = engine.api.xcom(dag, run, "plan")
    assert "Pay for 3 new clips?" in told
    assert f"| cost, about | {plan['estimate']['cost']} |" in told
    assert plan["estimate"]["cost"] > 0
    # Nothing is paid while the question stands.
    assert accepted(vendor) == before
    answer(path, "Approve")
    assert engine.api.wait_for_run(dag, run, 180)["state"] == "success", engine.api.states(dag, run)
    assert accepted(vendor) - before == 3
    assert len(list((output / "approval").glob("*.mp4"))) == 3

    run, path, _ = asked(8)
    answer(path, "Reject")
    engine.api.wait_for_run(dag, run, 120)
    assert engine.api.task_instance(dag, run, "imitate")["state"] == "skipped"
    assert accepted(vendor) - before == 3


def test_the_hook_in_tasks_pays_once_and_a_coroutine_waits_for_all(engine, vendor, output):
    dag = "example_jimeng_taskflow"
    before = accepted(vendor)
    run = engine.api.run(dag, seconds=180)
    assert run["state"] == "success", engine.api.states(dag, run["dag_run_id"])
    assert accepted(vendor) - before == 2
    assert len(list((output / "taskflow").glob("*.mp4"))) == 2

    submits = engine.api.task_instances(dag, run["dag_run_id"], "submit")
    assert {each["rendered_map_index"] for each in submits} == {
        "character-07-rose.png",
        "character-08-teal.png",
    }
    links = [engine.api.links(dag, run["dag_run_id"], "land", index) for index in (0, 1)]
    assert {each["Jimeng result"] for each in links} == {
        f"file://{path}" for path in (output / "taskflow").glob("*.mp4")
    }
    # Cleared, every one of them finds what was paid for.
    engine.api.clear(dag, run["dag_run_id"])
    assert engine.api.wait_for_run(dag, run["dag_run_id"], 180)["state"] == "success"
    assert accepted(vendor) - before == 2


def test_workers_and_the_triggerer_publish_what_the_vendor_saw(engine, vendor, output, statsd):
    """
    Each accepted submit and each query of this Airflow's arrives at the StatsD, whoever made it.

    A question that was ended or lost on its way is told, and did not arrive: 2 of 42 once, on a busy machine.
    """
    wanted = {
        "image_url": f"{vendor.url}/media/character-11-amber.png",
        "video_url": f"{vendor.url}/media/template-03-walk.mp4",
        "output": str(output / "counted.mp4"),
    }
    run = engine.api.run("example_jimeng_motion_imitation", wanted, seconds=120)
    assert run["state"] == "success", engine.api.states("example_jimeng_motion_imitation", run["dag_run_id"])

    assert statsd.wait_for("jimeng.submits", accepted(vendor)) == accepted(vendor)
    arrived = vendor.ledger()["totals"]["queries"]
    assert arrived <= statsd.total("jimeng.queries") <= 1.1 * arrived
    assert {"jimeng.landed", "jimeng.finished", "jimeng.processing", "jimeng.slot_wait"} <= statsd.names


async def test_the_connection_form_is_filled_in_and_tested_in_a_browser(engine, vendor, output, tmp_path):
    """`docs/images/connection-form.png` is a copy of the picture that is left in the outputs' folder."""
    values = {
        "connection_id": "studio",
        "host": vendor.url,
        "login": vendor.config.access_key,
        "password": vendor.config.secret_key,
        # Airflow 3.3.2 refuses to test a connection without a port: apache/airflow#73298.
        "port": vendor.url.rpartition(":")[2],
        "account": "studio",
        "max_concurrency": "2",
        "daily_submit_limit": "500",
        "price_per_second": "1.5",
    }
    async with chromium_page(tmp_path / "profile", connection_form.WIDTH, connection_form.HEIGHT) as page:
        form = await connection_form.fill_in(page, engine.api.base_url, values)
        said = await connection_form.press_test(page)

    for name, field in CONNECTION_FIELDS.items():
        shown, schema = form.fields[name], field["schema"]
        assert field["label"] in form.text
        assert field["description"] in form.text
        assert (shown["kind"] == "password") is (schema.get("format") == "password")
        if "minimum" in schema:
            assert (float(shown["low"]), float(shown["high"])) == (schema["minimum"], schema["maximum"])
    assert form.fields["host"]["placeholder"] == "https://visual.volcengineapi.com"
    assert "Test Connection Successful" in said
    assert "accepts the key and its signature; nothing was submitted" in said
    stored = engine.api.call("GET", "/connections/studio")
    extra = json.loads(stored["extra"])
    assert (stored["login"], stored["password"]) == (vendor.config.access_key, "***")
    assert (extra["max_concurrency"], extra["daily_submit_limit"], extra["price_per_second"]) == (
        "2",
        500,
        1.5,
    )
    assert len(form.picture) < 300_000
    (output / "connection-form.png").write_bytes(form.picture)
