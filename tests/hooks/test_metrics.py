# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Numbers as Airflow publishes them, seen by a StatsD of the test's own; none of them can do harm."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from airflow.sdk._shared.observability.metrics import stats as _shared_stats
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from airflow_provider_jimeng.client import meter
from airflow_provider_jimeng.exceptions import JimengError, JimengUnknownSubmitError
from airflow_provider_jimeng.hooks import metrics
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.triggers.jimeng import JimengTaskTrigger

from tests.legs import Bench, DagRun, bench, emu, first_event
from tests.operators.test_batch import batch
from tests.statsd_listener import StatsDListener, Told

__all__ = ["bench", "emu"]

SCOPE = (("account", "tests"), ("req_key", "jimeng_dream_actor_m1_gen_video_cv"))


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsDListener]:
    """Yield a StatsD that this process publishes to, as a task's process does."""
    with StatsDListener() as listener:
        for name, value in listener.environment.items():
            monkeypatch.setenv(name, value)
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        yield listener
        # Airflow leaves its socket to the end of the process.
        backend: Any = _shared_stats._backend
        backend.statsd.close()
    monkeypatch.undo()
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    told: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(meter, "_publisher", lambda kind, name, value, tags: told.append((name, dict(tags))))
    return told


def test_an_item_is_counted_at_each_step_of_its_life(bench: Bench, statsd: StatsDListener) -> None:
    bench.imitate(deferrable=False)
    statsd.wait_for("jimeng.landed", 1)

    assert statsd.named("jimeng.submits") == [Told("airflow.jimeng.submits", SCOPE, 1, "c")]
    assert statsd.named("jimeng.landed") == [Told("airflow.jimeng.landed", SCOPE, 1, "c")]
    assert [(each.tags, each.value) for each in statsd.named("jimeng.finished")] == [
        ((SCOPE[0], ("outcome", "succeeded"), SCOPE[1]), 1)
    ]
    assert statsd.total("jimeng.queries") == bench.queries
    assert [each.kind for each in statsd.named("jimeng.slot_wait")] == ["ms"]
    [processing] = statsd.named("jimeng.processing")
    # Milliseconds: the vendor's tasks take 0.2 s here.
    assert 150 < processing.value < 60_000
    assert statsd.total("jimeng.landed_bytes") > 100


def test_a_second_wish_for_the_same_counts_no_submit_and_no_landing(
    bench: Bench, statsd: StatsDListener
) -> None:
    bench.imitate()
    bench.imitate(DagRun("run-2"))

    assert statsd.wait_for("jimeng.landed", 1) == statsd.total("jimeng.submits") == 1
    assert len(statsd.named("jimeng.slot_wait")) == 1


def test_a_bulk_run_counts_its_items_and_shows_how_far_it_is(bench: Bench, statsd: StatsDListener) -> None:
    summary = batch(bench).finish()
    statsd.wait_for("jimeng.landed", 6)

    assert statsd.total("jimeng.submits") == summary["submits"] == 6
    assert statsd.total("jimeng.landed") == 6
    assert statsd.total("jimeng.queries") == bench.queries
    last = statsd.named("jimeng.bulk.done")[-1]
    assert (last.value, last.tags) == (6, (("dag_id", "dag"), ("task_id", "batch")))
    assert statsd.names <= {f"jimeng.{name}" for name in metrics.METRICS}


def test_what_is_refused_and_what_is_unknown_is_told_apart(bench: Bench, statsd: StatsDListener) -> None:
    bench.emu.add_fault("submit:50430")
    bench.submit(deferrable=False)
    bench.emu.add_fault("submit:50500,created=false")
    with pytest.raises(JimengUnknownSubmitError):
        bench.submit(DagRun("run-2"), variant=1)
    statsd.wait_for("jimeng.unknown", 1)

    [refused] = statsd.named("jimeng.refused")
    assert (dict(refused.tags)["code"], refused.value) == ("50430", 1)
    assert statsd.total("jimeng.unknown") == statsd.total("jimeng.submits") == 1


def test_a_wait_for_a_slot_is_told_over_a_deferral(
    bench: Bench, published: list[tuple[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(
        meter,
        "_publisher",
        lambda kind, name, value, tags: waits.append(value) if name == "slot_wait" else None,
    )
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=1.0)
    bench.submit()
    DagRun("run-2").task(
        type(bench.imitation()._built()), "imitate", image_url=bench.image, video_url=bench.video,
        output=bench.output, variant=1,
    )  # fmt: skip

    assert waits[0] < 0.5 < waits[1] < 30


def test_a_raw_submit_is_counted_by_what_it_came_to(
    bench: Bench, published: list[tuple[str, dict[str, str]]]
) -> None:
    body = {"image_url": bench.image, "video_url": bench.video}
    raw = partial(JimengHook().unsafe_submit, "jimeng_dream_actor_m1_gen_video_cv", body)
    raw()
    for fault in ("submit:50429", "submit:50500,created=false"):
        bench.emu.add_fault(fault)
        with pytest.raises(JimengError):
            raw()

    assert [name for name, _ in published] == ["submits", "refused", "unknown"]


async def test_queries_of_an_event_loop_are_counted(
    bench: Bench, published: list[tuple[str, dict[str, str]]]
) -> None:
    await JimengHook().aget_result("7710993105735127851")

    assert [name for name, _ in published] == ["queries"]


def test_each_metric_that_is_published_is_declared_with_its_tags(
    bench: Bench, published: list[tuple[str, dict[str, str]]]
) -> None:
    bench.emu.add_fault("submit:50429")
    bench.imitate(deferrable=False)
    bench.emu.add_fault("submit:50500,created=false")
    batch(bench, tolerance=6).finish()

    seen = {(name, frozenset(tags)) for name, tags in published}
    assert seen == {(name, frozenset(tags)) for name, (_, tags) in metrics.METRICS.items()}


def test_a_backend_that_breaks_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no StatsD today")

    monkeypatch.setattr(
        metrics, "_stats", lambda where: SimpleNamespace(incr=broken, gauge=broken, timing=broken)
    )
    caplog.set_level("DEBUG", logger="airflow_provider_jimeng.client.meter")
    result = bench.imitate(deferrable=False)
    summary = batch(bench).finish()

    assert (result["reused"], summary["landed"]) == (False, 6)
    assert "could not be published" in caplog.text


def test_without_a_publisher_nothing_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    meter.publish_to(None)
    try:
        bench.imitate(deferrable=False)
        meter.gauge("bulk.done", 1.0, {})
    finally:
        metrics.start()
    assert bench.accepted == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("studio", "studio"),
        ("ak-1a2b", "ak-1a2b"),
        ("a,b=c d", "a_b_c_d"),
        ("", "_"),
        ("工作室", "xn--" + "工作室".encode("punycode").decode()),
    ],
)
def test_a_tag_is_one_that_every_backend_takes(name: str, value: str) -> None:
    assert metrics.tag_value(name) == value


@pytest.mark.parametrize(
    ("there", "where", "found"),
    [
        # 3.2 and later: one of a worker's, one of the components'.
        ({"airflow.sdk.observability.stats", "airflow.observability.stats"}, "worker", 0),
        ({"airflow.sdk.observability.stats", "airflow.observability.stats"}, "triggerer", 1),
        # 3.1: one for all.
        ({"airflow.stats"}, "worker", 2),
        ({"airflow.stats"}, "triggerer", 2),
        (set(), "worker", None),
    ],
)
def test_the_stats_of_each_airflow_are_found(
    there: set[str], where: str, found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("airflow.sdk.observability.stats", "airflow.observability.stats", "airflow.stats")
    kinds: list[Any] = [object() for _ in names]
    for name, kind in zip(names, kinds, strict=True):
        module = ModuleType(name)
        module.Stats = kind  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module if name in there else None)
    metrics._stats.cache_clear()
    try:
        stand = metrics._OF_WORKERS if where == "worker" else metrics._OF_COMPONENTS
        assert metrics._stats(stand) is (None if found is None else kinds[found])
        if found is None:
            metrics.publish(meter.Kind.COUNT, "submits", 1.0, {})
    finally:
        metrics._stats.cache_clear()


def test_a_triggerers_process_publishes_through_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_where", metrics._OF_WORKERS)
    asyncio.run(asyncio.to_thread(metrics.watch_from_triggerer))

    assert metrics._stats(metrics._where) is importlib.import_module("airflow.observability.stats").Stats


@pytest.mark.parametrize("on_a_triggerer", [True, False])
def test_a_trigger_says_where_it_runs_before_it_asks(
    bench: Bench, on_a_triggerer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under dag.test() a trigger runs in the task's own process, and has no task instance."""
    monkeypatch.setattr(metrics, "_where", metrics._OF_WORKERS)
    reference = bench.submit()
    trigger: Any = JimengTaskTrigger([reference])
    trigger.task_instance = SimpleNamespace(task_id="wait") if on_a_triggerer else None

    assert asyncio.run(first_event(trigger))["status"] == "finished"
    assert metrics._where == (metrics._OF_COMPONENTS if on_a_triggerer else metrics._OF_WORKERS)
