# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The three files of a report, and that they add up."""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import threading
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_jimeng.bulk import gallery
from airflow_provider_jimeng.bulk.fields import REQUIRED
from airflow_provider_jimeng.bulk.items import BadLine, Fate, Outcome, Problem
from airflow_provider_jimeng.bulk.report import ReportWriter, RunFacts
from airflow_provider_jimeng.exceptions import JimengLandingError, JimengProtocolError
from airflow_provider_jimeng.media.target import Target

from tests.bulk.manifests import manifest_of
from tests.bulk.runs import SIGNATURE, START, facts_of, folder_at, item, landed, mixed_fates, write_report

FIELDS = (
    "id line outcome content_key task_id attempts code message uri bytes sha256 submitted_at finished_at"
    " elapsed error"
).split()


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "report.jsonl").read_text(encoding="utf-8").splitlines()]


def _rows(folder: Path) -> list[list[Any]]:
    page = (folder / "report.html").read_text(encoding="utf-8")
    rows: list[list[Any]] = json.loads(page.split('id="rows">')[1].split("</script>")[0])
    return rows


def test_lines_come_in_the_order_of_the_manifest_with_the_fields_of_the_contract(tmp_path: Path):
    folder = folder_at(tmp_path)
    fates = list(mixed_fates(folder, [item(line) for line in range(1, 301)]))
    random.Random(1).shuffle(fates)
    write_report(folder, fates)
    lines = _lines(tmp_path)
    assert [line["line"] for line in lines] == list(range(1, 301))
    assert all(list(line) == [*FIELDS, "sku"] for line in lines)
    whole = next(line for line in lines if line["outcome"] == "landed")
    at = whole["line"]
    assert whole == {
        "id": f"clip-{at:05d}",
        "line": at,
        "outcome": "landed",
        "content_key": f"{at:064x}",
        "task_id": f"88{at:017d}",
        "attempts": 1,
        "code": 10000,
        "message": "Success",
        "uri": f"{tmp_path}/clip-{at:05d}.mp4",
        "bytes": 1_048_576,
        "sha256": f"{at:064x}",
        "submitted_at": whole["submitted_at"],
        "finished_at": whole["finished_at"],
        "elapsed": 20.0 + at % 7,
        "error": None,
        "sku": f"SKU-{at}",
    }
    assert whole["submitted_at"].endswith("Z")


def test_times_are_iso_8601_in_utc(tmp_path: Path):
    fate = landed(item(1), folder_at(tmp_path), submitted_at=1_795_000_000.25, finished_at=None)
    write_report(folder_at(tmp_path), [(fate, item(1))])
    [line] = _lines(tmp_path)
    assert line["submitted_at"] == "2026-11-18T11:06:40.250Z"
    assert line["finished_at"] is None


def test_the_summary_adds_up_and_is_what_is_returned(tmp_path: Path):
    folder = folder_at(tmp_path)
    fates = list(mixed_fates(folder, [item(line) for line in range(1, 301)]))
    summary = write_report(folder, fates)
    assert summary == json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    counts = Counter(fate.outcome.value for fate, _ in fates)
    assert {outcome.value: summary[outcome.value] for outcome in Outcome} == {
        outcome.value: counts[outcome.value] for outcome in Outcome
    }
    assert sum(summary[outcome.value] for outcome in Outcome) == summary["total"] == 300
    codes = Counter(str(fate.code) for fate, _ in fates if fate.code not in (None, 10000))
    assert summary["errors"] == codes
    assert summary["report_uri"] == f"{tmp_path}/report.jsonl"
    assert summary["gallery_uri"] == f"{tmp_path}/report.html"
    assert summary["complete"] is True
    assert "pending" not in summary
    assert 0.95 < summary["slot_utilisation"] <= 1


@pytest.mark.parametrize("total", [2, 4])
def test_counts_that_do_not_add_up_fail_the_run_and_are_written_as_incomplete(total: int, tmp_path: Path):
    folder = folder_at(tmp_path)
    fates = [(landed(item(line), folder), item(line)) for line in (1, 2, 3)]
    with pytest.raises(JimengProtocolError, match=f"{total} lines, of 3 .*3 landed"):
        write_report(folder, fates, total=total)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["complete"] is False
    assert summary["pending"] == total - 3
    assert len(_lines(tmp_path)) == 3


def test_a_line_has_one_fate(tmp_path: Path):
    folder = folder_at(tmp_path)
    writer = ReportWriter(folder, 2)
    writer.add(landed(item(1), folder), item(1))
    with pytest.raises(JimengProtocolError, match="told twice .* line 1"):
        writer.add(Fate(1, "x", Outcome.FAILED), item(1))
    with pytest.raises(JimengProtocolError, match="line 1 came with the item of line 2"):
        writer.add(Fate(1, "x", Outcome.FAILED), item(2))
    assert writer.counts[Outcome.LANDED] == 1
    assert writer.counts[Outcome.FAILED] == 0


def test_a_line_in_bad_form_is_in_the_report_too(tmp_path: Path):
    bad = BadLine(2, "2", (Problem(2, "image", "it is missing"), Problem(2, None, "odd")), {"sku": "x"})
    fate = Fate(2, bad.id, Outcome.INVALID, error=bad.reason)
    folder = folder_at(tmp_path)
    summary = write_report(folder, [(landed(item(1), folder), item(1)), (fate, bad)])
    assert summary["invalid"] == 1
    assert _lines(tmp_path)[1]["error"] == "image: it is missing; odd"
    assert _lines(tmp_path)[1]["sku"] == "x"


def test_no_signature_is_in_any_file(tmp_path: Path):
    folder = folder_at(tmp_path)
    told = f"could not fetch https://me:pw@media.example.com/a.png?{SIGNATURE} (403)"
    fate = Fate(1, "a", Outcome.FAILED, code=50512, message=told, error=told)
    write_report(folder, [(fate, item(1)), (landed(item(2), folder), item(2))])
    for name in ("report.jsonl", "summary.json", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "5ec2e7" not in text
        assert "pw@" not in text
    assert _lines(tmp_path)[0]["error"] == "could not fetch https://media.example.com/a.png (403)"


def test_carried_fields_stay_what_they_were(tmp_path: Path):
    carried = {"n": 1234567890123456789, "x": {"y": [None, 0.1]}, "cell": "=SUM(A1)", "猫": "\ud800"}
    each = item(1, carried=carried)
    write_report(folder_at(tmp_path), [(landed(each, folder_at(tmp_path)), each)])
    [line] = _lines(tmp_path)
    assert {key: line[key] for key in carried} == carried


def test_a_report_can_be_the_next_manifest(tmp_path: Path):
    folder = folder_at(tmp_path)
    urls = {name: f"https://h.example/{name}" for name in REQUIRED}
    each = item(1, carried={"outcome": "failed", "uri": "old", "sku": "s"})
    write_report(folder, [(landed(each, folder), each)])
    [line] = _lines(tmp_path)
    assert (line["outcome"], line["manifest.outcome"], line["manifest.uri"]) == ("landed", "failed", "old")
    (tmp_path / "again.jsonl").write_text(json.dumps({**line, **urls}) + "\n", encoding="utf-8")
    [again] = manifest_of(tmp_path / "again.jsonl").items()
    assert again.id == each.id
    assert again.carried["outcome"] == "landed"


def test_an_empty_run_has_a_report(tmp_path: Path):
    writer = ReportWriter(folder_at(tmp_path), 0)
    summary = writer.finish(RunFacts(started_at=START, finished_at=START + 1))
    assert summary["total"] == 0
    assert summary["slot_utilisation"] is None
    assert _lines(tmp_path) == []
    assert _rows(tmp_path) == []


# ---- while it runs


class _Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def test_a_running_run_can_be_looked_at(tmp_path: Path):
    folder, clock = folder_at(tmp_path), _Clock()
    writer = ReportWriter(folder, 10, clock=clock)
    facts = dataclasses.replace(facts_of(3), finished_at=None)
    for line in (3, 1):
        writer.add(landed(item(line), folder), item(line))
    summary = writer.partial(facts)
    assert summary is not None
    assert (summary["complete"], summary["pending"], summary["landed"]) == (False, 8, 2)
    assert summary["finished_at"] is None
    assert summary == json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert [row[0] for row in _rows(tmp_path)] == ["clip-00001", "clip-00003"]
    assert not (tmp_path / "report.jsonl").exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_look_that_comes_too_soon_costs_nothing(tmp_path: Path):
    clock = _Clock()
    writer = ReportWriter(folder_at(tmp_path), 10, clock=clock)
    facts = RunFacts(started_at=START)
    assert writer.partial(facts) is not None
    clock.now += 9.9
    assert writer.partial(facts) is None
    clock.now += 0.2
    assert writer.partial(facts) is not None


class _Failing(MemoryFileSystem):  # type: ignore[misc]
    """A bucket that is down, or hangs until it is told not to."""

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        raise OSError("the bucket is down")


def test_a_store_that_is_down_does_not_stop_a_running_run(caplog: pytest.LogCaptureFixture):
    writer = ReportWriter(Target(_Failing(), "/bucket/run", "s3://bucket/run"), 1)
    with caplog.at_level(logging.WARNING):
        assert writer.partial(RunFacts(started_at=START)) is None
    assert "the bucket is down" in caplog.text
    with pytest.raises(JimengLandingError, match=r"s3://bucket/run/report\.jsonl could not be written"):
        writer.finish(RunFacts(started_at=START, finished_at=START))


class _Slow(MemoryFileSystem):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entered, self.go_on = threading.Event(), threading.Event()

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self.entered.set()
        assert self.go_on.wait(30)
        super().put_file(*args, **kwargs)


def test_a_slow_store_holds_up_nobody_who_tells_of_an_item():
    fs = _Slow(skip_instance_cache=True)
    folder = Target(fs, "/slow/run", "s3://slow/run")
    writer = ReportWriter(folder, 2)
    facts = RunFacts(started_at=START)
    side = threading.Thread(target=writer.partial, args=(facts,))
    side.start()
    assert fs.entered.wait(30)
    writer.add(landed(item(1), folder), item(1))
    assert writer.partial(facts) is None
    fs.go_on.set()
    side.join(30)
    writer.add(landed(item(2), folder), item(2))
    assert writer.finish(dataclasses.replace(facts, finished_at=START))["landed"] == 2


def test_many_threads_may_tell_of_items(tmp_path: Path):
    folder = folder_at(tmp_path)
    writer = ReportWriter(folder, 800)

    def tell(part: int) -> None:
        for line in range(part + 1, 801, 8):
            writer.add(landed(item(line), folder), item(line))

    threads = [threading.Thread(target=tell, args=(part,)) for part in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert writer.finish(facts_of(10))["landed"] == 800
    assert [line["line"] for line in _lines(tmp_path)] == list(range(1, 801))


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    out = folder_at(tmp_path / "run")
    write_report(out, [(landed(item(1), out), item(1))])
    assert [*scratch.iterdir()] == []


# ---- the gallery's data; what a browser makes of it is in test_report_page.py


def test_results_are_linked_relative_to_the_page(tmp_path: Path):
    folder = folder_at(tmp_path)
    names = ["a b", "100%", "舞", "x:y", "deep/er", "-"]
    fates = [(landed(item(line, name), folder), item(line, name)) for line, name in enumerate(names, 1)]
    elsewhere = landed(item(7), folder, uri="s3://other/clip.mp4")
    write_report(folder, [*fates, (elsewhere, item(7))])
    assert [row[8] for row in _rows(tmp_path)] == [
        "./a%20b.mp4",
        "./100%25.mp4",
        "./%E8%88%9E.mp4",
        "./x%3Ay.mp4",
        "./deep/er.mp4",
        "./-.mp4",
        None,
    ]


def test_of_too_many_items_those_in_trouble_are_shown_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gallery, "MAX_ROWS", 5)
    folder = folder_at(tmp_path)
    fates = [(landed(item(line), folder), item(line)) for line in range(1, 21)]
    for line in (12, 18):
        fates[line - 1] = (Fate(line, f"clip-{line:05d}", Outcome.FAILED, code=50511), item(line))
    write_report(folder, fates)
    assert [row[1] for row in _rows(tmp_path)] == [1, 2, 3, 12, 18]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    about = json.loads(page.split('id="about">')[1].split("</script>")[0])
    assert (about["shown"], about["summary"]["total"]) == (5, 20)


def test_the_page_names_nothing_from_elsewhere(tmp_path: Path):
    folder = folder_at(tmp_path)
    write_report(folder, [])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "src=" not in page.split("<script>")[0]
    assert "<link" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_items_cost_a_few_bytes_each_until_they_are_written(tmp_path: Path):
    folder = folder_at(tmp_path)
    count = 2000
    writer = ReportWriter(folder, count)
    tracemalloc.start()
    try:
        for line in range(1, count + 1):
            each = item(line)
            writer.add(landed(each, folder), each)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < count * 16 + 50_000
    assert writer.finish(facts_of(10))["landed"] == count
    assert (tmp_path / "report.html").stat().st_size < 200 * count
