# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Places for results: no climbing out, no credentials, no guessing."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_jimeng.api.validation import check_output
from airflow_provider_jimeng.exceptions import JimengInputError

REFUSED: list[tuple[str, Any, str]] = [
    ("missing", None, "renders to None"),
    ("a list", ["/secret"], "not list"),
    ("bytes", b"/secret", "not bytes"),
    ("a number", 3, "not int"),
    ("empty", "", "empty"),
    ("a rendered None", "None", "rendered to nothing"),
    ("relative", "out/secret.mp4", "neither an absolute path"),
    ("relative path object", PurePosixPath("out/secret.mp4"), "neither an absolute path"),
    ("home", "~/secret.mp4", "neither an absolute path"),
    ("dot", ".", "neither an absolute path"),
    ("climbing", "/out/../secret.mp4", "'..'"),
    ("climbing at the end", "/out/secret/..", "'..'"),
    ("climbing at the root", "/../secret", "'..'"),
    ("climbing backwards", "/out/..\\secret", "'..'"),
    ("climbing encoded", "/out/%2e%2e/secret", "'..'"),
    ("climbing with encoded slashes", "/out%2f..%2Fsecret", "'..'"),
    ("climbing with encoded backslashes", "/out%5C..%5csecret", "'..'"),
    ("climbing with spaces", "/out/.. /secret", "'..'"),
    ("climbing in a bucket", "s3://bucket/a/../secret", "'..'"),
    ("climbing out of a bucket", "s3://bucket/../secret", "'..'"),
    ("climbing for a bucket", "s3://../secret", "'..'"),
    ("climbing in a file URL", "file:///out/../secret", "'..'"),
    ("climbing in memory", "memory://../secret", "'..'"),
    ("NUL", "/out/secret\x00.mp4", "control character"),
    ("line feed", "/out/secret\n.mp4", "control character"),
    ("escape", "/out/\x1b[31msecret", "control character"),
    ("lone surrogate", "/out/secret\udcff", "control character"),
    ("line separator", "/out/secret\u2028x", "control character"),
    ("leading space", " /out/secret", "white space"),
    ("trailing space", "/out/secret ", "white space"),
    ("too long", "/out/secret" + "x" * 4096, "longer than 4096"),
    ("unknown form", "secret:x", "neither an absolute path"),
    ("Windows path", "C:\\out\\secret.mp4", "neither an absolute path"),
    ("Windows URL", "c://out/secret.mp4", "known form"),
    ("no scheme", "://secret", "neither an absolute path"),
    ("scheme of digits", "3s://bucket/secret", "neither an absolute path"),
    ("colon in front", "a:b://bucket/secret", "known form"),
    ("chained", "simplecache::s3://bucket/secret", "known form"),
    ("chained behind", "s3://bucket::secret/x", "known form"),
    ("web", "https://a.example/secret.mp4", "cannot be written"),
    ("plain web", "http://a.example/secret.mp4", "cannot be written"),
    ("data", "data://secret", "cannot be written"),
    ("query", "s3://bucket/x.mp4?X-Amz-Signature=secret", "query"),
    ("fragment", "s3://bucket/x.mp4#secret", "query"),
    ("key and secret", "s3://key:secret@bucket/x.mp4", "credentials"),
    ("empty owner", "s3://@bucket/secret", "credentials"),
    ("no bucket", "s3:///secret.mp4", "no bucket"),
    ("nothing", "s3://", "no bucket"),
    ("only a connection", "s3://conn@/secret", "no bucket"),
    ("odd bucket", "s3://buc ket/secret", "no bucket"),
    ("odd port", "hdfs://host:port/secret", "no bucket"),
    ("file on a host", "file://secret/x.mp4", "no host"),
    ("file without a path", "file://", "no path"),
]


@pytest.mark.parametrize(("value", "why"), [pytest.param(v, w, id=n) for n, v, w in REFUSED])
def test_bad_outputs_name_the_field_and_quote_nothing(value, why):
    with pytest.raises(JimengInputError) as caught:
        check_output(value, "output")
    message = str(caught.value)
    assert message.startswith("output: ")
    assert why in message
    assert "nothing was paid" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "value",
    [
        "/out/a.mp4",
        "/out/..a/b..mp4",
        "/out/动作 模仿?.mp4",
        "/",
        "file:///out/a.mp4",
        "local:///out/a.mp4",
        "s3://bucket/a/b.mp4",
        "s3://bucket",
        "s3://bucket/",
        "S3://bucket/a",
        "s3://aws_default@bucket/a.mp4",
        "gs://bucket/a.mp4",
        "tos://bucket/a.mp4",
        "abfs://container@account.dfs.core.windows.net/a.mp4",
        "hdfs://namenode:8020/a.mp4",
        "memory://folder/a.mp4",
        "memory:///a.mp4",
    ],
)
def test_good_outputs_stay_as_they_are(value):
    assert check_output(value, "output") == value


def test_path_objects_become_text():
    assert check_output(PurePosixPath("/out/a.mp4"), "output") == "/out/a.mp4"


@pytest.mark.parametrize(
    "value", ["/", "/out/", "s3://bucket", "s3://bucket/", "s3://bucket/a/", "memory://"]
)
def test_a_file_needs_a_name(value):
    with pytest.raises(JimengInputError, match="^output: it names a folder"):
        check_output(value, "output", folder=False)
    assert check_output(value, "output", folder=True) == value


@pytest.mark.parametrize("value", ["/a.mp4", "s3://bucket/a.mp4"])
def test_a_name_may_be_a_folder_too(value):
    assert check_output(value, "output", folder=False) == value
    assert check_output(value, "output", folder=True) == value


def refusal_of(text: str) -> str | None:
    try:
        check_output(text, "output")
    except JimengInputError as error:
        return str(error)
    return None


@settings(deadline=None)
@given(st.text(max_size=30) | st.text(max_size=30).map(lambda tail: f"s3://bucket/{tail}"))
def test_any_text_is_accepted_or_refused_by_name(text):
    refusal = refusal_of(text)
    if refusal is None:
        assert ".." not in text.split("/")
        assert "\x00" not in text
    else:
        assert refusal.startswith("output: ")
