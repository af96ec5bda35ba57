# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Nights of a data team: manifests that changed, stores in trouble, and a vendor with every bad word."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import JimengLandingError
from airflow_provider_jimeng.media.target import Target
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun
from tests.media.files import serving

RETRYABLE = (50511, 50516, 50517, 50519, 50500, 50501)
FINAL = (50411, 50412, 50207, 50210, 50214, 50518, 60102)


def lines(bench: Bench, names: Any) -> list[dict[str, Any]]:
    return [
        {"id": str(name), "image": f"{bench.emu.url}/media/n-{name}.png", "video": bench.video}
        for name in names
    ]


def run(bench: Bench, manifest: list[dict[str, Any]], run_id: str = "run-1", **arguments: Any) -> Any:
    given: dict[str, Any] = {
        "manifest": manifest,
        "output": str(bench.folder / "out"),
        "on_input_changed": "reuse",
        **arguments,
    }
    return DagRun(run_id).task(JimengBatchOperator, "batch", **given)


def results(bench: Bench) -> dict[str, str]:
    folder = bench.folder / "out"
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.mp4")}


def report(bench: Bench) -> list[dict[str, Any]]:
    text = (bench.folder / "out" / "report.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def kept(bench: Bench) -> set[str]:
    """Every result's bytes that are anywhere in the folder."""
    files = (path for path in (bench.folder / "out").rglob("*.mp4"))
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("deferrable", [False, True])
def test_each_way_in_which_a_manifest_changes_pays_for_what_is_new_and_loses_nothing(
    bench: Bench, deferrable: bool
) -> None:
    manifest = lines(bench, range(6))
    first = run(bench, manifest, deferrable=deferrable)
    before = results(bench)
    assert (first["landed"], bench.accepted) == (6, 6)

    reordered = manifest[::-1]
    assert run(bench, reordered, "reordered", deferrable=deferrable)["submits"] == 0
    assert results(bench) == before

    swapped = [{**manifest[0], "id": "1"}, {**manifest[1], "id": "0"}, *manifest[2:]]
    assert run(bench, swapped, "swapped", deferrable=deferrable)["submits"] == 0
    assert results(bench) == {**before, "0": before["1"], "1": before["0"]}

    changed = [{**manifest[0], "image": f"{bench.emu.url}/media/other.png"}, *manifest[1:]]
    assert run(bench, changed, "one changed", deferrable=deferrable)["submits"] == 1
    assert results(bench)["0"] not in before.values()

    grown = [*manifest, *lines(bench, (6, 7))]
    assert run(bench, grown, "grown", deferrable=deferrable)["submits"] == 2
    assert {name: results(bench)[name] for name in before} == before

    tomorrow = lines(bench, ("a", "b"))
    assert run(bench, tomorrow, "tomorrow", deferrable=deferrable)["submits"] == 2
    assert set(results(bench)) == {*before, "6", "7", "a", "b"}
    assert set(before.values()) <= kept(bench)

    (bench.folder / "out" / "3.mp4").unlink()
    assert run(bench, manifest, "one deleted", deferrable=deferrable)["submits"] == 0
    assert results(bench)["3"] == before["3"]
    # 6 at first, one changed, two more, two of tomorrow: nothing was paid twice.
    assert bench.accepted == 11
    assert bench.emu.ledger()["paid_more_than_once"] == []


@pytest.mark.parametrize(
    ("policy", "outcome", "submits"),
    [("fail", "invalid", 0), ("reuse", "reused", 0), ("resubmit", "landed", 1)],
)
def test_other_bytes_behind_the_same_url_are_a_policy(
    bench: Bench, policy: str, outcome: str, submits: int
) -> None:
    with serving() as server:
        image = server.add("a.png", b"one")
        manifest = [{"id": "a", "image": image, "video": bench.video}]
        run(bench, manifest)
        before = kept(bench)
        server.files["a.png"].content = b"another one"
        summary = run(bench, manifest, "run-2", on_input_changed=policy, tolerance=1)
    assert (summary[outcome], summary["submits"], bench.accepted) == (1, submits, 1 + submits)
    assert before <= kept(bench)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_folder_that_cannot_be_read_is_not_an_empty_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    run(bench, lines(bench, range(2)))

    def refused(self: Target) -> None:
        raise JimengLandingError(f"{self.uri} can't be looked at (AccessDenied)")

    monkeypatch.setattr(Target, "stat", refused)
    monkeypatch.setattr(Target, "read", refused, raising=False)
    with pytest.raises(JimengLandingError, match="AccessDenied"):
        run(bench, lines(bench, range(4)), "run-2", retries=0, deferrable=deferrable)
    assert bench.accepted == 2


@pytest.mark.parametrize("deferrable", [False, True])
def test_in_a_night_of_every_bad_word_each_item_has_its_fate_and_the_books_agree(
    bench: Bench, deferrable: bool
) -> None:
    """3 % of each retryable and of each final code, answers that tell nothing, and spoiled downloads."""
    count = 40 if deferrable else 100
    bench.emu.configure(concurrency=8, duration=0.1)
    bench.connect(max_concurrency=8)
    for code in (*RETRYABLE, *FINAL):
        bench.emu.add_fault(f"done:{code},probability=0.03,times=0")
    bench.emu.add_fault("submit:50500,created=true,times=2,skip=5")
    bench.emu.add_fault("submit:50501,created=false,times=2,skip=12")
    bench.emu.add_fault("submit:reset,created=true,times=1,skip=20")
    bench.emu.add_fault("download:corrupt,probability=0.05,times=0")
    bench.emu.add_fault("query:html,probability=0.02,times=0")
    manifest = lines(bench, range(count))
    manifest.append({**manifest[0], "id": "twin"})
    summary = run(bench, manifest, tolerance=1.0, deferrable=deferrable)

    told = report(bench)
    outcomes = Counter(line["outcome"] for line in told)
    assert [line["id"] for line in told] == [line["id"] for line in manifest]
    assert {name: summary[name] for name in outcomes} == dict(outcomes)
    assert summary["total"] == sum(outcomes.values()) == len(manifest)
    assert outcomes["landed"] > count / 2
    # By content: the one that two lines want may be among them.
    assert len({line["content_key"] for line in told if line["outcome"] == "unknown"}) == 5
    assert outcomes["skipped"] == 0

    book = bench.emu.ledger()
    assert book["paid_more_than_once"] == []
    fates = {line["content_key"]: line for line in told if line["outcome"] != "reused"}
    for row in bench.rows():
        # No row is left open: what was accepted is landed, or told by name.
        assert str(row.state) in ("landed", "failed", "unknown", "rejected")
        assert fates[row.content_key]["attempts"] <= 3
    named = {line["task_id"] for line in told if line["task_id"]}
    lost = [
        task_id
        for task_id, task in book["tasks"].items()
        if task["answered"] == "ok" and task_id not in named and task["verdict"] == 10000
    ]
    assert lost == []
    for line in told:
        if line["outcome"] in ("landed", "reused"):
            path = Path(line["uri"])
            assert hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]
        elif line["outcome"] == "failed":
            assert line["code"] in (*RETRYABLE, *FINAL)
            assert line["attempts"] == (3 if line["code"] in RETRYABLE else line["attempts"])

    bench.emu.clear_faults()
    again = run(bench, manifest, "run-2", tolerance=1.0, deferrable=deferrable)
    assert again["unknown"] == outcomes["unknown"]
    # Only items whose vendor's verdict allows another attempt are submitted again.
    retried = sum(line["outcome"] == "failed" and line["code"] in RETRYABLE for line in told)
    assert again["submits"] == retried
