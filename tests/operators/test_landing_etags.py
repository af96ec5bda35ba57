# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A store that gives the same bytes another etag: what is there stays there, and is not paid for again."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_jimeng.exceptions import JimengLandingError, JimengOutputExistsError
from airflow_provider_jimeng.media.target import Target
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun

policies = pytest.mark.parametrize("policy", ["fail", "resubmit"])


_numbers = itertools.count(1)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the objects of a store that marks each that is written: GCS, Azure, S3 with SSE-KMS."""
    usual = MemoryFileSystem.info
    files: dict[str, Any] = {}

    def info(self: Any, path: str, **options: Any) -> Any:
        found = usual(self, path, **options)
        file = files.get(self._strip_protocol(path))
        if file is not None:
            if not hasattr(file, "generation"):
                file.generation = next(_numbers)
            found["etag"] = f"g{file.generation}"
        return found

    monkeypatch.setattr(MemoryFileSystem, "store", files)
    monkeypatch.setattr(MemoryFileSystem, "info", info)
    return files


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each file that is read for its digest."""
    names: list[str] = []
    usual = Target.sha256

    def sha256(self: Target) -> str:
        names.append(self.uri)
        return usual(self)

    monkeypatch.setattr(Target, "sha256", sha256)
    return names


def label(store: dict[str, Any]) -> None:
    """Do what somebody does who sets a label on every object of a bucket."""
    for file in store.values():
        file.generation = next(_numbers)


def hours_pass(bench: Bench) -> None:
    bench.emu.advance(13 * 3600)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 46800, sent_at = sent_at - 46800")


def run(bench: Bench, order: Any, run_id: str, **arguments: Any) -> Any:
    lines = [
        {"id": f"a{place}", "image": bench.image, "video": bench.video, "variant": variant}
        for place, variant in enumerate(order)
    ]
    return DagRun(run_id).task(
        JimengBatchOperator,
        "batch",
        manifest=lines,
        output="memory://bucket/out",
        on_input_changed="reuse",
        **arguments,
    )


@policies
def test_labelled_objects_are_what_was_landed_and_are_read_once(
    bench: Bench, store: dict[str, Any], read: list[str], policy: str
) -> None:
    run(bench, range(4), "first")
    label(store)
    hours_pass(bench)
    assert read == []
    assert run(bench, range(4), "again", on_missing_output=policy)["reused"] == 4
    assert bench.accepted == 4
    assert len(read) == 4
    run(bench, range(4), "and again", on_missing_output=policy)
    assert len(read) == 4, "the new etag was noted"


@policies
def test_a_manifest_that_is_reversed_and_turned_moves_what_it_paid_for(
    bench: Bench, store: dict[str, Any], policy: str
) -> None:
    run(bench, range(6), "first")
    before = {name: file.getvalue() for name, file in store.items() if name.endswith(".mp4")}
    hours_pass(bench)
    for number, order in enumerate(([5, 4, 3, 2, 1, 0], [1, 2, 3, 4, 5, 0], [0, 1, 2, 3, 4, 5])):
        assert run(bench, order, f"order-{number}", on_missing_output=policy)["reused"] == 6
    assert bench.accepted == 6
    assert {name: store[name].getvalue() for name in before} == before


@policies
def test_a_result_that_made_way_is_found_where_it_went(
    bench: Bench, store: dict[str, Any], read: list[str], policy: str
) -> None:
    latest = "memory://bucket/latest.mp4"
    first = bench.imitate(output=latest)
    bench.imitate(DagRun("run-2"), output=latest, variant=1)
    hours_pass(bench)
    again = bench.imitate(DagRun("run-3"), output="memory://bucket/again.mp4", on_missing_output=policy)
    assert again["sha256"] == first["sha256"]
    assert bench.accepted == 2
    assert read == [], "its etag was noted when it went"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_labelled_only_copy_makes_way_before_it_is_overwritten(
    bench: Bench, store: dict[str, Any], overwrite: bool
) -> None:
    latest = "memory://bucket/latest.mp4"
    first = bench.imitate(output=latest)
    label(store)
    bench.imitate(DagRun("run-2"), output=latest, variant=1, overwrite=overwrite)
    hours_pass(bench)
    again = bench.imitate(DagRun("run-3"), output="memory://bucket/again.mp4")
    assert again["sha256"] == first["sha256"]
    assert bench.accepted == 2


def test_other_bytes_of_the_same_size_are_not_what_was_landed(bench: Bench, store: dict[str, Any]) -> None:
    output = "memory://bucket/a.mp4"
    size = bench.imitate(output=output)["bytes"]
    MemoryFileSystem().pipe_file("/bucket/a.mp4", b"x" * size)
    hours_pass(bench)
    with pytest.raises(JimengOutputExistsError, match="Nothing is paid again"):
        bench.imitate(DagRun("run-2"), output=output)
    assert bench.accepted == 1


def test_a_labelled_object_that_cannot_be_read_is_not_gone(
    bench: Bench, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = "memory://bucket/a.mp4"
    bench.imitate(output=output)
    label(store)
    hours_pass(bench)
    with monkeypatch.context() as patch:

        def refuse(*_: Any, **__: Any) -> Any:
            raise PermissionError("no key")

        patch.setattr(MemoryFileSystem, "_open", refuse)
        with pytest.raises(JimengLandingError, match="could not be read"):
            bench.imitate(DagRun("run-2"), output=output, on_missing_output="resubmit", retries=0)
    assert bench.imitate(DagRun("run-3"), output=output, on_missing_output="resubmit")["reused"]
    assert bench.accepted == 1


def test_a_landing_without_a_digest_and_with_another_etag_is_in_doubt(
    bench: Bench, store: dict[str, Any]
) -> None:
    output = "memory://bucket/a.mp4"
    bench.imitate(output=output)
    bench.alter("UPDATE jimeng_landings SET sha256 = ''")
    assert bench.imitate(DagRun("run-2"), output=output)["reused"]
    label(store)
    hours_pass(bench)
    with pytest.raises(JimengOutputExistsError, match="Nothing is paid again"):
        bench.imitate(DagRun("run-3"), output=output)
    assert bench.accepted == 1


def test_every_landed_file_is_read_where_that_was_asked_for(
    bench: Bench, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = bench.imitate()["bytes"]
    bench.imitate(DagRun("run-2"))
    assert read == []

    monkeypatch.setenv("AIRFLOW__JIMENG__CHECK_SHA256", "True")
    assert bench.imitate(DagRun("run-3"))["reused"]
    assert read == [bench.output]
    Path(bench.output).write_bytes(b"x" * size)
    again = bench.imitate(DagRun("run-4"), overwrite=True)
    assert again["sha256"] == hashlib.sha256(Path(bench.output).read_bytes()).hexdigest()
    assert bench.accepted == 1
