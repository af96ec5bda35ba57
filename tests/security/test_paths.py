# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Nothing that a manifest, a reference or the vendor says names a file outside of the wanted folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.bulk.ids import read_id
from airflow_provider_jimeng.exceptions import JimengError, JimengInputError
from airflow_provider_jimeng.links.jimeng import object_page, task_page
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun

NAMES = [
    "../x",
    "..",
    ".",
    "/etc/cron.d/x",
    "a/b",
    "a\\..\\b",
    "C:\\x",
    "C:x",
    "\\\\host\\share",
    "a\x00.mp4",
    "con",
    "CON.mp4",
    "nul",
    "LPT1",
    "a.",
    "a ",
    ".jimeng",
    "a\u202eb",
    "%2e%2e/x",
    "x" * 300,
]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def snapshot(bench: Bench) -> set[str]:
    return {name for name in files_below(bench.folder) if not name.startswith("ledger.db")}


@pytest.mark.parametrize("name", NAMES)
def test_no_id_of_a_manifest_is_anything_but_a_plain_file_name(name: str) -> None:
    with pytest.raises(ValueError, match="safe file name"):
        read_id(name)


def test_a_percent_sign_is_no_escape_of_a_name(bench: Bench) -> None:
    line = {"id": "%2e%2e%2fx", "image": bench.image, "video": bench.video}
    out = bench.folder / "out"
    DagRun().task(JimengBatchOperator, "batch", manifest=[line], output=str(out), poke_interval=0.1)
    assert (out / "%2e%2e%2fx.mp4").is_file()
    assert snapshot(bench) == {f"out/{name}" for name in files_below(out)}


@pytest.mark.parametrize(
    "output",
    [
        "/results/../../etc/x.mp4",
        "/results/%2e%2e/x.mp4",
        "s3://bucket/../other/x.mp4",
        "/results/a\x00.mp4",
        "results/x.mp4",
        "file://host/x.mp4",
        "https://a.example/x.mp4",
        "zip://x.mp4::/etc/x.zip",
    ],
)
def test_no_output_climbs_out_of_its_folder(bench: Bench, output: str) -> None:
    with pytest.raises(JimengInputError, match="output"):
        bench.imitate(output=output)
    assert bench.accepted == 0


EVIL = "../../../../evil"


def test_what_a_reference_says_names_no_file(bench: Bench) -> None:
    reference = bench.submit()
    result = {**bench.wait(reference), "content_key": EVIL, "attempt": EVIL, "status": EVIL}
    bench.land(result)
    assert snapshot(bench) == {"out/result.mp4"}


def test_a_task_id_of_the_vendors_names_no_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_jimeng.policy.submit.task_id_of", lambda _: EVIL)
    out = bench.folder / "out"
    foreign = out / "result.mp4"
    out.mkdir()
    foreign.write_bytes(b"somebody else's")
    instance = bench.imitation(retries=0, overwrite=True, timeout=1, deferrable=False)
    with pytest.raises(JimengError):
        instance.finish()
    assert bench.rows()[0].task_id == EVIL
    # Beside what stood there only the note of which ledger paid.
    assert snapshot(bench) == {"out/result.mp4", "out/.jimeng/ledger.json"}
    assert foreign.read_bytes() == b"somebody else's"


def test_a_task_id_of_the_vendors_names_no_other_page() -> None:
    page = task_page("http://127.0.0.1:1", "../config?x#y", loopback=True)
    assert page == "http://127.0.0.1:1/_emulator/tasks/..%2Fconfig%3Fx%23y"
    assert object_page("s3://conn@bucket/a b&prefix=c").endswith("/bucket?prefix=a%20b%26prefix%3Dc")


def a_link(bench: Bench, *, dangling: bool) -> tuple[Path, Path]:
    """Return a link at the output's place, and what it leads to: a file of somebody else's, or none."""
    elsewhere = bench.folder / "elsewhere.mp4"
    if not dangling:
        elsewhere.write_bytes(b"somebody else's")
    wanted = Path(bench.output)
    wanted.parent.mkdir()
    wanted.symlink_to(elsewhere)
    return wanted, elsewhere


def test_a_link_at_the_outputs_place_is_a_foreign_file(bench: Bench) -> None:
    _, elsewhere = a_link(bench, dangling=False)
    with pytest.raises(JimengError, match="did not write"):
        bench.imitate()
    assert elsewhere.read_bytes() == b"somebody else's"
    assert bench.accepted == 0


def test_a_link_that_may_be_overwritten_is_replaced_and_not_followed(bench: Bench) -> None:
    wanted, elsewhere = a_link(bench, dangling=False)
    bench.imitate(overwrite=True)
    assert elsewhere.read_bytes() == b"somebody else's"
    assert not wanted.is_symlink()
    assert wanted.read_bytes()[4:8] == b"ftyp"


def test_a_link_that_leads_to_nothing_creates_nothing_there(bench: Bench) -> None:
    wanted, elsewhere = a_link(bench, dangling=True)
    with pytest.raises(JimengError):
        bench.imitate(retries=0)
    assert not elsewhere.exists()
    assert bench.accepted <= 1
    os.unlink(wanted)
    bench.imitate()
    assert bench.accepted == 1


def test_links_in_the_folder_of_a_bulk_run_are_not_followed(bench: Bench) -> None:
    out = bench.folder / "out"
    out.mkdir()
    for name in ("report.jsonl", "summary.json", "report.html"):
        (bench.folder / f"private-{name}").write_text("somebody else's")
        (out / name).symlink_to(bench.folder / f"private-{name}")
    lines: list[dict[str, Any]] = [{"id": "a", "image": bench.image, "video": bench.video}]
    DagRun().task(JimengBatchOperator, "batch", manifest=lines, output=str(out), poke_interval=0.1)
    for name in ("report.jsonl", "summary.json", "report.html"):
        assert (bench.folder / f"private-{name}").read_text() == "somebody else's"
        assert not (out / name).is_symlink()
    assert json.loads((out / "report.jsonl").read_text())["outcome"] == "landed"
