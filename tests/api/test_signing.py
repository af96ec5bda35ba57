# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Signature V4, against the vendor's own vectors and step by step."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from airflow_provider_jimeng.api import signing
from airflow_provider_jimeng.exceptions import JimengInputError

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "sigv4_vectors.json").read_text("utf-8")
)["vectors"]
#: A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])


def moment_of(vector: dict[str, Any]) -> dt.datetime:
    return dt.datetime.strptime(vector["x_date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)


def pairs_of(vector: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in vector["query"]]


def url_of(vector: dict[str, Any], query: str | None = None) -> str:
    return (
        f"https://{vector['host']}{vector['path']}?{urlencode(pairs_of(vector)) if query is None else query}"
    )


def sign(vector: dict[str, Any], **changes: Any) -> dict[str, str]:
    arguments = {
        "method": vector["method"],
        "url": url_of(vector),
        "headers": dict(vector["headers_in"]),
        "body": vector["body"].encode(),
        "access_key": vector["access_key"],
        "secret_key": vector["secret_key"],
        "session_token": vector["session_token"],
        "region": vector["region"],
        "service": vector["service"],
        "date": moment_of(vector),
    }
    return signing.sign_request(**{**arguments, **changes})


def scope_of(vector: dict[str, Any]) -> str:
    return signing.credential_scope(vector["x_date"][:8], vector["region"], vector["service"])


def canonical_of(vector: dict[str, Any]) -> str:
    block, names = signing.canonical_headers(vector["headers_out"])
    return signing.canonical_request(
        method=vector["method"],
        path=signing.canonical_path(vector["path"]),
        query=signing.canonical_query(pairs_of(vector)),
        headers_block=block,
        signed_headers=names,
        body_hash=signing.body_sha256(vector["body"].encode()),
    )


class TestEachStepOnEachVector:
    @each_vector
    def test_the_date_is_written_in_utc(self, vector):
        assert signing.x_date(moment_of(vector)) == vector["x_date"]

    @each_vector
    def test_the_body_is_digested_as_utf8_bytes(self, vector):
        assert signing.body_sha256(vector["body"].encode()) == vector["body_sha256"]

    @each_vector
    def test_the_same_headers_are_signed(self, vector):
        assert signing.canonical_headers(vector["headers_out"])[1] == vector["signed_headers"]

    @each_vector
    def test_the_canonical_query_is_the_third_line(self, vector):
        assert signing.canonical_query(pairs_of(vector)) == vector["canonical_request"].split("\n")[2]

    @each_vector
    def test_the_canonical_request(self, vector):
        assert canonical_of(vector) == vector["canonical_request"]

    @each_vector
    def test_the_string_to_sign(self, vector):
        text = signing.string_to_sign(vector["x_date"], scope_of(vector), vector["canonical_request"])
        assert text == vector["string_to_sign"]

    @each_vector
    def test_the_signing_key(self, vector):
        key = signing.signing_key(
            vector["secret_key"], vector["x_date"][:8], vector["region"], vector["service"]
        )
        assert key.hex() == vector["signing_key_hex"]

    @each_vector
    def test_the_signature(self, vector):
        key = bytes.fromhex(vector["signing_key_hex"])
        assert signing.signature(key, vector["string_to_sign"]) == vector["signature"]

    @each_vector
    def test_all_headers_of_the_whole(self, vector):
        expected = {**vector["headers_out"], "Authorization": vector["authorization"]}
        assert sign(vector) == expected

    @each_vector
    def test_the_query_may_be_encoded_either_way(self, vector):
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in vector["query"])
        assert sign(vector, url=url_of(vector, query))["Authorization"] == vector["authorization"]

    @each_vector
    def test_repetition_gives_the_same(self, vector):
        assert sign(vector) == sign(vector)


class TestWhatIsSigned:
    vector = VECTORS[0]

    def test_host_comes_from_the_url_when_no_header_names_it(self):
        headers = sign(self.vector, headers={"Content-Type": "application/json"})
        assert headers["Host"] == self.vector["host"]
        assert headers["Authorization"] == self.vector["authorization"]

    @pytest.mark.parametrize("port", [80, 443])
    def test_a_default_port_in_the_url_is_neither_signed_nor_sent(self, port):
        url = url_of(self.vector).replace(self.vector["host"], f"{self.vector['host']}:{port}")
        headers = sign(self.vector, url=url, headers={"Content-Type": "application/json"})
        assert headers["Host"] == self.vector["host"]
        assert headers["Authorization"] == self.vector["authorization"]

    def test_credentials_in_the_url_are_not_taken_for_the_host(self):
        url = url_of(self.vector).replace("https://", "https://user:pass@")
        headers = sign(self.vector, url=url, headers={"Content-Type": "application/json"})
        assert headers["Host"] == self.vector["host"]

    @pytest.mark.parametrize(
        ("host", "signed"),
        [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example:443", "a.example"),
            ("a.example:4430", "a.example:4430"),
            ("[::1]:443", "[::1]"),
            ("[::1]:8443", "[::1]:8443"),
            ("[::1]", "[::1]"),
            ("::80", "::80"),
            ("443", "443"),
        ],
    )
    def test_default_ports_leave_the_host(self, host, signed):
        assert signing.signed_host(host) == signed

    def test_stale_headers_of_an_earlier_signature_are_replaced(self):
        again = sign(self.vector, headers=sign(self.vector))
        assert again == sign(self.vector)

    def test_a_lower_case_content_type_is_signed_too(self):
        headers = sign(self.vector, headers={"content-type": "application/json"})
        assert headers["Authorization"] == self.vector["authorization"]

    def test_content_md5_is_signed(self):
        names = signing.canonical_headers({"Content-MD5": "x", "Accept": "*/*"})[1]
        assert names == "content-md5"

    def test_a_percent_sign_in_a_header_survives(self):
        plain = {"Content-Type": "application/json", "X-Note": "100%s %d %%"}
        block, names = signing.canonical_headers({**plain, "Host": self.vector["host"]})
        assert "x-note:100%s %d %%\n" in block
        assert (
            f"SignedHeaders={';'.join(sorted([*names.split(';'), 'x-content-sha256', 'x-date']))},"
            in (sign(self.vector, headers=plain)["Authorization"])
        )

    def test_a_method_in_lower_case_is_signed_in_upper_case(self):
        assert sign(self.vector, method="post") == sign(self.vector)

    def test_paths_are_encoded_once(self):
        assert (
            signing.canonical_path("/a b/动")
            == signing.canonical_path("/a%20b/%E5%8A%A8")
            == "/a%20b/%E5%8A%A8"
        )
        assert signing.canonical_path("") == "/"

    def test_equal_names_keep_their_order(self):
        assert signing.canonical_query([("b", "2"), ("a", "z"), ("a", "y")]) == "a=z&a=y&b=2"

    def test_bytes_that_are_no_utf8_survive_a_query(self):
        headers = sign(self.vector, url=f"https://{self.vector['host']}/?a=%FF&Action=x")
        assert headers["Authorization"].startswith("HMAC-SHA256 Credential=")

    def test_another_time_zone_is_the_same_moment(self):
        shanghai = moment_of(self.vector).astimezone(dt.timezone(dt.timedelta(hours=8)))
        assert sign(self.vector, date=shanghai) == sign(self.vector)

    @patient
    @example(b"k" * 64, "x")
    @example(b"k" * 65, "x")
    @given(st.binary(max_size=200), st.text(max_size=80))
    def test_signature_is_hmac_sha256_for_any_key(self, key, text):
        expected = hmac.new(key, text.encode("utf-8"), hashlib.sha256).hexdigest()
        assert signing.signature(key, text) == expected


class TestTampering:
    vector = VECTORS[2]

    @pytest.mark.parametrize(
        "changes",
        [
            {"body": b"{}"},
            {"method": "GET"},
            {"region": "ap-singapore-1"},
            {"service": "sts"},
            {"secret_key": "other"},
            {"session_token": "other"},
            {"session_token": None},
            {"date": dt.datetime(2026, 11, 22, 7, 55, 1, tzinfo=dt.UTC)},
            {"url": "https://visual.volcengineapi.com/?Action=Other&Version=2022-08-31"},
            {"url": "https://visual.volcengineapi.com/x?Action=CVSync2AsyncSubmitTask&Version=2022-08-31"},
            {"headers": {"Content-Type": "text/plain", "Host": "visual.volcengineapi.com"}},
            {"headers": {"Content-Type": "application/json", "Host": "elsewhere.example"}},
        ],
    )
    def test_any_change_changes_the_signature(self, changes):
        def sealed(headers: dict[str, str]) -> str:
            return headers["Authorization"].rpartition("Signature=")[2]

        assert sealed(sign(self.vector, **changes)) != self.vector["signature"]


class TestRefusals:
    vector = VECTORS[0]

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"date": dt.datetime(2026, 11, 22)}, "date"),
            ({"url": "/?Action=x"}, "url"),
            ({"url": "https://host\x7f/?Action=x"}, "url"),
            ({"url": "https://动.example/?Action=x"}, "url"),
            ({"method": ""}, "method"),
            ({"method": "PO ST"}, "method"),
            ({"headers": {"Content-Type": "a\r\nX-Evil: 1"}}, "headers: content-type"),
            ({"headers": {"X-Note": "动"}}, "headers: x-note"),
            ({"headers": {"Host": "a", "host": "b"}}, "headers: host"),
            ({"access_key": ""}, "access_key"),
            ({"access_key": "secret\n"}, "access_key"),
            ({"secret_key": ""}, "secret_key"),
            ({"secret_key": "secret\ud800"}, "secret_key"),
            ({"session_token": "secret\r\nX-Evil: 1"}, "session_token"),
        ],
    )
    def test_names_the_field_and_quotes_nothing(self, changes, field):
        with pytest.raises(JimengInputError) as caught:
            sign(self.vector, **changes)
        assert str(caught.value).startswith(f"{field}")
        assert "secret" not in str(caught.value).removeprefix("secret_key")
        assert "Evil" not in str(caught.value)
        assert "nothing was paid" in str(caught.value)

    def test_kept_values_do_not_print_their_secrets(self):
        sign(VECTORS[2])
        plan = signing._plan("POST", url_of(VECTORS[2]), (("Host", "h.example"),), "tokentoken")
        day = signing._day("AK", "secretkey", "20261122", "r", "s")
        assert "tokentoken" not in repr(plan)
        assert "secretkey" not in repr(day)
