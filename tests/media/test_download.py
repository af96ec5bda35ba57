# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A download is whole or an error, and no error shows a signed URL."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.emulator.pictures import cheap_picture
from airflow_provider_jimeng.exceptions import JimengLandingError
from airflow_provider_jimeng.media.download import download
from airflow_provider_jimeng.media.guard import NetworkGuard

from tests.media.test_mp4 import WHOLE

BODY = WHOLE["moov first"]
QUERY = "?X-Amz-Signature=5ecre7&x-expires=1"


class Store:
    """Serves one answer."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, BODY, {"Content-Type": "video/mp4"}
        self.length: int | None = None
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(store.status)
                for name, value in store.headers.items():
                    self.send_header(name, value)
                if store.length != -1:
                    length = len(store.body) if store.length is None else store.length
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(store.body)

            def log_message(self, *_: Any) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/results/a.mp4{QUERY}"


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


def fetch(store: Store, tmp_path: Path, **options: Any) -> Any:
    guard = NetworkGuard(allow_loopback=True)
    return download(store.url, tmp_path / "a", guard=guard, timeout=(2.0, 2.0), **options)


def fails(store: Store, tmp_path: Path, words: str, **options: Any) -> JimengLandingError:
    with pytest.raises(JimengLandingError, match=words) as told:
        fetch(store, tmp_path, **options)
    assert "5ecre7" not in str(told.value)
    assert "X-Amz" not in repr(told.value)
    assert told.value.__cause__ is None
    return told.value


def test_a_whole_file_is_stored_and_digested(store: Store, tmp_path: Path) -> None:
    store.headers["Content-MD5"] = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    done = fetch(store, tmp_path)
    assert done.path.read_bytes() == BODY
    assert (done.bytes, done.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert done.content_type == "video/mp4"


@pytest.mark.parametrize(
    "kind", [None, "application/octet-stream", "binary/octet-stream", "video/mp4; codecs=x"]
)
def test_what_a_store_calls_a_stream_is_a_video(store: Store, tmp_path: Path, kind: str | None) -> None:
    store.headers = {} if kind is None else {"Content-Type": kind}
    assert fetch(store, tmp_path).content_type == "video/mp4"


def test_another_kind_of_video_keeps_its_kind(store: Store, tmp_path: Path) -> None:
    store.headers["Content-Type"], store.body = "video/webm", b"\x1aE\xdf\xa3"
    assert fetch(store, tmp_path).content_type == "video/webm"


def test_a_body_without_a_length_is_checked_by_its_structure(store: Store, tmp_path: Path) -> None:
    store.length = -1
    assert fetch(store, tmp_path).bytes == len(BODY)
    store.body = BODY[:-1]
    fails(store, tmp_path, "not a whole MP4")


@pytest.mark.parametrize("status", [204, 206, 400, 403, 404, 416, 500, 503])
def test_any_other_status_is_an_error(store: Store, tmp_path: Path, status: int) -> None:
    store.status, store.length = status, -1
    assert fails(store, tmp_path, f"HTTP {status}").http_status == status


def test_what_is_short_long_empty_or_other_is_an_error(store: Store, tmp_path: Path) -> None:
    store.length = len(BODY) + 10
    fails(store, tmp_path, "could not be downloaded whole")
    store.length = None
    fails(store, tmp_path, "more than 10 bytes", max_bytes=10)
    store.headers["Content-MD5"] = base64.b64encode(b"0" * 16).decode()
    fails(store, tmp_path, "Content-MD5")
    store.headers = {"Content-Type": "text/html"}
    fails(store, tmp_path, "no video")
    store.headers, store.body = {"Content-Type": "video/mp4"}, b""
    fails(store, tmp_path, "empty")


def test_a_server_that_is_gone_is_an_error(store: Store, tmp_path: Path) -> None:
    store.url = f"http://127.0.0.1:9/a.mp4{QUERY}"
    fails(store, tmp_path, "a.mp4")


def test_an_address_that_is_not_allowed_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(JimengLandingError, match="loopback") as told:
        download(store.url, tmp_path / "a", guard=NetworkGuard(), timeout=(1.0, 1.0))
    assert "5ecre7" not in str(told.value)


def test_a_picture_is_a_result_where_the_product_makes_pictures(store: Store, tmp_path: Path) -> None:
    whole = cheap_picture({"task_id": "1"})
    for declared in ("image/jpeg", "image/jpg", "application/octet-stream"):
        store.headers, store.body = {"Content-Type": declared}, whole
        assert fetch(store, tmp_path, pictures=True).content_type == "image/jpeg"
        fails(store, tmp_path, "it is no video but 'image/jpeg'")
    store.body = BODY
    assert fetch(store, tmp_path, pictures=True).content_type == "video/mp4"


def test_a_picture_that_is_cut_short_or_a_page_is_downloaded_again(store: Store, tmp_path: Path) -> None:
    store.headers, store.body = {"Content-Type": "image/jpeg"}, cheap_picture({"task_id": "1"})[:-2]
    fails(store, tmp_path, "the JPEG picture in it is cut short", pictures=True)
    store.headers, store.body = {"Content-Type": "text/html"}, b"<html>"
    fails(store, tmp_path, "no video and no picture but 'text/html'", pictures=True)
