# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a manifest gives its runner."""

from __future__ import annotations

import builtins
import datetime
import decimal
import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2
from airflow_provider_jimeng.bulk.items import BadLine, Item, Problem
from airflow_provider_jimeng.bulk.manifest import open_manifest, raise_for
from airflow_provider_jimeng.bulk.repeats import RepeatFinder
from airflow_provider_jimeng.exceptions import JimengInputError, JimengNotCreatedError
from airflow_provider_jimeng.media.target import Target

from tests.bulk.manifests import IMAGE, VIDEO, line, local, manifest_of

GOOD = {"image": IMAGE, "video": VIDEO}


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_line_becomes_an_item_and_carries_the_rest_unread(tmp_path: Path):
    note = {"deep": [1, {"x": None}], "exact": 1234567890123456789}
    data = line(id="a", variant=3, req_key=MOTION_IMITATION_2, note=note, outcome="mine")
    [item] = manifest_of(_written(tmp_path / "m.jsonl", data)).items()
    assert item == Item(1, "a", IMAGE, VIDEO, 3, MOTION_IMITATION_2, {"note": note, "outcome": "mine"})


@pytest.mark.parametrize(
    "url",
    ["https://h.example/a.png?X-Amz-Signature=1", "http://127.0.0.1:8080/a.png", "http://localhost/a.png"]
    + ["s3://bucket/a.png", "s3://conn@bucket/a.png", "gs://bucket/a/b.png", "tos://bucket/a.png"]
    + ["abfs://container@store.dfs.core.windows.net/a.png", "https://h.example/%E7%8C%AB%20.png"],
)
def test_media_may_be_on_the_web_or_in_a_bucket(url: str):
    manifest = manifest_of([{"image": url, "video": url}])
    assert manifest.check() == []
    assert [item.image for item in manifest.items()] == [url]


def test_the_run_has_a_product_of_its_own_choice(tmp_path: Path):
    path = _written(
        tmp_path / "m.jsonl", line() + line(req_key="vendor_next") + line(req_key=MOTION_IMITATION)
    )
    manifest = open_manifest(str(path), resolve=local, default_req_key="vendor_next")
    assert [item.req_key for item in manifest.items()] == ["vendor_next", "vendor_next", MOTION_IMITATION]


def test_what_was_checked_is_what_is_run(tmp_path: Path):
    path = _written(tmp_path / "m.jsonl", line(id="a") + line(id="b"))
    manifest = manifest_of(path)
    manifest.check()
    path.write_bytes(line(id="other") * 3)
    first, second = manifest.items(), manifest.items()
    assert [next(first).id, next(second).id, next(first).id, next(second).id] == ["a", "a", "b", "b"]
    assert manifest.total == 2


def test_the_digest_tells_whether_it_is_the_same_manifest(tmp_path: Path):
    path = _written(tmp_path / "m.jsonl", line(id="a"))
    first, again = manifest_of(path), manifest_of(path)
    path.write_bytes(line(id="b"))
    assert first.digest == again.digest != manifest_of(path).digest
    assert manifest_of([GOOD]).digest == manifest_of([dict(GOOD)]).digest != manifest_of([GOOD, GOOD]).digest


def test_a_copy_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    manifest = manifest_of(_written(tmp_path / "m.jsonl", line()))
    assert [*scratch.iterdir()] == []
    manifest.close()
    if open_files is not None:
        assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_reading_goes_on_behind_a_line(name: str, tmp_path: Path):
    lines = line(id="a") + b"\n" + line(id="b") + line(id="c")
    table = f"id,image,video\na,{IMAGE},{VIDEO}\nb,{IMAGE},{VIDEO}\nc,{IMAGE},{VIDEO}\n".encode()
    manifest = manifest_of(_written(tmp_path / name, table if name == "m.csv" else lines))
    assert [item.id for item in manifest.items(after_line=2)] == ["b", "c"]
    assert [item.id for item in manifest.items(after_line=3)] == ["c"]


def test_lines_in_bad_form_can_be_left_to_the_report(tmp_path: Path):
    data = line(id="a") + b"oops\n" + line(id="A", video="x") + line(id="b") + line(id="a", note="n")
    manifest = manifest_of(_written(tmp_path / "m.jsonl", data))
    raise_for(manifest.check(), skip_invalid=True)
    assert [item.id for item in manifest.items()] == ["a", "b"]
    lines = list(manifest.lines())
    assert [each.line for each in lines] == [1, 2, 3, 4, 5]
    bad = [each for each in lines if isinstance(each, BadLine)]
    assert [(each.line, each.id, [p.field for p in each.problems]) for each in bad] == [
        (2, "2", [None]),
        (3, "A", ["video", "id"]),
        (5, "a", ["id"]),
    ]
    assert bad[2].carried == {"note": "n"}
    assert bad[1].reason.startswith("video: the URL is relative")
    assert manifest.total == 5


def test_a_table_that_nobody_can_delimit_is_never_skipped_over(tmp_path: Path):
    data = f'id,image,video\na,{IMAGE},{VIDEO}\n"b,{IMAGE},{VIDEO}\nc,{IMAGE},{VIDEO}\n'.encode()
    manifest = manifest_of(_written(tmp_path / "m.csv", data))
    with pytest.raises(JimengInputError, match="line 3: its quotes"):
        raise_for(manifest.check(), skip_invalid=True)
    items = manifest.items()
    assert next(items).id == "a"
    with pytest.raises(JimengInputError, match="line 3"):
        next(items)


def test_a_page_of_html_is_no_manifest_for_those_who_did_not_check(tmp_path: Path):
    manifest = manifest_of(_written(tmp_path / "m.jsonl", b"<html></html>"))
    with pytest.raises(JimengInputError, match="HTML"):
        list(manifest.lines())


def test_a_thousand_problems_are_counted_and_a_few_told(tmp_path: Path):
    data = b"".join(line(id=f"../{n}") for n in range(1000))
    problems = manifest_of(_written(tmp_path / "m.jsonl", data)).check(limit_errors=50)
    assert len(problems) == 50
    assert problems.total == 1000
    with pytest.raises(JimengInputError) as caught:
        raise_for(problems, listed=3)
    told = caught.value.message.splitlines()
    assert told[0] == "manifest: 1000 problems of form; nothing was sent, nothing was paid:"
    assert told[1].startswith("  line 1, id: it holds /")
    assert told[4] == "  and 997 more"


def test_what_ends_the_reading_is_told_even_beyond_the_limit(tmp_path: Path):
    rows = "".join(f"../{n},{IMAGE},{VIDEO}\n" for n in range(10))
    path = _written(tmp_path / "m.csv", f'id,image,video\n{rows}"'.encode())
    problems = manifest_of(path).check(limit_errors=2)
    assert [(each.line, each.fatal) for each in problems] == [(2, False), (3, False), (12, True)]


def test_no_problem_is_no_error():
    raise_for([])
    problem = Problem(1, "id", "x")
    raise_for([problem], skip_invalid=True)
    with pytest.raises(JimengInputError, match="a problem of form"):
        raise_for([problem])


def test_ids_whose_digests_agree_are_compared_in_full(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("airflow_provider_jimeng.bulk.repeats._digest", len)
    rows = [{**GOOD, "id": name} for name in ("ab", "cd", "efg", "AB")]
    assert [(each.line, each.field) for each in manifest_of(rows).check()] == [(4, "id")]


def test_ids_cost_eight_bytes_each():
    finder = RepeatFinder()
    for number in range(1000):
        finder.add(f"clip-{number}")
    assert finder.suspects() == frozenset()
    assert finder._digests.itemsize * len(finder._digests) == 8000


# ---- lists


def test_a_list_of_dicts_is_a_manifest():
    rows = [dict(GOOD), {**GOOD, "id": 7, "n": {"x": [1.5, None]}}]
    manifest = manifest_of(rows)
    assert manifest.check() == []
    rows.clear()
    assert [(item.line, item.id) for item in manifest.items()] == [(1, "1"), (2, "7")]
    assert [item.line for item in manifest.items(after_line=1)] == [2]


def test_an_empty_list_is_a_run_with_nothing_to_do():
    manifest = manifest_of([])
    assert manifest.check() == []
    assert manifest.total == 0


def _endless() -> list[Any]:
    value: list[Any] = []
    value += [value, value]
    return value


def _deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (["a"], "a dict is needed, not list"),
        ("a", "a dict is needed, not str"),
        (None, "a dict is needed, not NoneType"),
        ({1: 2}, "every key must be text"),
        ({**GOOD, "n": float("nan")}, "'n' holds what JSON cannot"),
        ({**GOOD, "n": b"x"}, "'n' holds what JSON cannot"),
        ({**GOOD, "n": datetime.date(2026, 1, 1)}, "'n' holds what JSON cannot"),
        ({**GOOD, "n": _endless()}, "'n' holds what JSON cannot"),
        # Python's own limit, or ours, whichever this release meets first.
        ({**GOOD, "n": _deep(5000)}, "'n' "),
        ({**GOOD, "n": _deep(100)}, "'n' is nested too deeply"),
    ],
)
def test_an_entry_that_is_no_line_is_told(entry: Any, told: str):
    [problem] = manifest_of([GOOD, entry]).check()
    assert problem.line == 2
    assert told in problem.message


@pytest.mark.parametrize("source", [None, 7, b"x", {"image": 1}, iter([]), {1}])
def test_anything_else_is_no_manifest(source: Any):
    with pytest.raises(JimengInputError, match="a URI or a list of dicts is needed"):
        manifest_of(source)


# ---- places


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("m.json", "one object per line"),
        ("m.jsonl.gz", "compressed"),
        ("m.csv.zip", "compressed"),
        ("m.xlsx", "must end in"),
        ("manifest", "must end in"),
        ("gone.jsonl", "is not there"),
        ("folder.jsonl", "is a folder"),
    ],
)
def test_a_file_that_cannot_be_a_manifest_is_told(name: str, told: str, tmp_path: Path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(JimengInputError, match=told):
        manifest_of(tmp_path / name)


def test_it_may_be_on_any_filesystem():
    fs = MemoryFileSystem()
    fs.pipe_file("/bucket/m.jsonl", line(id="a"))
    manifest = open_manifest(
        "memory://bucket/m.jsonl",
        resolve=lambda uri: Target(fs, uri.removeprefix("memory:/"), uri),
        default_req_key=MOTION_IMITATION,
    )
    assert [item.id for item in manifest.items()] == ["a"]


class _Broken(MemoryFileSystem):  # type: ignore[misc]
    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        raise OSError("reset by https://me:pw@store.example/m?X-Amz-Signature=5ec2e7 while reading")


def test_a_store_that_cannot_be_read_is_not_an_empty_manifest():
    with pytest.raises(JimengNotCreatedError, match="could not be read .*a retry reads it again") as caught:
        open_manifest(
            "s3://conn@b/m.jsonl",
            resolve=lambda uri: Target(_Broken(), uri, uri),
            default_req_key=MOTION_IMITATION,
        )
    assert caught.value.retry_helps
    assert "5ec2e7" not in str(caught.value)
    assert "pw@" not in str(caught.value)


def test_a_manifest_without_end_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("airflow_provider_jimeng.bulk.snapshot.MAX_BYTES", 100)
    with pytest.raises(JimengInputError, match="more than 100 bytes"):
        manifest_of(_written(tmp_path / "m.jsonl", line() * 2))


# ---- Parquet


def _parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def test_parquet_is_read_with_its_types(tmp_path: Path):
    path = _parquet(
        tmp_path / "m.parquet",
        {
            "id": [9223372036854775807, None],
            "image": [IMAGE, IMAGE],
            "video": [VIDEO, VIDEO],
            "variant": pyarrow.array([1, None], pyarrow.int32()),
            "when": [datetime.datetime(2026, 11, 22, 1, 2, 3), None],
            "price": [decimal.Decimal("1.50"), None],
            "share": [0.5, float("nan")],
            "bytes": [b"\x00\xff", None],
            "more": [{"tags": ["a", "b"], "ok": True}, None],
            "took": [datetime.timedelta(seconds=90), None],
            "label": pyarrow.array(["x", "y"]).dictionary_encode(),
        },
    )
    manifest = manifest_of(path)
    assert manifest.check() == []
    first, second = manifest.items()
    assert (first.id, first.variant, second.id, second.variant) == ("9223372036854775807", 1, "2", 0)
    assert first.carried == {
        "when": "2026-11-22T01:02:03",
        "price": "1.50",
        "share": 0.5,
        "bytes": "AP8=",
        "more": {"tags": ["a", "b"], "ok": True},
        "took": "0:01:30",
        "label": "x",
    }
    assert second.carried["share"] is None
    json.dumps(first.carried, allow_nan=False)


def test_a_type_of_parquet_that_json_has_no_form_for_becomes_text(tmp_path: Path):
    ids = pyarrow.ExtensionArray.from_storage(pyarrow.uuid(), pyarrow.array([b"0" * 16], pyarrow.binary(16)))
    path = _parquet(tmp_path / "m.parquet", {"image": [IMAGE], "video": [VIDEO], "ref": ids})
    [item] = manifest_of(path).items()
    assert item.carried == {"ref": "30303030-3030-3030-3030-303030303030"}


def test_parquet_is_read_in_batches_and_on_behind_a_row(tmp_path: Path):
    count = 2500
    columns = {"id": [f"c{n}" for n in range(count)], "image": [IMAGE] * count, "video": [VIDEO] * count}
    manifest = manifest_of(_parquet(tmp_path / "m.pq", columns, row_group_size=700))
    assert manifest.total == count
    assert [item.line for item in manifest.items(after_line=2498)] == [2499, 2500]


def test_an_empty_parquet_file_is_a_run_with_nothing_to_do(tmp_path: Path):
    columns = {name: pyarrow.array([], pyarrow.string()) for name in ("image", "video")}
    assert manifest_of(_parquet(tmp_path / "m.parquet", columns)).check() == []


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"id": ["a"], "image": [IMAGE]}, "column video must be there; found: 'id', 'image'"),
        ({**{key: [each] for key, each in GOOD.items()}, "id": [1.5]}, "not float"),
        ({"image": [1], "video": [VIDEO]}, "not int"),
        ({"image": [None], "video": [VIDEO]}, "empty"),
    ],
)
def test_a_parquet_file_with_other_columns_is_told(columns: dict, told: str, tmp_path: Path):
    [problem] = manifest_of(_parquet(tmp_path / "m.parquet", columns)).check()
    assert told in problem.message


def test_a_parquet_file_with_a_column_twice_is_told(tmp_path: Path):
    table = pyarrow.Table.from_arrays(
        [pyarrow.array([x]) for x in (IMAGE, VIDEO, VIDEO)], ["image", "video", "video"]
    )
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    [problem] = manifest_of(tmp_path / "m.parquet").check()
    assert "'video' is there twice" in problem.message


def test_a_parquet_file_that_was_cut_is_told(tmp_path: Path):
    path = _parquet(tmp_path / "m.parquet", {"image": [IMAGE] * 100, "video": [VIDEO] * 100})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    [problem] = manifest_of(path).check()
    assert problem.fatal
    assert "can't be read from here on" in problem.message


def test_without_pyarrow_its_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _parquet(tmp_path / "m.parquet", {"image": [IMAGE], "video": [VIDEO]})
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(JimengInputError, match="pip install pyarrow"):
        manifest_of(path)
