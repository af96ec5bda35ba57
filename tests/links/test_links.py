# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Links: there while the task is deferred, and never a URL that is signed or expires."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_jimeng.links.jimeng import JimengResultLink, object_page, task_page
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Deferred, Instance


def link(instance: Instance) -> str:
    key: Any = None
    assert any(isinstance(each, JimengResultLink) for each in instance.operator.operator_extra_links)
    return JimengResultLink().get_link(instance.operator, ti_key=key)


def test_a_deferred_task_points_at_the_vendors_task_and_then_at_the_result(bench: Bench) -> None:
    instance = bench.imitation()
    left = instance.leg()
    assert isinstance(left, Deferred)
    (task_id,) = bench.emu.ledger()["tasks"]
    assert link(instance) == f"{bench.emu.url}/_emulator/tasks/{task_id}"

    instance.leg(left, instance.watch(left))
    assert link(instance) == f"file://{bench.output}"


def test_a_task_that_waits_for_a_slot_has_a_link_too(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=60)
    bench.submit()
    waiting = bench.imitation(DagRun("run-2"), variant=1)
    waiting.leg()
    assert link(waiting) == f"{bench.emu.url}/"


def test_a_sensor_points_at_its_task(bench: Bench) -> None:
    reference = bench.submit()
    instance = DagRun().instance(JimengTaskSensor, "wait", task=reference)
    instance.leg()
    assert link(instance).endswith(reference["task_id"])


def test_an_operator_that_never_ran_has_an_empty_link(bench: Bench) -> None:
    instance = bench.imitation()
    instance.operator = instance._built()
    assert link(instance) == ""


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("/data/a b.mp4", "file:///data/a%20b.mp4"),
        ("file:///data/a.mp4", "file:///data/a.mp4"),
        ("s3://conn@bucket/a/b.mp4", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=a/b.mp4"),
        ("gs://bucket/a.mp4", "https://console.cloud.google.com/storage/browser/_details/bucket/a.mp4"),
        (
            "tos://bucket/a.mp4",
            "https://console.volcengine.com/tos/bucket/setting?bucket=bucket&prefix=a.mp4",
        ),
        ("memory://bucket/a.mp4", "memory://bucket/a.mp4"),
    ],
)
def test_an_object_has_a_page(uri: str, page: str) -> None:
    assert object_page(uri) == page


def test_a_task_at_the_vendor_has_the_consoles_page() -> None:
    page = task_page("https://visual.volcengineapi.com", "7710993105735127851", loopback=False)
    assert page.startswith("https://console.volcengine.com/")
    assert (
        task_page("http://127.0.0.1:1", "a/b?c", loopback=True)
        == "http://127.0.0.1:1/_emulator/tasks/a%2Fb%3Fc"
    )
