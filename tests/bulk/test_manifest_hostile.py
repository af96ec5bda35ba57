# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Manifests as they come from people, spreadsheets, half-written uploads and worse."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_jimeng.bulk.manifest import raise_for
from airflow_provider_jimeng.exceptions import JimengInputError

from tests.bulk.manifests import IMAGE, VIDEO, line, manifest_of

HEAD = b"id,image,video\n"
CELLS = f",{IMAGE},{VIDEO}".encode()
URLS = f'"image":"{IMAGE}","video":"{VIDEO}"'.encode()
SECRET = "X-Amz-Signature=5ec2e7"


class Wrong(NamedTuple):
    """A manifest with one problem: where it is, and words that tell it."""

    name: str
    file: str
    data: bytes
    line: int | None
    field: str | None
    told: str


def _zip() -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("m.jsonl", line())
    return into.getvalue()


def _id(value: Any) -> bytes:
    return line(id=value)


def _bad_id(name: str, value: Any, told: str) -> Wrong:
    return Wrong(f"id {name}", "m.jsonl", line() + _id(value), 2, "id", told)


def _bad_url(name: str, value: Any, told: str) -> Wrong:
    return Wrong(f"url {name}", "m.jsonl", line(video=value), 1, "video", told)


FILES = [
    Wrong("empty", "m.jsonl", b"", None, None, "empty"),
    Wrong("only a BOM", "m.jsonl", b"\xef\xbb\xbf", None, None, "empty"),
    Wrong("only blank lines", "m.jsonl", b"\n\r\n  \n", None, None, "empty"),
    Wrong("empty CSV", "m.csv", b"", None, None, "empty"),
    Wrong("gzip by surprise", "m.jsonl", gzip.compress(line()), None, None, "gzip"),
    Wrong("gzip named CSV", "m.csv", gzip.compress(HEAD), None, None, "gzip"),
    Wrong("bzip2", "m.jsonl", bz2.compress(line()), None, None, "bzip2"),
    Wrong("xz", "m.jsonl", lzma.compress(line()), None, None, "xz"),
    Wrong("zstd", "m.jsonl", b"\x28\xb5\x2f\xfd\x04\x00", None, None, "zstd"),
    Wrong("zip", "m.jsonl", _zip(), None, None, "ZIP"),
    Wrong("Excel named CSV", "m.csv", _zip(), None, None, "Excel"),
    Wrong("old Excel named CSV", "m.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", None, None, "Excel"),
    Wrong("PDF", "m.csv", b"%PDF-1.7\n", None, None, "PDF"),
    Wrong("UTF-16", "m.jsonl", line().decode().encode("utf-16"), None, None, "UTF-16"),
    Wrong("UTF-16 big endian", "m.csv", b"\xfe\xff\x00i", None, None, "UTF-16"),
    Wrong("UTF-16 without a mark", "m.jsonl", line().decode().encode("utf-16-le"), None, None, "UTF-16"),
    Wrong("UTF-32", "m.jsonl", line().decode().encode("utf-32-be"), None, None, "UTF-32"),
    Wrong("Parquet named JSON Lines", "m.jsonl", b"PAR1\x15\x04", None, None, ".parquet"),
    Wrong("SQLite", "m.jsonl", b"SQLite format 3\x00", None, None, "SQLite"),
    Wrong("HTML page", "m.jsonl", b"\n <!DOCTYPE html>\n<html>Sign in</html>", None, None, "HTML"),
    Wrong("HTML page for CSV", "m.csv", b"<html><body>404</body></html>", None, None, "HTML"),
    Wrong("an error of the store", "m.jsonl", b'<?xml version="1.0"?><Error/>', None, None, "XML"),
    Wrong("not Parquet", "m.parquet", line(), None, None, "not Parquet"),
]

LINES = [
    Wrong("not JSON", "m.jsonl", line() + b"image=1\n", 2, None, "not JSON"),
    Wrong("cut short", "m.jsonl", line() + line()[:30], 2, None, "cut short"),
    Wrong("HTML line", "m.jsonl", line() + b"<p>Bad gateway</p>\n", 2, None, "HTML"),
    Wrong("JSON array", "m.jsonl", b"[" + line().strip() + b"]\n", 1, None, "an array"),
    Wrong("spread over lines", "m.jsonl", b"{\n", 1, None, "spread over many lines"),
    Wrong("JSON text", "m.jsonl", b'"image"\n', 1, None, "single value"),
    Wrong("JSON null", "m.jsonl", b"null\n", 1, None, "single value"),
    Wrong("NUL byte", "m.jsonl", line() + line().replace(b"a.png", b"a\x00.png"), 2, None, "NUL"),
    Wrong("Latin-1", "m.jsonl", line(n="x").replace(b'"x"', b'"\xe9"'), 1, None, "not UTF-8"),
    Wrong("overlong UTF-8", "m.jsonl", line(n="x").replace(b'"x"', b'"\xc0\xae"'), 1, None, "not UTF-8"),
    Wrong("10 MB line", "m.jsonl", line() + line(n="x" * 10_000_000) + line(), 2, None, "longer than"),
    Wrong("10 MB without an end", "m.jsonl", b"{" + b"x" * 10_000_000, 1, None, "longer than"),
    Wrong("deep nesting", "m.jsonl", b'{"n":' + b"[" * 100_000 + b"\n", 1, None, "nested"),
    Wrong("too deep", "m.jsonl", b"{" + URLS + b',"n":' + b"[" * 90 + b"]" * 90 + b"}", 1, None, "nested"),
    Wrong("duplicate key", "m.jsonl", b'{"id":"a","id":"b",' + URLS + b"}", 1, None, "'id' is there twice"),
    Wrong("duplicate inside", "m.jsonl", b'{"n":{"x":1,"x":2},' + URLS + b"}", 1, None, "'x' is there twice"),
    Wrong("NaN", "m.jsonl", b'{"n":NaN,' + URLS + b"}", 1, None, "NaN is not JSON"),
    Wrong("Infinity", "m.jsonl", b'{"n":-Infinity,' + URLS + b"}", 1, None, "-Infinity"),
    Wrong("beyond floats", "m.jsonl", b'{"n":1e999,' + URLS + b"}", 1, None, "too large"),
    Wrong("9,000 digits", "m.jsonl", b'{"n":' + b"9" * 9000 + b"," + URLS + b"}", 1, None, "digits"),
    Wrong("trailing comma", "m.jsonl", b"{" + URLS + b",}", 1, None, "not JSON"),
    Wrong("single quotes", "m.jsonl", b"{'image': 'x'}", 1, None, "not JSON"),
    Wrong("two on a line", "m.jsonl", line().strip() + line(), 1, None, "not JSON"),
    Wrong("second BOM", "m.jsonl", line() + b"\xef\xbb\xbf" + line(), 2, None, "not JSON"),
    Wrong("old Mac line ends", "m.jsonl", line().strip() + b"\r" + line().strip(), 1, None, "not JSON"),
]

FIELDS = [
    Wrong("no image", "m.jsonl", line(image=...), 1, "image", "missing"),
    Wrong("no video", "m.jsonl", line() + line(video=...), 2, "video", "missing"),
    Wrong("other case", "m.jsonl", line(image=..., Image=IMAGE), 1, "image", "'Image' is not the same"),
    Wrong("image null", "m.jsonl", line(image=None), 1, "image", "empty"),
    Wrong("image empty", "m.jsonl", line(image=""), 1, "image", "empty"),
    Wrong("image a number", "m.jsonl", line(image=7), 1, "image", "not int"),
    Wrong("image a list", "m.jsonl", line(image=[IMAGE]), 1, "image", "not list"),
    Wrong("image true", "m.jsonl", line(image=True), 1, "image", "not bool"),
    Wrong("variant a float", "m.jsonl", line(variant=1.0), 1, "variant", "not float"),
    Wrong("variant true", "m.jsonl", line(variant=True), 1, "variant", "not bool"),
    Wrong("variant negative", "m.jsonl", line(variant=-1), 1, "variant", "0 to"),
    Wrong("variant huge", "m.jsonl", line(variant=10**18), 1, "variant", "0 to"),
    Wrong("variant a word", "m.jsonl", line(variant="one"), 1, "variant", "integer"),
    Wrong("variant empty", "m.jsonl", line(variant=""), 1, "variant", "integer"),
    Wrong("req_key a number", "m.jsonl", line(req_key=1), 1, "req_key", "text"),
    Wrong("req_key with a space", "m.jsonl", line(req_key="jimeng m1"), 1, "req_key", "letters"),
    Wrong("another product", "m.jsonl", line(req_key="jimeng_t2i_v40"), 1, "req_key", "image and a video"),
]

URLS_WRONG = [
    _bad_url("relative", "clips/b.mp4", "relative"),
    _bad_url("of another scheme", "ftp://vid.example/b.mp4", "'ftp' is not supported"),
    _bad_url("javascript", "javascript:alert(1)", "not supported"),
    _bad_url("file", "file:///etc/passwd", "'file' is not supported"),
    _bad_url("plain http", "http://vid.example/b.mp4", "https"),
    _bad_url("with credentials", "https://me:pw@vid.example/b.mp4", "credentials"),
    _bad_url("with keys", "s3://AKIA:secret@bucket/b.mp4", "credentials"),
    _bad_url("with a space", "https://vid.example/b c.mp4", "white space"),
    _bad_url("with a line feed", "https://vid.example/b\n.mp4", "invisible"),
    _bad_url("with a writing direction", "https://vid.example/\u202e4pm.b", "invisible"),
    _bad_url("without an object", "s3://bucket/", "no object"),
    _bad_url("a formula", '=HYPERLINK("https://vid.example")', "relative"),
    _bad_url("None", "None", "rendered to nothing"),
    _bad_url("of 9,000 bytes", "https://vid.example/" + "b" * 9000, "longer than"),
    _bad_url("with half a character", "https://vid.example/\ud800", "invisible"),
]

IDS_WRONG = [
    _bad_id("climbing", "../../etc/passwd", "holds /"),
    _bad_id("two dots", "..", "dot"),
    _bad_id("hidden", ".ssh", "dot"),
    _bad_id("absolute", "/tmp/x", "holds /"),
    _bad_id("with a backslash", "..\\x", "\\"),
    _bad_id("with a drive", "C:x", "holds :"),
    _bad_id("a device", "nul", "device"),
    _bad_id("a device with a suffix", "COM1.old", "device"),
    _bad_id("with a query", "a?b", "holds ?"),
    _bad_id("with a fragment", "a#b", "holds #"),
    _bad_id("a glob", "a*", "holds *"),
    _bad_id("markup", "</script><script>", "holds / < >"),
    _bad_id("empty", "", "empty"),
    _bad_id("a space", " ", "white space"),
    _bad_id("ends with a space", "a ", "white space"),
    _bad_id("ends with a dot", "a.", "dot"),
    _bad_id("with a line feed", "a\nb", "U+000A"),
    _bad_id("with NUL", "a\x00", "U+0000"),
    _bad_id("with a writing direction", "a\u202egpm.4pm", "U+202E"),
    _bad_id("with zero width", "a\u200bb", "U+200B"),
    _bad_id("half a character", "a\udc80", "U+DC80"),
    _bad_id("long", "a" * 201, "longer than 200"),
    _bad_id("long in bytes", "猫" * 70, "longer than 200"),
    _bad_id("a float", 1.5, "not float"),
    _bad_id("a number through a float", 1.2345678901234567e18, "digits are lost"),
    _bad_id("true", True, "not bool"),
    _bad_id("a list", ["a"], "not list"),
    _bad_id("an object", {"a": 1}, "not dict"),
    _bad_id("300 digits", int("9" * 300), "digits"),
]

TWICE = [
    Wrong("the same id", "m.jsonl", _id("a") + _id("b") + _id("a"), 3, "id", "line 1 has the same id"),
    Wrong("ids by case", "m.jsonl", _id("a") + _id("A"), 2, "id", "upper and lower case"),
    Wrong("ids by Unicode form", "m.jsonl", _id("é") + _id("e\u0301"), 2, "id", "decomposed"),
    Wrong("ids by folding", "m.jsonl", _id("straße") + _id("STRASSE"), 2, "id", "upper and lower"),
    Wrong("an id and a number", "m.jsonl", _id("1") + _id(1), 2, "id", "line 1 has the same id"),
    Wrong("an id and a line", "m.jsonl", _id("2") + line(), 2, "id", "line 1 has the same id"),
]

TABLES = [
    Wrong("no columns", "m.csv", b"a,b\n1,2\n", 1, None, "image and video must be there; found: 'a', 'b'"),
    Wrong("no video column", "m.csv", b"id,image\n1,2\n", 1, None, "column video must be there"),
    Wrong("no header", "m.csv", b"1" + CELLS + b"\n", 1, None, "must be there"),
    Wrong("blank CSV", "m.csv", b"\n\n\n", 1, None, "no header"),
    Wrong("column twice", "m.csv", b"image,video,image\n", 1, None, "'image' twice"),
    Wrong("column without name", "m.csv", b"image,video,\n", 1, None, "column 3"),
    Wrong("semicolons", "m.csv", b"id;image;video\n", 1, None, "separated by ';'"),
    Wrong("tabs", "m.csv", b"id\timage\tvideo\n", 1, None, r"separated by '\t'"),
    Wrong("too many cells", "m.csv", HEAD + b"1" + CELLS + b",x\n", 2, None, "4 cells"),
    Wrong("too few cells", "m.csv", HEAD + b"1" + CELLS + b"\n2,x\n", 3, None, "2 cells"),
    Wrong("a quote left open", "m.csv", HEAD + b'"1' + CELLS + b"\n" * 9, 2, None, "quotes"),
    Wrong("a stray quote", "m.csv", HEAD + b'"1"x' + CELLS + b"\n", 2, None, "quotes"),
    Wrong("old Mac CSV", "m.csv", HEAD.strip() + b"\r1" + CELLS, 1, None, "quotes or cells"),
    Wrong("NUL in CSV", "m.csv", HEAD + b"1\x00" + CELLS, 2, None, "NUL"),
    Wrong("Latin-1 CSV", "m.csv", HEAD + b"\xe9" + CELLS, 2, None, "not UTF-8"),
    Wrong("10 MB cell", "m.csv", HEAD + b"x" * 10_000_000 + CELLS, 2, None, "longer than"),
    Wrong("200 kB cell", "m.csv", HEAD + b"x" * 200_000 + CELLS, 2, None, "field"),
    Wrong("open quote over 2 MB", "m.csv", HEAD + b'"' + (b"x," * 50 + b"\n") * 20_000, 2, None, "quote"),
    Wrong("CSV ids twice", "m.csv", HEAD + b"a" + CELLS + b"\nA" + CELLS, 3, "id", "line 2"),
    Wrong("a formula for an id", "m.csv", HEAD + b"=1+1|cmd" + CELLS, 2, "id", "holds |"),
    Wrong("cell empty", "m.csv", HEAD + f"1,,{VIDEO}".encode(), 2, "image", "empty"),
    Wrong("number as a spreadsheet has it", "m.csv", HEAD + b"1.23E+18" + CELLS + b",\n", 2, None, "4 cells"),
]

WRONG = [*FILES, *LINES, *FIELDS, *URLS_WRONG, *IDS_WRONG, *TWICE, *TABLES]


def test_there_are_enough_of_them():
    assert len({case.name for case in WRONG}) == len(WRONG) >= 80


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_hostile_manifest_is_refused_with_its_line_and_field(case: Wrong, tmp_path: Path):
    (tmp_path / case.file).write_bytes(case.data)
    problems = manifest_of(tmp_path / case.file).check()
    assert [(each.line, each.field) for each in problems] == [(case.line, case.field)]
    assert case.told in problems[0].message
    with pytest.raises(JimengInputError, match="nothing was paid"):
        raise_for(problems)


class Right(NamedTuple):
    """A manifest that is odd but clear: the ids it means, or its lines with them."""

    name: str
    file: str
    data: bytes
    ids: list[str]
    lines: list[int]


RIGHT = [
    Right("BOM", "m.jsonl", b"\xef\xbb\xbf" + _id("a"), ["a"], [1]),
    Right("CRLF", "m.jsonl", (_id("a") + _id("b")).replace(b"\n", b"\r\n"), ["a", "b"], [1, 2]),
    Right("no line end at the end", "m.jsonl", _id("a").strip(), ["a"], [1]),
    Right("blank lines", "m.jsonl", b"\n" + line() + b" \n\r\n" + line(), ["2", "5"], [2, 5]),
    Right("line separators in text", "m.jsonl", b'{"n":"\xe2\x80\xa8",' + URLS + b"}", ["1"], [1]),
    Right("capital extension", "M.JSONL", _id("a"), ["a"], [1]),
    Right("ndjson", "m.ndjson", _id("a"), ["a"], [1]),
    Right("19 digits", "m.jsonl", b'{"id":9223372036854775807,' + URLS + b"}", ["9223372036854775807"], [1]),
    Right("nulls", "m.jsonl", line(id=None, variant=None, req_key=None), ["1"], [1]),
    Right("Chinese id", "m.jsonl", _id("舞蹈-01"), ["舞蹈-01"], [1]),
    Right("emoji id", "m.jsonl", _id("💃"), ["💃"], [1]),
    Right("two dots inside", "m.jsonl", _id("a..b"), ["a..b"], [1]),
    Right("percent in an id", "m.jsonl", _id("%2e%2e"), ["%2e%2e"], [1]),
    Right("a formula is data", "m.csv", HEAD + b"=SUM(A1)" + CELLS, ["=SUM(A1)"], [2]),
    Right("more formulas", "m.csv", HEAD + b"@x" + CELLS + b"\n+1" + CELLS, ["@x", "+1"], [2, 3]),
    Right("CSV with BOM", "m.csv", b"\xef\xbb\xbf" + HEAD + b"a" + CELLS, ["a"], [2]),
    Right("CSV with CRLF", "m.csv", (HEAD + b"a" + CELLS + b"\n").replace(b"\n", b"\r\n"), ["a"], [2]),
    Right("CSV with header only", "m.csv", HEAD, [], []),
    Right("CSV with spaces in the header", "m.csv", b" id , image , video \na" + CELLS, ["a"], [2]),
    Right("CSV with blank lines", "m.csv", b"\n" + HEAD + b"\na" + CELLS + b"\n\n", ["a"], [4]),
    Right("CSV without ids", "m.csv", HEAD + CELLS + b"\n" + CELLS, ["2", "3"], [2, 3]),
    Right("leading zeros", "m.csv", HEAD + b"007" + CELLS + b"\n7" + CELLS, ["007", "7"], [2, 3]),
    Right("digits in CSV", "m.csv", HEAD + b"9223372036854775807" + CELLS, ["9223372036854775807"], [2]),
    Right(
        "cells over lines",
        "m.csv",
        b"n,image,video\n" + b'"a\nb"' + CELLS + b'\n"c ""d"""' + CELLS,
        ["2", "4"],
        [2, 4],
    ),
]


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_an_odd_manifest_is_read(case: Right, tmp_path: Path):
    (tmp_path / case.file).write_bytes(case.data)
    manifest = manifest_of(tmp_path / case.file)
    assert manifest.check() == []
    found = list(manifest.items())
    assert [each.id for each in found] == case.ids
    assert [each.line for each in found] == case.lines
    assert manifest.total == len(case.ids)


def test_all_problems_of_all_lines_are_told_at_once(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(
        line(id="../a", image="ftp://x/y", video=..., variant=1.5) + line() + b"oops\n" + line(id="2")
    )
    problems = manifest_of(path).check()
    assert [(each.line, each.field) for each in problems] == [
        (1, "id"),
        (1, "image"),
        (1, "video"),
        (1, "variant"),
        (3, None),
        (4, "id"),
    ]


def test_no_secret_of_a_line_is_quoted(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    signed = f"http://bucket.example/a.png?{SECRET}"
    text = json.dumps({"image": signed, "video": f"s3://AKIA:{SECRET}@b/c"})
    path.write_text(f'{text}\n{{"image": "{signed}", broken\n', encoding="utf-8")
    manifest = manifest_of(path)
    problems = manifest.check()
    assert len(problems) == 3
    with pytest.raises(JimengInputError) as caught:
        raise_for(problems)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(problems)
    assert SECRET not in repr(list(manifest.lines()))
