# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.ledger.keys import (
    canonical_inputs,
    canonical_url,
    content_key,
    inputs_json,
    redact_text,
    redact_url,
)

NAME = "https://bucket.example/a/b.mp4"
V4 = (
    "Algorithm=A&{p}Credential=AK%2Fscope&{p}Date=20261122T000000Z&{p}Expires=9&{p}SignedHeaders=host"
    "&{p}Signature=f"
)


def v4(prefix: str) -> str:
    return prefix + V4.format(p=prefix)


PERMITS = {
    "s3 v4": v4("X-Amz-") + "&X-Amz-Security-Token=t&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD",
    "s3 v4 of the JavaScript SDK": v4("X-Amz-") + "&x-amz-checksum-mode=ENABLED&x-id=GetObject",
    "s3 v4 in lower case": v4("x-amz-").lower(),
    "s3 v2": "AWSAccessKeyId=AK&Signature=f%3D&Expires=1799999999&x-amz-security-token=t",
    "gcs v4": v4("X-Goog-"),
    "gcs v2": "GoogleAccessId=me%40project&Expires=1799999999&Signature=f",
    "tos": v4("X-Tos-") + "&X-Tos-Security-Token=t",
    "result urls": "x-expires=1799999999&x-signature=f%3D",
    "azure blob sas": "sv=2023-11-03&st=2026&se=2027&sr=b&sp=r&spr=https&sip=1.2.3.4&sig=f",
    "azure account sas": "sv=2023-11-03&ss=b&srt=o&sp=r&se=2027&sig=f",
    "azure delegated sas": (
        "sv=2023&skoid=1&sktid=2&skt=3&ske=4&sks=b&skv=5&saoid=6&suoid=7&scid=8&sdd=2&ses=s&si=p"
        "&se=2027&sr=b&sp=r&sig=f"
    ),
    "oss v1": "OSSAccessKeyId=AK&Expires=1799999999&Signature=f&security-token=t",
    "oss v4": (
        "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential=c&x-oss-date=d&x-oss-expires=9"
        "&x-oss-signature=f&x-oss-security-token=t&x-oss-additional-headers=host"
    ),
    "oss v2": "x-oss-signature-version=OSS2&x-oss-access-key-id=AK&x-oss-expires=9&x-oss-signature=f",
    "cloudfront": "Expires=1799999999&Signature=f&Key-Pair-Id=K&Hash-Algorithm=SHA256",
    "cloudfront with a policy": "Policy=p&Signature=f&Key-Pair-Id=K",
    "cos": (
        "q-sign-algorithm=sha1&q-ak=AK&q-sign-time=1%3B2&q-key-time=1%3B2&q-header-list=host"
        "&q-url-param-list=&q-signature=f&x-cos-security-token=t"
    ),
    "obs": "AccessKeyId=AK&Expires=1799999999&Signature=f&x-obs-security-token=t",
    "ks3": "KSSAccessKeyId=AK&Expires=1799999999&Signature=f%3D",
    "us3": "UCloudPublicKey=TOKEN_1&Expires=1799999999&Signature=f%3D",
    "bos": "authorization=bce-auth-v1%2Fak%2F2026-11-22T00%3A00%3A00Z%2F1800%2Fhost%2Fabcdef",
    "bos with a session": "authorization=bce-auth-v1/ak/2026/1800/host/ab&x-bce-security-token=t",
    "kodo": "e=1799999999&token=AK_-x%3AM0jS-a_9%3D",
    "kodo as it is written": "e=1799999999&token=AK:M0jSa9=",
    "cdn": "auth_key=1799999999-0-0-0123456789abcdef0123456789abcdef",
}


@pytest.mark.parametrize("permit", PERMITS.values(), ids=PERMITS)
def test_a_permit_is_no_part_of_the_name_and_everything_else_is(permit: str):
    assert canonical_url(f"{NAME}?{permit}") == NAME
    assert canonical_url(f"{NAME}?versionId=7&{permit}&process=a%2fb") == f"{NAME}?process=a%2Fb&versionId=7"


def test_a_name_in_two_alphabets_with_the_vendors_own_permit():
    # Made by the official tos SDK; the keys are invented.
    bare = (
        "https://my-bucket.tos-cn-beijing.volces.com/%E7%B4%A0%E6%9D%90/"
        "%E6%A8%A1%E6%9D%BF%20%E8%A7%86%E9%A2%91%2B1.mp4"
    )
    permit = (
        "X-Tos-Algorithm=TOS4-HMAC-SHA256&X-Tos-Credential=AKLTEXAMPLEEXAMPLE%2F20261105%2Fcn-beijing%2Ftos"
        "%2Frequest&X-Tos-Date=20261105T080910Z&X-Tos-Expires=43200&X-Tos-SignedHeaders=host"
        "&X-Tos-Signature=22cf31a606cf036097db4a9cd3779a93bf8a430d5876a9a797353e36564f1427"
    )
    assert canonical_url(f"{bare}?{permit}") == bare


@pytest.mark.parametrize(
    "query",
    [
        "Expires=9",
        "Expires=9&Signature=f",
        "X-Amz-Date=d",
        "sp=r&sv=2023",
        "sig=f",
        "security-token=t",
        "x-expires=9",
        "x-oss-process=image%2Fresize%2Cw_100",
        "token=abc",
        "token=AK:M0jSa9=",
        "e=1799999999",
        "e=1&token=AK:M0jSa9=",
        "e=1799999999&token=abc",
        "authorization=none",
        "auth_key=cat",
        "auth_key=1799999999-0-0-0123",
        "Expires=9&Signature=f&UCloud=1",
        "v=2&v=1",
    ],
)
def test_parameters_that_are_no_permit_stay_part_of_the_name(query: str):
    assert canonical_url(f"{NAME}?{query}") == f"{NAME}?{query}"


def test_parameters_of_one_permit_do_not_drag_those_of_another_along():
    url = f"{NAME}?sp=speed&Policy=strict&{PERMITS['tos']}"
    assert canonical_url(url) == f"{NAME}?Policy=strict&sp=speed"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTPS://Bucket.Example/A/b.MP4", "https://bucket.example/A/b.MP4"),
        ("https://h:443/x", "https://h/x"),
        ("http://h:80/x", "http://h/x"),
        ("http://h:443/x", "http://h:443/x"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("https://h", "https://h/"),
        ("https://h?b=1", "https://h/?b=1"),
        ("https://h/x#part", "https://h/x"),
        ("https://user:pw@h/x", "https://h/x"),
        ("https://h/x?", "https://h/x"),
        ("https://h/x?&&a=1&", "https://h/x?a=1"),
        ("https://h/x?b=2&a=1&b=1", "https://h/x?a=1&b=2&b=1"),
        ("https://h/x?a&a=", "https://h/x?a&a="),
        ("https://h/%7Euser/%e4%bd%a0%2fb", "https://h/~user/%E4%BD%A0%2Fb"),
        ("https://h/a+b/%20c", "https://h/a+b/%20c"),
        ("https://h/100%", "https://h/100%"),
        ("S3://conn@Bucket/Key", "s3://Bucket/Key"),
        ("tos://bucket/k%7Ey", "tos://bucket/k%7Ey"),
        # A store that nobody presigns here, as a body of another product may name it.
        ("OSS://key@Bucket/k%7Ey?b=1&a=2", "oss://Bucket/k~y?a=2&b=1"),
        ("gs://a@bucket/a b/100%", "gs://bucket/a b/100%"),
    ],
)
def test_names_that_mean_the_same_are_written_the_same(url: str, canonical: str):
    assert canonical_url(url) == canonical
    assert canonical_url(canonical) == canonical


def test_a_site_of_the_users_own_may_have_volatile_parameters():
    assert canonical_url(f"{NAME}?auth=1&v=2&Auth=3", ["auth"]) == f"{NAME}?Auth=3&v=2"


@pytest.mark.parametrize(
    "url", ["https://h:port/x?sig=secret", "https://[::1/x?sig=secret", "https://h:99999/x"]
)
def test_a_url_that_can_not_be_taken_apart_is_an_input_error_without_its_query(url: str):
    with pytest.raises(JimengInputError, match="nothing was paid") as caught:
        canonical_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://u:p@h:8/a/b.mp4?sig=1#f", "https://h:8/a/b.mp4"),
        ("https://h", "https://h"),
        ("https://h?x=@y", "https://h"),
        ("s3://conn@bucket/key", "s3://bucket/key"),
        ("/disk/a?b", "/disk/a"),
        ("u:p@h/x?y", "h/x"),
        ("", ""),
    ],
)
def test_a_url_in_a_log_has_no_secret(url: str, safe: str):
    assert redact_url(url) == safe


def test_urls_within_a_text_lose_their_secrets_and_the_text_stays():
    words = 'Get "https://u:p@h/a?sig=1": 403, then <tos://b/k?x=2> at 12:30, a://b?'
    assert redact_text(words) == 'Get "https://h/a": 403, then <tos://b/k> at 12:30, a://b'
    assert redact_text("no url at all") == "no url at all"


def test_inputs_are_canonical_at_any_depth_and_text_is_left_alone():
    given = {
        "image_urls": (f"{NAME}?{PERMITS['tos']}",),
        "nested": {"video": f"{NAME}?{PERMITS['oss v1']}", "n": 1, "flag": True, "none": None},
        "prompt": "see https://h/x?sig=1&sv=2 and dance",
        "scale": 0.5,
    }
    assert canonical_inputs(given) == {
        "image_urls": [NAME],
        "nested": {"video": NAME, "n": 1, "flag": True, "none": None},
        "prompt": "see https://h/x?sig=1&sv=2 and dance",
        "scale": 0.5,
    }
    assert canonical_inputs({"u": f"{NAME}?t=1"}, ["t"]) == {"u": NAME}


IDENTITY: dict[str, Any] = {
    "account": "studio",
    "endpoint": "visual.volcengineapi.com/cn-north-1",
    "req_key": "jimeng_dream_actor_m1_gen_video_cv",
    "inputs": {"image_url": "https://a.example/1.png", "video_url": "https://a.example/1.mp4"},
    "variant": 0,
    "force_new": None,
}

#: Golden: a change here makes every customer pay again for everything.
GOLDEN = [
    ({}, "87bb926696c6403715f1d951957407142eff5eb5dff9c3f12bba5744cd70294a"),
    ({"variant": 1}, "7aca2b4e3a9407e162a54b11c7d63ecc087d58a47bce26f5810a9b014b16bcda"),
    ({"force_new": "the client asked"}, "c07c1c6cacc2ddb4fb50562cd811a7217c8c6c26dc164362ac1374ff7c897e84"),
    (
        {"inputs": {"image_urls": ["https://a.example/即梦.png"], "n": 1.5}},
        "6fa59249a5e08ecfc158f7c6ca2d2b80aa21745cebab91dcba4e200ac094b3ac",
    ),
]


@pytest.mark.parametrize(("changes", "key"), GOLDEN)
def test_keys_are_the_same_in_every_release(changes: dict[str, Any], key: str):
    assert content_key(**{**IDENTITY, **changes}) == key


def test_whatever_is_part_of_the_identity_changes_the_key():
    variations: list[dict[str, Any]] = [
        {"account": "other"},
        {"endpoint": "other"},
        {"req_key": "other"},
        {"inputs": {}},
        {"variant": 1},
        {"force_new": ""},
        {"force_new": "reason"},
    ]
    keys = {content_key(**{**IDENTITY, **each}) for each in [{}, *variations]}
    assert len(keys) == len(variations) + 1


def test_the_order_of_fields_does_not_change_the_key():
    turned = dict(reversed(list(IDENTITY["inputs"].items())))
    assert content_key(**{**IDENTITY, "inputs": turned}) == content_key(**IDENTITY)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"bytes"])
def test_inputs_that_json_can_not_express_are_an_input_error(value: object):
    with pytest.raises(JimengInputError, match="Nothing was paid"):
        content_key(**{**IDENTITY, "inputs": {"x": value}})


def test_inputs_text_is_plain_ascii_and_ordered():
    assert inputs_json({"b": 1, "a": "即\ud800"}) == '{"a":"\\u5373\\ud800","b":1}'
