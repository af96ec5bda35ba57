# Licensed under the Apache License, Version 2.0. See LICENSE.
"""URLs of inputs: every bad form names its field, quotes nothing and costs nothing."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from airflow_provider_jimeng.api.validation import check_media_url, is_loopback_host
from airflow_provider_jimeng.exceptions import JimengInputError

STORES = ("https", "http", "s3", "gs", "tos")

REFUSED: list[tuple[str, Any, str]] = [
    ("missing", None, "renders to None"),
    ("a list", ["https://a.example/secret"], "not list"),
    ("bytes", b"https://a.example/secret", "not bytes"),
    ("a number", 3, "not int"),
    ("a path object", PurePosixPath("/secret"), "not PurePosixPath"),
    ("empty", "", "empty"),
    ("a rendered None", "None", "rendered to nothing"),
    ("relative", "a/secret.png", "relative"),
    ("absolute path", "/secret.png", "relative"),
    ("without scheme", "a.example/secret.png", "relative"),
    ("protocol-relative", "//a.example/secret.png", "relative"),
    ("file", "file:///secret/x.png", "'file' is not supported"),
    ("ftp", "ftp://a.example/secret", "'ftp' is not supported"),
    ("data", "data:image/png;base64,secret", "'data' is not supported"),
    ("a store that nobody presigns", "oss://bucket/secret", "'oss' is not supported"),
    ("javascript", "javascript:secret()", "this scheme is not supported"),
    ("a key pasted", "AKLTsecret:secret", "this scheme is not supported"),
    ("one slash", "https:/a.example/secret", "two slashes"),
    ("no slash", "https:a.example/secret", "two slashes"),
    ("user and password", "https://user:secret@a.example/x", "credentials"),
    ("user", "https://secret@a.example/x", "credentials"),
    ("empty user", "https://@a.example/secret", "credentials"),
    ("password with a slash", "https://user:sec/ret@a.example/x", "malformed"),
    ("line feed", "https://a.example/secret\nx", "white space"),
    ("carriage return", "https://a.example/secret\r\nHost: x", "white space"),
    ("NUL", "https://a.example/secret\x00", "white space"),
    ("DEL", "https://a.example/secret\x7f", "white space"),
    ("tab", "https://a.example/\tsecret", "white space"),
    ("leading space", " https://a.example/secret", "white space"),
    ("trailing space", "https://a.example/secret ", "white space"),
    ("inner space", "https://a.example/sec ret", "white space"),
    ("no-break space", "https://a.example/sec\u00a0ret", "white space"),
    ("ideographic space", "https://a.example/sec\u3000ret", "white space"),
    ("zero width space", "https://a.exam\u200bple/secret", "white space"),
    ("right-to-left override", "https://a.example/\u202esecret", "white space"),
    ("line separator", "https://a.example/\u2028secret", "white space"),
    ("lone surrogate", "https://a.example/\ud800secret", "white space"),
    ("only spaces", "   ", "white space"),
    ("backslash", "https://a.example\\@secret.example/x", "backslash"),
    ("too long", "https://a.example/secret" + "x" * 8192, "longer than 8192"),
    ("too long in bytes", "https://a.example/secret" + "动" * 3000, "longer than 8192"),
    ("no host", "https:///secret", "no host"),
    ("nothing after the scheme", "https://", "no host"),
    ("port without host", "https://:443/secret", "no host"),
    ("query without host", "https://?secret", "no host"),
    ("port of letters", "https://a.example:secret/x", "malformed"),
    ("port too large", "https://a.example:65536/secret", "malformed"),
    ("negative port", "https://a.example:-1/secret", "malformed"),
    ("port zero", "https://a.example:0/secret", "malformed"),
    ("colon without port", "https://a.example:/secret", "colon without a port"),
    ("open bracket", "https://[::1/secret", "malformed"),
    ("brackets around nonsense", "https://[secret]/x", "malformed"),
    ("host that normalises to a slash", "https://a.example\u2100.secret/x", "malformed"),
    ("empty label", "https://a..example/secret", "not a valid name"),
    ("only dots", "https://../secret", "not a valid name"),
    ("long label", f"https://{'a' * 64}.example/secret", "not a valid name"),
    ("long name", f"https://{'a.' * 130}example/secret", "not a valid name"),
    ("host with a comma", "https://a,b.example/secret", "not a valid name"),
    ("host with a star", "https://*.example/secret", "not a valid name"),
    ("percent-encoded host", "https://a%2eexample/secret", "not a valid name"),
    ("long international label", f"https://{'动' * 64}.example/secret", "not a valid name"),
    ("empty international label", "https://动..example/secret", "not a valid name"),
    ("address as one number", "https://2130706433/secret", "looks like an address"),
    ("address in hexadecimal", "https://0x7f.0.0.0x1/secret", "looks like an address"),
    ("short address", "https://127.1/secret", "looks like an address"),
    ("octal address", "https://0177.0.0.1/secret", "looks like an address"),
    ("address out of range", "https://1.2.3.256/secret", "looks like an address"),
    ("plain http", "http://a.example/secret", "this machine only"),
    ("plain http to a private address", "http://10.0.0.1/secret", "this machine only"),
    ("plain http to a name like ours", "http://localhost.example/secret", "this machine only"),
]

STORE_REFUSED: list[tuple[str, str, str]] = [
    ("key and secret", "s3://key:secret@bucket/x", "credentials"),
    ("odd connection", "s3://se$cret@bucket/x", "not the name of an Airflow connection"),
    ("empty connection", "s3://@bucket/secret", "not the name of an Airflow connection"),
    ("no bucket", "s3:///secret", "no bucket"),
    ("odd bucket", "gs://buc*ket/secret", "no bucket"),
    ("no object", "tos://bucket-secret", "no object"),
    ("only a slash", "tos://bucket-secret/", "no object"),
    ("a folder", "s3://bucket/secret/", "no object"),
    ("a query", "s3://bucket/x?versionId=secret", "query or fragment"),
    ("a fragment", "tos://bucket/x#secret", "query or fragment"),
    ("a space behind", "s3://bucket/secret ", "white space"),
    ("a control character", "s3://bucket/sec\tret", "white space"),
]


def by_name(cases):
    return pytest.mark.parametrize(("value", "why"), [pytest.param(v, w, id=n) for n, v, w in cases])


class TestRefusals:
    def check(self, value: object, why: str, **options: Any) -> None:
        with pytest.raises(JimengInputError) as caught:
            check_media_url(value, "image_url", **options)
        message = str(caught.value)
        assert message.startswith("image_url: ")
        assert why in message
        assert "nothing was paid" in message
        assert "secret" not in message
        assert "sec ret" not in message
        assert caught.value.__cause__ is None

    @by_name(REFUSED)
    def test_name_the_field_and_quote_nothing(self, value, why):
        self.check(value, why)

    @by_name(STORE_REFUSED)
    def test_of_buckets_too(self, value, why):
        self.check(value, why, schemes=STORES)

    def test_keep_no_value_in_their_context(self):
        with pytest.raises(JimengInputError) as caught:
            check_media_url("https://a.example:secret/x", "image_url")
        assert "secret" not in repr(caught.value.__context__)


class TestAccepted:
    @pytest.mark.parametrize(
        "url",
        [
            "https://a.example/i.png",
            "HTTPS://A.Example/I.png",
            "https://a.example",
            "https://a.example:8443/i.png?X-Amz-Signature=abc%2F&b=1#f",
            "https://a_b-c.example./i",
            "https://bucket.tos-cn-beijing.volces.com/动作/模仿.mp4",
            "https://1.2.3.4/i.png",
            "https://[2001:db8::1]:8443/i.png",
            "https://a.example/user@host:x/i.png",
            "https://a.example/" + "x" * 8174,
            "http://127.0.0.1:8080/i.png",
            "http://127.9.9.9/i.png",
            "http://localhost/i.png",
            "http://media.localhost:80/i.png",
            "http://[::1]:8080/i.png",
        ],
    )
    def test_urls_stay_as_they_are(self, url):
        assert check_media_url(url, "image_url") == url

    @pytest.mark.parametrize(
        ("url", "ascii_form"),
        [
            ("https://例え.example/画像.png?a=1", "https://xn--r8jz45g.example/画像.png?a=1"),
            ("https://Bücher.example:8443/x", "https://xn--bcher-kva.example:8443/x"),
        ],
    )
    def test_international_hosts_become_ascii(self, url, ascii_form):
        assert check_media_url(url, "image_url") == ascii_form

    @pytest.mark.parametrize(
        "url", ["s3://bucket/a/b.png", "s3://aws_default@bucket/a b%20+.png", "tos://b/k", "gs://b/素材"]
    )
    def test_buckets_where_the_caller_can_presign(self, url):
        assert check_media_url(url, "image_url", schemes=STORES) == url

    def test_plain_http_where_the_caller_allows_it(self):
        url = "http://a.example/i.png"
        assert check_media_url(url, "image_url", loopback_http_only=False) == url


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "::1", "[::1]"])
def test_loopback_is_known_without_a_name_server(host):
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", ["", "a.example", "localhost.example", "10.0.0.1", "::2", "0.0.0.0"])
def test_other_hosts_are_not_loopback(host):
    assert not is_loopback_host(host)


def accepted_or_refusal(text: str) -> tuple[str | None, str]:
    try:
        return check_media_url(text, "video_url", schemes=STORES), ""
    except JimengInputError as error:
        return None, str(error)


@settings(deadline=None)
@example("https://[")
@example("http://127.0.0.1:99999/")
@given(st.text(max_size=40) | st.text(max_size=40).map(lambda tail: f"https://{tail}"))
def test_any_text_is_accepted_or_refused_by_name(text):
    accepted, refusal = accepted_or_refusal(text)
    if accepted is None:
        assert refusal.startswith("video_url: ")
    else:
        assert accepted.isprintable()
        assert "://" in accepted
        assert accepted_or_refusal(accepted) == (accepted, "")
