# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_jimeng.emulator import result_tag

if TYPE_CHECKING:
    from tests.emulator.caller import Caller


@pytest.fixture
def url(caller: Caller) -> str:
    return caller.result_url(caller.created())


def get(url: str, **options: Any) -> requests.Response:
    return requests.get(url, timeout=10, allow_redirects=False, **options)


def downloads(caller: Caller) -> tuple[int, int]:
    (task,) = caller.emulator.ledger()["tasks"].values()
    return task["downloads"], task["downloads_completed"]


def test_a_result_comes_with_its_length_and_digests(caller: Caller, url: str) -> None:
    answer = get(url)
    digest = hashlib.md5(answer.content, usedforsecurity=False)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["ETag"] == f'"{digest.hexdigest()}"'
    assert answer.headers["Content-MD5"] == base64.b64encode(digest.digest()).decode()
    assert downloads(caller) == (1, 1)
    assert get(url).content == answer.content
    assert downloads(caller) == (2, 2)


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, None),
        ("bytes=-7", -7, None),
        ("bytes=5-5", 5, 5),
        ("bytes=0-999999", 0, None),
    ],
)
def test_a_part_of_a_result_can_be_had(url: str, header: str, first: int, last: int | None) -> None:
    whole = get(url).content
    answer = get(url, headers={"Range": header})
    assert answer.status_code == 206
    start = first if first >= 0 else len(whole) + first
    end = len(whole) - 1 if last is None else last
    assert answer.content == whole[start : end + 1]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(whole)}"
    assert answer.headers["ETag"] == get(url).headers["ETag"]


@pytest.mark.parametrize("header", ["bytes=999999-", "bytes=-0"])
def test_a_part_beyond_the_end_is_refused(url: str, header: str) -> None:
    answer = get(url, headers={"Range": header})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"].startswith("bytes */")


@pytest.mark.parametrize("header", ["bytes=-", "bytes=9-3", "lines=1-2", "bytes=1-2,4-5"])
def test_a_range_that_makes_no_sense_is_ignored(url: str, header: str) -> None:
    assert get(url, headers={"Range": header}).status_code == 200


def test_head_tells_without_counting_as_a_download(caller: Caller, url: str) -> None:
    answer = requests.head(url, timeout=10)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) > 2000
    assert answer.content == b""
    assert downloads(caller) == (0, 0)


def test_an_unchanged_result_needs_no_second_transfer(url: str) -> None:
    etag = get(url).headers["ETag"]
    answer = get(url, headers={"If-None-Match": etag})
    assert answer.status_code == 304
    assert answer.content == b""


def test_a_corrupt_download_has_the_true_files_digests(caller: Caller, url: str) -> None:
    good = get(url)
    caller.emulator.add_fault("download:corrupt")
    bad = get(url)
    assert bad.status_code == 200
    assert len(bad.content) == len(good.content)
    assert bad.content != good.content
    assert bad.headers["ETag"] == good.headers["ETag"]
    assert bad.headers["Content-MD5"] == good.headers["Content-MD5"]
    assert result_tag(bad.content) is None
    assert downloads(caller) == (2, 1)
    assert get(url).content == good.content


def test_a_corrupt_download_may_hide_that_it_is(caller: Caller, url: str) -> None:
    caller.emulator.add_fault("download:corrupt,digest=false")
    answer = get(url)
    assert "ETag" not in answer.headers
    assert "Content-MD5" not in answer.headers


@pytest.mark.parametrize("kind", ["short", "cut"])
def test_a_short_download_promises_more_than_it_brings(caller: Caller, url: str, kind: str) -> None:
    length = int(requests.head(url, timeout=10).headers["Content-Length"])
    caller.emulator.add_fault("download", kind)
    with requests.get(url, timeout=10, stream=True) as answer:
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == length
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            list(answer.iter_content(100))
    assert downloads(caller) == (1, 0)


def test_a_url_that_expires_mid_download_is_dead_and_another_query_helps(caller: Caller, url: str) -> None:
    (task_id,) = caller.emulator.ledger()["tasks"]
    caller.emulator.add_fault("download:cut")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        get(url)
    assert get(url).status_code == 403
    assert get(url, headers={"Range": "bytes=100-"}).status_code == 403
    fresh = get(caller.result_url(task_id))
    assert (result_tag(fresh.content) or {})["task_id"] == task_id


def test_a_url_may_be_expired_before_its_time(caller: Caller, url: str) -> None:
    caller.emulator.add_fault("download:expired")
    assert [get(url).status_code for _ in range(2)] == [403, 403]


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ("download:status", 503),
        ("download:status,http_status=500", 500),
        ("download:html,http_status=504", 504),
        ("download:empty", 200),
        ("download:redirect", 302),
        ("download:redirect,http_status=308,location=http://169.254.169.254/", 308),
    ],
)
def test_a_download_may_be_answered_with_something_else(
    caller: Caller, url: str, spec: str, status: int
) -> None:
    caller.emulator.add_fault(spec)
    answer = get(url)
    assert answer.status_code == status
    assert b"ftyp" not in answer.content
    if "redirect" in spec:
        assert answer.headers["Location"] == (
            "http://169.254.169.254/" if "location" in spec else url.partition(caller.emulator.url)[2]
        )
    assert downloads(caller) == (1, 0)
    assert get(url).status_code == 200


@pytest.mark.parametrize(
    ("kind", "expected"), [("reset", requests.ConnectionError), ("hang", requests.Timeout)]
)
def test_a_download_may_get_no_answer_at_all(
    caller: Caller, url: str, kind: str, expected: type[Exception]
) -> None:
    caller.emulator.add_fault("download", kind)
    with pytest.raises(expected):
        requests.get(url, timeout=0.3)
    assert get(url).status_code == 200


@pytest.mark.parametrize("kind", ["delay", "drip"])
def test_a_slow_download_arrives_whole(caller: Caller, url: str, kind: str) -> None:
    good = get(url).content
    caller.emulator.add_fault("download", kind, seconds=0.1)
    assert get(url).content == good


def test_a_fault_can_be_meant_for_one_input(caller: Caller) -> None:
    first, second = (caller.result_url(caller.created(name)) for name in ("a", "b"))
    caller.emulator.add_fault("download", "status", match="b.png")
    assert get(first).status_code == 200
    assert get(second).status_code == 503
