# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A manifest that is corrected between two tries: what the first one paid for is stored and told of."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun, Deferred, Instance


def batch(bench: Bench, names: str, *, run_id: str = "run-1", **arguments: Any) -> Instance:
    given = {
        "manifest": lines(bench, names),
        "output": str(bench.folder / "out"),
        "on_input_changed": "reuse",
        "poke_interval": 0.1,
        "deferrable": True,
        **arguments,
    }
    return DagRun(run_id).instance(JimengBatchOperator, "batch", **given)


def lines(bench: Bench, names: str) -> list[dict[str, Any]]:
    return [
        {"id": name, "image": f"{bench.emu.url}/media/n-{name}.png", "video": bench.video} for name in names
    ]


def corrected(bench: Bench, before: str, after: str, **arguments: Any) -> Instance:
    """Return an instance whose first try submitted some lines, and whose second one has others."""
    instance = batch(bench, before, **arguments)
    # However slow the machine is, nothing ends in the first try.
    bench.emu.configure(duration=3600.0)
    assert isinstance(instance.leg(), Deferred)
    bench.emu.advance(7200.0)
    instance.arguments["manifest"] = lines(bench, after)
    return instance.clear()


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_task_whose_line_was_taken_out_is_stored_under_its_own_name_and_told_of(
    bench: Bench, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    instance = corrected(bench, "ab", "b")
    paid = {row.content_key: row.task_id for row in bench.rows()}
    instance.arguments["deferrable"] = deferrable
    summary = instance.finish()

    assert (summary["total"], summary["landed"], summary["submits"]) == (1, 1, 2)
    assert summary["not_in_manifest"] == 1
    told = summary["not_in_manifest_tasks"][0]
    assert paid[told["content_key"]] == told["task_id"]
    assert told["error"] is None
    assert Path(told["uri"]).parent == bench.folder / "out" / ".jimeng"
    assert Path(told["uri"]).stat().st_size > 0
    assert bench.states() == ["landed", "landed"]
    assert bench.accepted == 2
    assert sorted(path.name for path in (bench.folder / "out").glob("*.mp4")) == ["b.mp4"]
    assert json.loads((bench.folder / "out" / "summary.json").read_text()) == summary
    assert any(str(told["task_id"]) in line for line in caplog.messages if "no longer asks" in line)

    again = instance.clear().finish()
    assert (again["landed"], again["not_in_manifest"], bench.accepted) == (1, 0, 2)


def test_one_that_is_taken_out_before_a_failed_dag_run_is_cleared_is_stored_and_told_of_too(
    bench: Bench,
) -> None:
    instance = corrected(bench, "ab", "b")
    # Airflow begins a DAG run anew when it is cleared once it is over.
    instance.run.start_date = dt.datetime.now(dt.UTC)
    summary = instance.finish()

    assert (summary["total"], summary["not_in_manifest"]) == (1, 1)
    assert summary["not_in_manifest_tasks"][0]["error"] is None
    assert bench.states() == ["landed", "landed"]
    assert bench.accepted == 2


def test_what_was_given_up_for_good_is_told_of_by_each_run_after_a_clear(bench: Bench) -> None:
    instance = corrected(bench, "ab", "b")
    (lost,) = [row for row in bench.rows() if "n-a" in str(row.inputs)]
    bench.ledger.record_expired(lost, message="not_found")
    bench.alter(
        "UPDATE jimeng_tasks SET submitted_at = submitted_at - 50000, created_at = created_at - 50000 "
        "WHERE id = ?",
        lost.id,
    )
    for _ in range(2):
        instance.run.start_date = dt.datetime.now(dt.UTC)
        summary = instance.clear().finish()
        assert [each["task_id"] for each in summary["not_in_manifest_tasks"]] == [lost.task_id]
        assert "may have been billed" in summary["not_in_manifest_tasks"][0]["error"]


def test_what_a_later_leg_gives_up_for_good_after_a_clear_is_told_of(bench: Bench) -> None:
    instance = corrected(bench, "ab", "b")
    instance.run.start_date = dt.datetime.now(dt.UTC)
    (old,) = [row for row in bench.rows() if "n-a" in str(row.inputs)]
    bench.alter(
        "UPDATE jimeng_tasks SET submitted_at = submitted_at - 50000, created_at = created_at - 50000 "
        "WHERE id = ?",
        old.id,
    )
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={old.task_id}")
    summary = instance.finish()

    assert (summary["total"], summary["not_in_manifest"]) == (1, 1)
    assert summary["not_in_manifest_tasks"][0]["task_id"] == old.task_id


def test_a_run_whose_manifest_did_not_change_tells_of_none(bench: Bench) -> None:
    bench.emu.add_fault("done", "code", code=50518, match="n-a.", times=0)
    instance = batch(bench, "abc", tolerance=1)
    summary = instance.finish()

    assert (summary["landed"], summary["failed"]) == (2, 1)
    assert (summary["not_in_manifest"], summary["not_in_manifest_tasks"]) == (0, [])


# -- a manifest that is half written when a later leg reads it ---------------------------------------------


def a_file(bench: Bench, names: str, *, cut: int = 0) -> str:
    file = bench.folder / "manifest.jsonl"
    text = "".join(json.dumps(line) + "\n" for line in lines(bench, names))
    file.write_text(text[: len(text) - cut])
    return str(file)


def test_a_manifest_that_is_half_written_costs_a_run_a_try_and_nothing_else(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = batch(bench, "", manifest=a_file(bench, "abc"))
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.emu.advance(7200.0)
    bench.emu.configure(duration=0.2)
    event = instance.watch(left)
    a_file(bench, "abc", cut=20)
    with pytest.raises(JimengInputError, match="what earlier ones submitted is paid for") as raised:
        instance.leg(left, event)
    assert not isinstance(raised.value, AirflowFailException)
    assert "line 3" in str(raised.value)
    with pytest.raises(JimengInputError) as again:
        instance.again().leg()
    assert not isinstance(again.value, AirflowFailException)

    a_file(bench, "abc")
    summary = instance.again().a_try()
    assert (summary["landed"], summary["submits"], bench.accepted) == (3, 3, 3)


def test_a_list_that_a_later_leg_renders_wrong_is_for_a_person_to_look_at(bench: Bench) -> None:
    bench.emu.configure(duration=3600.0)
    instance = batch(bench, "abc")
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.emu.advance(7200.0)
    bench.emu.configure(duration=0.2)
    event = instance.watch(left)
    right = instance.arguments["manifest"]
    instance.arguments["manifest"] = [*right[:2], {"image_url": "no URL"}]
    with pytest.raises(JimengInputError, match="what earlier ones submitted is paid for") as raised:
        instance.leg(left, event)

    assert isinstance(raised.value, AirflowFailException)
    assert "A clear goes on" in str(raised.value)
    assert "A retry" not in str(raised.value)
    instance.arguments["manifest"] = right
    assert instance.clear().finish()["submits"] == 3
    assert bench.accepted == 3


@pytest.mark.parametrize("gone", [True, False])
def test_a_manifest_that_is_away_for_a_moment_is_read_again(bench: Bench, gone: bool) -> None:
    bench.emu.configure(duration=3600.0)
    file = a_file(bench, "ab")
    instance = batch(bench, "", manifest=file)
    left = instance.leg()
    assert isinstance(left, Deferred)
    bench.emu.advance(7200.0)
    event = instance.watch(left)
    Path(file).unlink() if gone else Path(file).write_text("")
    with pytest.raises(JimengInputError, match="A retry reads the manifest again") as raised:
        instance.leg(left, event)

    assert not isinstance(raised.value, AirflowFailException)
    a_file(bench, "ab")
    assert instance.again().a_try()["landed"] == 2
    assert bench.accepted == 2


def test_a_manifest_that_is_wrong_from_the_beginning_ends_the_run_and_a_cleared_one(bench: Bench) -> None:
    instance = batch(bench, "", manifest=a_file(bench, "abc", cut=20))
    for person in ("triggers", "clears"):
        if person == "clears":
            instance.clear()
        with pytest.raises(JimengInputError, match="nothing was sent, nothing was paid") as raised:
            instance.leg()
        assert isinstance(raised.value, AirflowFailException)
        assert "earlier ones" not in str(raised.value)

    assert bench.accepted == 0
