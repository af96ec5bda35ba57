# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a retry, whose arguments make another content by now, goes on with: what its own tries have begun."""

from __future__ import annotations

from typing import Any

from airflow_provider_jimeng.operators.jimeng import JimengSubmitTaskOperator

from tests.legs import Bench, DagRun, Deferred, Instance


def submitting(bench: Bench, **arguments: Any) -> Instance:
    given = {"image_url": bench.image, "video_url": bench.video, **arguments}
    return DagRun().instance(JimengSubmitTaskOperator, "submit", **given)


def test_a_retry_after_a_clear_brings_home_what_was_paid_for_since_the_clear(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = bench.imitation(variant=1)
    assert isinstance(instance.leg(), Deferred)
    instance.arguments["variant"] = 2
    assert isinstance(instance.clear().leg(), Deferred)
    bench.emu.advance(7200.0)
    out = instance.again().a_try()

    assert out["task_id"] == bench.rows()[1].task_id
    assert bench.states() == ["submitted", "landed"]
    assert bench.accepted == 2


def test_a_retry_after_a_clear_leaves_alone_what_was_begun_before_it_and_submits(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = submitting(bench, variant=1)
    before = instance.leg()
    bench.connect(max_concurrency=1)
    instance.arguments["variant"] = 2
    assert isinstance(instance.clear().leg(), Deferred)
    bench.connect(max_concurrency=2)
    retried = instance.again().leg()

    assert retried["task_id"] != before["task_id"]
    assert (retried["reused"], bench.accepted) == (False, 2)


def test_a_retry_goes_on_with_its_own_content_whatever_else_the_earlier_tries_paid_for(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = submitting(bench, variant=1)
    instance.leg()
    instance.arguments["variant"] = 2
    again = instance.clear().leg()
    found = instance.again().leg()

    assert (found["task_id"], found["reused"]) == (again["task_id"], True)
    # One that an earlier release paid for in a retry, or that another process of the same try did.
    bench.alter("UPDATE jimeng_tasks SET try_number = 2 WHERE id = 1")
    assert instance.again().leg()["task_id"] == again["task_id"]
