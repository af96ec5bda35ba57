# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Airflow's own lineage: what a hook or an operator read and wrote, and no query string of it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from airflow_provider_jimeng.hooks import lineage
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.hooks.lineage import MOST, dataset_name, public_uri, tell_collector

from tests.airflow_versions import AIRFLOW
from tests.legs import Bench, bench, emu
from tests.operators.test_batch import batch

__all__ = ["bench", "emu"]

airflow_lineage = import_module("airflow.sdk.lineage" if AIRFLOW >= (3, 2) else "airflow.lineage.hook")
HookLineageCollector = airflow_lineage.HookLineageCollector


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the collector that Airflow makes where a plugin reads hook lineage."""
    made = HookLineageCollector()
    # 3.1 keeps the one that it has made in another way.
    getattr(airflow_lineage.get_hook_lineage_collector, "cache_clear", lambda: None)()
    monkeypatch.setattr(airflow_lineage, "get_hook_lineage_collector", lambda: made)
    return made


def collected(collector: Any) -> tuple[set[str], set[str]]:
    found = collector.collected_assets
    return {each.asset.uri for each in found.inputs}, {each.asset.uri for each in found.outputs}


def test_a_submit_by_the_hook_tells_its_inputs(bench: Bench, collector: Any) -> None:
    JimengHook().submit_motion_imitation(f"{bench.image}?X-Amz-Signature=secret", bench.video)

    assert collected(collector) == ({bench.image, bench.video}, set())


def test_each_way_to_land_tells_inputs_and_output(bench: Bench, collector: Any) -> None:
    bench.imitate()
    bench.blocks(output=f"{bench.folder}/out/blocks.mp4")

    assert collected(collector) == (
        {bench.image, bench.video},
        {f"file://{bench.output}", f"file://{bench.folder}/out/blocks.mp4"},
    )


def test_a_bulk_run_tells_its_items_and_its_report(bench: Bench, collector: Any) -> None:
    batch(bench, range(3)).finish()

    inputs, outputs = collected(collector)
    assert inputs == {bench.video, *(f"{bench.emu.url}/media/n-{each}.png" for each in range(3))}
    names = ("report.jsonl", "0.mp4", "1.mp4", "2.mp4")
    assert outputs == {f"file://{bench.folder}/out/{name}" for name in names}


def test_of_a_long_manifest_a_bounded_number_is_told(bench: Bench, collector: Any) -> None:
    places = [f"s3://bucket/{each}" for each in range(3 * MOST)]
    tell_collector(JimengHook(), places, places)

    assert [len(each) for each in collected(collector)] == [MOST, MOST]


def test_a_collector_that_breaks_is_no_trouble_of_the_tasks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise RuntimeError("a plugin of somebody's")

    monkeypatch.setattr(airflow_lineage, "get_hook_lineage_collector", broken)
    caplog.set_level("DEBUG", logger=lineage.__name__)

    assert bench.imitate()["reused"] is False
    assert "could not be told" in caplog.text


def test_a_row_tells_the_urls_of_any_products_body(bench: Bench, collector: Any) -> None:
    body = {
        "binary": ["https://a.example/x.png?token=1"],
        "more": {"mask": "https://a.example/m.png"},
        "n": 1,
    }
    bench.submit(req_key="jimeng_i2v_first_v30", body=body)

    assert collected(collector)[0] == {"https://a.example/x.png", "https://a.example/m.png"}


@pytest.mark.parametrize(
    ("place", "uri", "name"),
    [
        ("/data/a b.mp4", "file:///data/a%20b.mp4", ("file", "/data/a b.mp4")),
        ("file:///data/a.mp4", "file:///data/a.mp4", ("file", "/data/a.mp4")),
        ("s3://conn@bucket/a/b.mp4", "s3://bucket/a/b.mp4", ("s3://bucket", "a/b.mp4")),
        ("s3a://bucket/a", "s3://bucket/a", ("s3://bucket", "a")),
        ("gcs://bucket/a", "gs://bucket/a", ("gs://bucket", "a")),
        ("tos://bucket/猫.mp4", "tos://bucket/%E7%8C%AB.mp4", ("tos://bucket", "猫.mp4")),
        ("memory://bucket", "memory://bucket", ("memory://bucket", "/")),
        (
            "https://user:word@host:8/a.png?sig=secret#part",
            "https://host:8/a.png",
            ("https://host:8", "/a.png"),
        ),
        ("https://host", "https://host", ("https://host", "/")),
    ],
)
def test_a_place_is_named_without_what_may_be_a_secret(place: str, uri: str, name: tuple[str, str]) -> None:
    assert (public_uri(place), dataset_name(place)) == (uri, name)


def test_a_waiting_task_tells_its_inputs(bench: Bench, collector: Any) -> None:
    reference = bench.submit()
    collector._inputs.clear()
    bench.wait(reference)

    assert collected(collector)[0] == {bench.image, bench.video}


def test_a_chain_is_told_as_one(bench: Bench, collector: Any) -> None:
    """Landing knows from the ledger what the result was made of, whoever submitted it."""
    bench.blocks()
    collector._inputs.clear()
    bench.land({"task_id": bench.rows()[0].task_id, "req_key": bench.rows()[0].scope.req_key})

    assert collected(collector)[0] == {bench.image, bench.video}
