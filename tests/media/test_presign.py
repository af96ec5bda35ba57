# Licensed under the Apache License, Version 2.0. See LICENSE.
"""From an object in a store to a URL that the vendor can fetch."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_jimeng.media import presign
from airflow_provider_jimeng.media.presign import (
    is_private,
    presented,
    sign_object,
    split_object,
    warn_if_temporary,
)


class Signing:
    """A filesystem that presigns, and talks about it as the libraries do."""

    protocol: Any = "gs"
    storage_args = ()
    storage_options: dict[str, Any] = {}

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.asked: dict[str, Any] = {}

    def sign(self, path: str, expiration: int = 100, **more: Any) -> str:
        logging.getLogger("botocore.auth").debug("Signature:\nsecret-mark")
        logging.getLogger("botocore.auth").warning("a warning stays")
        self.asked = {"path": path, "expiration": expiration, **more}
        type(self).last = self
        return f"https://store.example/{path}?X-Goog-Signature=secret-mark"

    last: Signing


class S3(Signing):
    protocol = ("s3", "s3a")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://bucket/a/b.png", ("s3", None, "bucket", "a/b.png")),
        ("S3://conn@Bucket/a b%20+", ("s3", "conn", "Bucket", "a b%20+")),
        ("tos://bucket/素材/模板.mp4", ("tos", None, "bucket", "素材/模板.mp4")),
    ],
)
def test_an_objects_url_is_taken_apart_as_it_is(url, parts):
    assert is_private(url)
    assert split_object(url) == parts


@pytest.mark.parametrize(
    "url", ["https://a/b", "s3://bucket", "s3://bucket/", "s3:/b/k", "oss://b/k", "", 3, None]
)
def test_what_names_no_object_is_left_alone(url):
    assert not is_private(url)
    with pytest.raises((ValueError, TypeError)):
        split_object(url)


def test_a_body_is_presigned_at_any_depth_and_stays_as_it_was():
    body: dict[str, Any] = {
        "req_key": "x",
        "image_urls": ["s3://b/1", "https://web/2"],
        "more": {"deep": ("gs://b/3", 4, None)},
    }
    sent = presented(body, lambda url: f"signed:{url}")
    assert sent == {
        "req_key": "x",
        "image_urls": ["signed:s3://b/1", "https://web/2"],
        "more": {"deep": ["signed:gs://b/3", 4, None]},
    }
    assert body["image_urls"][0] == "s3://b/1"


def test_google_is_asked_for_version_four_and_others_for_nothing_special():
    fs = Signing()
    sign_object(fs, "bucket/a.png", scheme="gs", seconds=46800)
    assert fs.asked == {"path": "bucket/a.png", "expiration": 46800, "version": "v4"}
    sign_object(fs, "bucket/a.png", scheme="abfs", seconds=46800)
    assert fs.asked == {"path": "bucket/a.png", "expiration": 46800}


def test_s3_is_signed_in_version_four_unless_the_connection_says_otherwise():
    sign_object(S3(), "bucket/a.png", scheme="s3", seconds=46800)
    assert S3.last.options["config_kwargs"] == {"signature_version": "s3v4"}
    with_options = S3()
    with_options.storage_options = {"config_kwargs": {"s3": {"addressing_style": "virtual"}}, "key": "k"}
    sign_object(with_options, "bucket/a.png", scheme="s3", seconds=46800)
    assert S3.last.options == {
        "config_kwargs": {"signature_version": "s3v4", "s3": {"addressing_style": "virtual"}},
        "key": "k",
    }


def test_a_librarys_debug_lines_are_silent_while_it_signs_and_only_then(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    sign_object(Signing(), "bucket/a.png", scheme="gs", seconds=46800)
    assert "secret-mark" not in caplog.text
    assert "a warning stays" in caplog.text
    logging.getLogger("botocore.auth").debug("talks again")
    assert "talks again" in caplog.text


def test_temporary_keys_are_told_of_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(presign, "_told", set())
    for _ in range(3):
        warn_if_temporary("https://store.example/a?X-Amz-Security-Token=secret-token&X-Amz-Signature=1")
    warn_if_temporary("https://lasting.example/a?X-Amz-Signature=1")
    (line,) = caplog.messages
    assert "store.example" in line
    assert "temporary keys" in line
    assert "secret-token" not in line
