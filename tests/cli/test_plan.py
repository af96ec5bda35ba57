# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``plan``: what a run would do, told before it does, at no cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.cli.main import main
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun, bench, emu

__all__ = ["bench", "emu"]


@pytest.fixture
def manifest(bench: Bench) -> Path:
    lines = [
        {"id": f"n{number}", "image": f"{bench.emu.url}/media/{number}.png", "video": bench.video}
        for number in range(5)
    ]
    lines.append({**lines[0], "id": "twin"})
    path = bench.folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def plan(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["plan", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_without_a_ledger_every_line_is_new_and_none_is_made(
    bench: Bench, manifest: Path, capsys: pytest.CaptureFixture[str]
):
    nowhere = bench.folder / "nowhere.db"
    code, out, err = plan(str(manifest), "--ledger-url", f"sqlite:///{nowhere}", "--json", capsys=capsys)
    planned = json.loads(out)
    assert (code, planned["total"], planned["new"], planned["reused"]) == (0, 6, 5, 1)
    assert "every line is new" in err
    assert not nowhere.exists()
    assert bench.emu.ledger()["totals"]["submits"] == 0


def test_after_a_run_it_costs_nothing_and_says_so(
    bench: Bench, manifest: Path, capsys: pytest.CaptureFixture[str]
):
    bench.connect(price_per_second=0.2)
    DagRun().task(JimengBatchOperator, "batch", manifest=str(manifest), output=str(bench.folder / "out"))
    with manifest.open("a") as file:
        file.write(json.dumps({"image": f"{bench.emu.url}/media/new.png", "video": bench.video}) + "\n")
    code, out, err = plan(str(manifest), capsys=capsys)
    assert (code, err) == (0, "")
    assert out.startswith("7 items:")
    assert "1 new" in out
    assert "6 reused" in out
    assert "price_per_second" in out
    assert "unknown" not in out
    assert bench.accepted == 5


def test_it_is_what_the_operators_dry_run_says(
    bench: Bench, manifest: Path, capsys: pytest.CaptureFixture[str]
):
    bench.connect(price_per_second=0.5, max_concurrency=4)
    given: dict[str, Any] = {"manifest": str(manifest), "output": str(bench.folder / "out"), "dry_run": True}
    told = DagRun().task(JimengBatchOperator, "batch", **given)
    _, out, _ = plan(str(manifest), "--json", capsys=capsys)
    assert json.loads(out) == told
    estimate = told["estimate"]
    assert estimate["slot_seconds"] == pytest.approx(18 * estimate["video_seconds"], rel=0.01)
    assert estimate["run_seconds"] == pytest.approx(estimate["slot_seconds"] / 4, rel=0.01)
    assert estimate["cost"] == pytest.approx(0.5 * estimate["video_seconds"], rel=0.01)
    assert not (bench.folder / "out").exists()


def test_lines_that_cannot_be_read_are_told_and_change_the_exit_code(
    bench: Bench, manifest: Path, capsys: pytest.CaptureFixture[str]
):
    with manifest.open("a") as file:
        file.write('{"image": "nowhere", "video": ""}\n' * 30)
    code, out, err = plan(str(manifest), capsys=capsys)
    assert code == 1
    assert "30 invalid" in out
    assert "line 7" in err
    assert "image" in err
    assert "and 40 more" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.jsonl"], 2, "manifest"),
        (["{manifest}", "--conn-id", "nosuch"], 4, "nosuch"),
        (["{manifest}", "--req-key", "what is this"], 2, "req_key"),
        (["{manifest}", "--options", "[]"], 2, "--options"),
        (["nosuchstore://b/m.jsonl"], 2, "nosuchstore"),
    ],
)
def test_wrong_use_is_told(
    bench: Bench,
    manifest: Path,
    arguments: list[str],
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
):
    given = [each.format(manifest=manifest) for each in arguments]
    found, out, err = plan(*given, capsys=capsys)
    assert (found, out) == (code, "")
    assert words in err


def test_policies_are_the_operators(bench: Bench, manifest: Path, capsys: pytest.CaptureFixture[str]):
    DagRun().task(JimengBatchOperator, "batch", manifest=str(manifest), output=str(bench.folder / "out"))
    bench.alter("UPDATE jimeng_tasks SET state = 'unknown' WHERE id = 1")
    bench.alter("UPDATE jimeng_tasks SET state = 'expired', live_key = NULL WHERE id = 2")

    def counts(*more: str) -> tuple[int, int, int]:
        planned = json.loads(plan(str(manifest), "--json", *more, capsys=capsys)[1])
        return planned["new"], planned["unknown"], planned["expired"]

    assert counts() == (0, 1, 1)
    assert counts("--on-unknown-submit", "resubmit") == (1, 0, 1)
    assert counts("--on-missing-output", "resubmit") == (1, 1, 0)
    assert counts("--force-new", "again, please") == (5, 0, 0)


def test_switches_are_part_of_what_is_looked_up(
    bench: Bench, manifest: Path, capsys: pytest.CaptureFixture[str]
):
    second = "jimeng_dreamactor_m20_gen_video"
    options = {second: {"cut_result_first_second_switch": False}}
    arguments: dict[str, Any] = {"manifest": str(manifest), "output": str(bench.folder / "out")}
    DagRun().task(JimengBatchOperator, "batch", **arguments, req_key=second, options=options)
    given = (str(manifest), "--json", "--req-key", second)
    said = json.loads(plan(*given, "--options", json.dumps(options), capsys=capsys)[1])
    unsaid = json.loads(plan(*given, capsys=capsys)[1])
    assert (said["new"], said["reused"]) == (0, 6)
    assert (unsaid["new"], unsaid["reused"]) == (5, 1)


def test_switches_that_are_no_json_are_wrong_use(manifest: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["plan", str(manifest), "--options", "cut"])
    assert "--options: it is no JSON" in capsys.readouterr().err
