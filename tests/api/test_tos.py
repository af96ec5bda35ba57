# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Presigned URLs of TOS, against what the official SDK makes."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_jimeng.api.tos import LONGEST_SECONDS, TosStore, presign_get

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "tos_presign_vectors.json").read_text())
NOW = dt.datetime(2026, 11, 5, 8, 9, 10, tzinfo=dt.UTC)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_urls_are_those_of_the_official_sdk_to_the_letter(vector):
    store = TosStore(VECTORS["ak"], VECTORS["sk"], "cn-beijing", vector["security_token"])
    made = presign_get(store, vector["bucket"], vector["key"], seconds=vector["expires"], date=NOW)
    assert made == vector["url"]


def test_a_store_shows_no_secret():
    shown = repr(TosStore("AKLT", "secret-key", "cn-beijing", "token"))
    assert "secret-key" not in shown
    assert "token'" not in shown


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://tos-cn-shanghai.volces.com/", "https://bucket.tos-cn-shanghai.volces.com/a.png"),
        ("https://tos.example.com:8443", "https://bucket.tos.example.com:8443/a.png"),
        ("https://tos.example.com:443", "https://bucket.tos.example.com/a.png"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/bucket/a.png"),
        ("http://localhost", "http://localhost/bucket/a.png"),
    ],
)
def test_the_bucket_is_part_of_the_host_but_on_this_machine(endpoint, expected):
    made = presign_get(
        TosStore("ak", "sk", "cn-shanghai", None, endpoint), "bucket", "a.png", seconds=60, date=NOW
    )
    assert made.partition("?")[0] == expected


def test_the_signature_covers_everything_else():
    def mark(**changes):
        values = {
            "region": "r",
            "secret": "sk",
            "bucket": "b",
            "key": "k",
            "seconds": 60,
            "date": NOW,
            **changes,
        }
        store = TosStore("ak", values["secret"], values["region"])
        url = presign_get(
            store, values["bucket"], values["key"], seconds=values["seconds"], date=values["date"]
        )
        return parse_qs(urlsplit(url).query)["X-Tos-Signature"]

    changed = [
        mark(region="other"),
        mark(secret="other"),
        mark(bucket="other"),
        mark(key="other"),
        mark(seconds=61),
        mark(date=NOW + dt.timedelta(seconds=1)),
    ]
    assert mark() not in changed
    assert len({each[0] for each in changed}) == 6


@pytest.mark.parametrize("seconds", [0, -1, LONGEST_SECONDS + 1])
def test_a_lifetime_that_the_vendor_does_not_allow_is_refused(seconds):
    with pytest.raises(ValueError, match="604800"):
        presign_get(TosStore("ak", "sk", "r"), "b", "k", seconds=seconds, date=NOW)
