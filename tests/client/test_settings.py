# Licensed under the Apache License, Version 2.0. See LICENSE.
"""How a connection's fields are read: every rule of the connection as a row."""

from __future__ import annotations

import json
import logging
from dataclasses import FrozenInstanceError
from ipaddress import ip_network
from typing import Any

import pytest

from airflow.sdk import Connection
from airflow_provider_jimeng.api.models import MOTION_IMITATION, Endpoint
from airflow_provider_jimeng.client.settings import AccountSettings, account_digest, parse_connection
from airflow_provider_jimeng.exceptions import JimengConfigurationError
from airflow_provider_jimeng.ledger.records import Scope

SECRET = "the-secret-key"


def parse(extra: Any = None, **fields: Any) -> AccountSettings:
    values: dict[str, Any] = {
        "conn_id": "vendor",
        "login": "AKID",
        "password": SECRET,
        "host": None,
        "schema": None,
        "port": None,
        "extra": extra,
    }
    return parse_connection(**(values | fields))


def parse_uri(uri: str) -> AccountSettings:
    connection = Connection.from_uri(uri, conn_id="vendor")
    return parse(
        connection.extra,
        login=connection.login,
        password=connection.password,
        host=connection.host,
        schema=connection.schema,
        port=connection.port,
    )


def test_defaults():
    settings = parse()
    assert settings.endpoint == Endpoint("https://visual.volcengineapi.com", "cn-north-1", "cv")
    assert (settings.connect_timeout, settings.read_timeout, settings.submit_deadline) == (10, 30, 60)
    assert (settings.verify, settings.proxies) == (True, {})
    assert (settings.submit_qps, settings.query_qps) == (1, 5)
    assert settings.max_concurrency is None
    assert settings.daily_submit_limit is None
    assert settings.price_per_second is None
    assert settings.allowed_networks == ()
    assert settings.loopback is False
    assert settings.credentials.session_token is None


@pytest.mark.parametrize(
    ("slots", "rate"), [(None, 1.0), (2, 1.0), (10, 2.0), ({MOTION_IMITATION: 20, "other_key": 5}, 5.0)]
)
def test_many_slots_are_filled_within_seconds(slots, rate):
    assert parse({} if slots is None else {"max_concurrency": slots}).submit_qps == rate


def test_account_is_a_digest_of_the_access_key_unless_named():
    assert parse().account == account_digest("AKID") == parse(password="rotated").account
    assert "AKID" not in parse().account
    assert parse(login="AKID2").account != parse().account
    assert parse({"account": "acme"}).account == parse({"account": "acme"}, login="AKID2").account == "acme"


@pytest.mark.parametrize(
    ("extra", "row", "may_ask", "is_called"),
    [
        (None, account_digest("AKID"), True, True),
        (None, account_digest("AKID-before"), True, False),
        (None, "ak-prod-emea", False, False),
        (None, "ak-" + 24 * "A", False, False),
        ({"account": "acme"}, "acme", True, True),
        ({"account": "acme"}, account_digest("AKID"), True, True),
        ({"account": "acme"}, account_digest("AKID-before"), False, False),
        ({"account": "ak-prod-emea"}, "ak-prod-apac", False, False),
    ],
    ids=str,
)
def test_whose_rows_a_connection_may_ask_about(extra, row, may_ask, is_called):
    settings = parse(extra)
    assert settings.may_ask_about(row, settings.endpoint_name) is may_ask
    assert settings.is_called(row) is is_called
    assert not settings.may_ask_about(row, "elsewhere.example.com/cn-north-1")


def test_settings_are_frozen_and_show_no_secret():
    settings = parse(
        {"session_token": "the-token", "account": "a", "proxies": {"https": "http://u:the-pw@p:1"}}
    )
    with pytest.raises(FrozenInstanceError):
        settings.account = "b"  # type: ignore[misc]
    for secret in (SECRET, "the-token", "the-pw"):
        assert secret not in repr(settings)


@pytest.mark.parametrize(
    ("host", "schema", "port", "origin"),
    [
        (None, None, None, "https://visual.volcengineapi.com"),
        ("  ", "", "", "https://visual.volcengineapi.com"),
        ("cv.byteplusapi.com", None, None, "https://cv.byteplusapi.com"),
        ("CV.ByteplusAPI.com", None, None, "https://cv.byteplusapi.com"),
        ("https://cv.byteplusapi.com", None, None, "https://cv.byteplusapi.com"),
        ("HTTPS://cv.byteplusapi.com/", None, None, "https://cv.byteplusapi.com"),
        ("https://cv.byteplusapi.com:443", None, None, "https://cv.byteplusapi.com"),
        ("https://cv.byteplusapi.com:8443", None, None, "https://cv.byteplusapi.com:8443"),
        ("cv.byteplusapi.com:8443", None, None, "https://cv.byteplusapi.com:8443"),
        ("cv.byteplusapi.com", "https", 8443, "https://cv.byteplusapi.com:8443"),
        ("cv.byteplusapi.com", None, "8443", "https://cv.byteplusapi.com:8443"),
        ("cv.byteplusapi.com:8443", None, 8443, "https://cv.byteplusapi.com:8443"),
        ("https://cv.byteplusapi.com", "HTTPS", None, "https://cv.byteplusapi.com"),
        ("127.0.0.1", "http", 9000, "http://127.0.0.1:9000"),
        ("http://127.0.0.1:9000", None, None, "http://127.0.0.1:9000"),
        ("http://localhost", None, 80, "http://localhost"),
        ("http://[::1]:9000", None, None, "http://[::1]:9000"),
        ("::1", "http", 9000, "http://[::1]:9000"),
        ("http://127.9.9.9", None, None, "http://127.9.9.9"),
        ("http://bücher.localhost", None, None, "http://xn--bcher-kva.localhost"),
    ],
)
def test_host_schema_and_port_make_one_origin(host: Any, schema: Any, port: Any, origin: str):
    assert parse(host=host, schema=schema, port=port).endpoint.origin == origin


@pytest.mark.parametrize(
    ("field", "host", "schema", "port"),
    [
        ("host", "http://visual.volcengineapi.com", None, None),
        ("host", "visual.volcengineapi.com", "http", None),
        ("host", "http://10.0.0.1", None, None),
        ("host", "http://127.1", None, None),
        ("host", "http://2130706433", None, None),
        ("host", "http://localhost.example.com", None, None),
        ("host", "ftp://visual.volcengineapi.com", None, None),
        ("host", "https://user:pw-secret@visual.volcengineapi.com", None, None),
        ("host", "https://visual.volcengineapi.com/path", None, None),
        ("host", "https://visual.volcengineapi.com?x=1", None, None),
        ("host", "https://visual.volcengineapi.com#x", None, None),
        ("host", "visual volcengineapi.com", None, None),
        ("host", "visual.volcengineapi.com\nX-Evil: 1", None, None),
        ("host", "visual.volcengineapi.com\\@evil", None, None),
        ("host", "https://", None, None),
        ("host", "https://:443", None, None),
        ("host", "https://a..b", None, None),
        ("host", "https://-a.com", None, None),
        ("host", "https://" + "a" * 300, None, None),
        ("host", "https://host:99999", None, None),
        ("host", "https://host:port", None, None),
        ("host", "https://[::1", None, None),
        ("host", "https://host:0", None, None),
        ("host", "http://[fe80::1%25lo]", None, None),
        ("host", "fe80::1%lo", None, None),
        ("schema", None, "ftp", None),
        ("schema", "https://host.test", "http", None),
        ("port", "https://host.test:1", None, 2),
        ("port", None, None, 0),
        ("port", None, None, 70000),
        ("port", None, None, -1),
        ("port", None, None, "eighty"),
    ],
)
def test_endpoint_that_can_not_be_is_refused_by_field(field: str, host: Any, schema: Any, port: Any):
    with pytest.raises(JimengConfigurationError, match=f"field `{field}`") as caught:
        parse(host=host, schema=schema, port=port)
    assert "pw-secret" not in str(caught.value)
    assert "'vendor'" in str(caught.value)
    assert not caught.value.retry_helps


@pytest.mark.parametrize("allow", [True, "true", "1", "Yes", 1])
def test_plain_http_elsewhere_needs_allow_http(allow: Any):
    settings = parse({"allow_http": allow}, host="http://vendor.test:8080")
    assert settings.endpoint.origin == "http://vendor.test:8080"
    assert settings.loopback is False


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "https://localhost", "http://[::1]:8"])
def test_loopback_endpoint_is_known_as_one(origin: str):
    assert parse(host=origin).loopback is True


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("region", "ap-singapore-1", "ap-singapore-1"),
        ("region", "", "cn-north-1"),
        ("region", None, "cn-north-1"),
        ("service", "cv_open", "cv_open"),
        ("account", " acme ", "acme"),
        ("account", 42, "42"),
        ("price_per_second", "0.35", 0.35),
        ("price_per_second", 0, 0.0),
        ("price_per_second", 1, 1.0),
        ("daily_submit_limit", "500", 500),
        ("daily_submit_limit", 500.0, 500),
        ("max_concurrency", 2, 2),
        ("max_concurrency", "2", 2),
        ("max_concurrency", " 2 ", 2),
        ("max_concurrency", 2.0, 2),
        ("max_concurrency", {"k": 3, "j": "4"}, {"k": 3, "j": 4}),
        ("max_concurrency", '{"k": 3, "j": "4"}', {"k": 3, "j": 4}),
        ("max_concurrency", {}, None),
        ("max_concurrency", "{}", None),
        ("max_concurrency", "", None),
        ("submit_qps", "0.5", 0.5),
        ("query_qps", 20, 20.0),
        ("connect_timeout", "3", 3.0),
        ("read_timeout", "1e2", 100.0),
        ("submit_deadline", 45, 45.0),
        ("verify", "false", False),
        ("verify", "False", False),
        ("verify", 0, False),
        ("verify", "no", False),
        ("verify", True, True),
        ("verify", "true", True),
        ("verify", None, True),
        ("verify", "/etc/ssl/own.pem", "/etc/ssl/own.pem"),
        ("proxies", {"https": "http://p:3128"}, {"https": "http://p:3128"}),
        ("proxies", '{"HTTPS": "http://p:3128", "http": ""}', {"https": "http://p:3128"}),
        ("proxies", {"no_proxy": "a,b", "https": None}, {"no_proxy": "a,b"}),
        ("allowed_networks", "10.0.0.0/8", (ip_network("10.0.0.0/8"),)),
        ("allowed_networks", "10.0.0.0/8, fd00::/8", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
        ("allowed_networks", '["10.1.2.3"]', (ip_network("10.1.2.3/32"),)),
        ("allowed_networks", ["192.168.0.0/16"], (ip_network("192.168.0.0/16"),)),
        ("allowed_networks", [], ()),
    ],
)
def test_extras_are_read_as_what_they_mean(name: str, value: Any, expected: Any):
    for extra in ({name: value}, json.dumps({name: value})):
        settings = parse(extra)
        found = getattr(settings.endpoint if name in ("region", "service") else settings, name)
        assert found == expected
        assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "cn north"),
        ("region", "cn/north"),
        ("region", ["cn"]),
        ("region", True),
        ("service", "c\nv"),
        ("account", "a" * 200),
        ("account", "a\x00b"),
        ("session_token", "two words"),
        ("session_token", "tök"),
        ("price_per_second", -1),
        ("price_per_second", "NaN"),
        ("price_per_second", float("nan")),
        ("price_per_second", float("inf")),
        ("price_per_second", "-inf"),
        ("price_per_second", True),
        ("price_per_second", "1e999"),
        ("price_per_second", 10**400),
        ("price_per_second", "1_000"),
        ("price_per_second", {}),
        ("daily_submit_limit", 0),
        ("daily_submit_limit", -5),
        ("daily_submit_limit", 2.5),
        ("daily_submit_limit", "2.5"),
        ("daily_submit_limit", 10**30),
        ("max_concurrency", 0),
        ("max_concurrency", -1),
        ("max_concurrency", True),
        ("max_concurrency", "many"),
        ("max_concurrency", "9" * 5000),
        ("max_concurrency", [1]),
        ("max_concurrency", '{"k": }'),
        ("max_concurrency", "{" * 20_000),
        ("max_concurrency", {"k": 0}),
        ("max_concurrency", {"k": None}),
        ("max_concurrency", {"": 1}),
        ("submit_qps", 0),
        ("submit_qps", -1),
        ("submit_qps", "fast"),
        ("query_qps", float("nan")),
        ("query_qps", 10**9),
        ("connect_timeout", 0),
        ("connect_timeout", -3),
        ("read_timeout", "soon"),
        ("read_timeout", float("inf")),
        ("submit_deadline", 10**6),
        ("submit_deadline", False),
        ("verify", 2),
        ("verify", ["x"]),
        ("verify", "/a\nb"),
        ("proxies", "http://p:3128"),
        ("proxies", ["http://p"]),
        ("proxies", {"https": 1}),
        ("proxies", {"https": "socks5://p:1080"}),
        ("proxies", {"https": "p:3128"}),
        ("proxies", {"https": "http://p:port"}),
        ("proxies", {"https": "http://"}),
        ("allow_http", "maybe"),
        ("allow_http", 2),
        ("allowed_networks", "10.0.0.0/33"),
        ("allowed_networks", "10.0.0.1/8"),
        ("allowed_networks", "office"),
        ("allowed_networks", {"a": 1}),
        ("allowed_networks", [10]),
        ("allowed_networks", [True]),
        ("allowed_networks", "[1"),
    ],
)
def test_extras_that_can_not_be_read_are_refused_by_field(name: str, value: Any):
    with pytest.raises(JimengConfigurationError, match=rf"field `{name}(\[k\])?`"):
        parse({"account": "acme", name: value})


@pytest.mark.parametrize("extra", ["{", "[1]", '"text"', "3", "[" * 20_000])
def test_extra_that_is_no_object_is_refused(extra: str):
    with pytest.raises(JimengConfigurationError, match="field `extra`"):
        parse(extra)


@pytest.mark.parametrize("extra", [None, "", "  ", "{}", {}])
def test_empty_extra_is_fine(extra: Any):
    assert parse(extra).account == account_digest("AKID")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("login", None),
        ("login", ""),
        ("login", "  "),
        ("login", "AK ID"),
        ("login", "AK\r\nX: 1"),
        ("login", "ключ"),
        ("password", None),
        ("password", ""),
        ("password", "the secret\nkey"),
    ],
)
def test_keys_that_can_not_be_are_refused_without_being_quoted(field: str, value: Any):
    with pytest.raises(JimengConfigurationError, match=f"field `{field}`") as caught:
        parse(**{field: value})
    assert "the secret" not in str(caught.value)


def test_blanks_around_pasted_keys_are_dropped():
    settings = parse(login=" AKID\n", password=f"\t{SECRET} ")
    assert (settings.credentials.access_key, settings.credentials.secret_key) == ("AKID", SECRET)


def test_session_token_needs_an_account():
    with pytest.raises(JimengConfigurationError, match="field `account`.*`session_token`") as caught:
        parse({"session_token": "the-token"})
    assert "the-token" not in str(caught.value)
    assert parse({"session_token": "the-token", "account": "acme"}).credentials.session_token == "the-token"


def test_unknown_extras_are_ignored_with_a_debug_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        settings = parse({"new_feature": "its-value", "account": "acme"})
    assert settings.account == "acme"
    assert "new_feature" in caplog.text
    assert "its-value" not in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


def test_refused_proxy_shows_no_password():
    with pytest.raises(JimengConfigurationError) as caught:
        parse({"proxies": {"https": "socks5://user:the-pw@p:1"}})
    assert "the-pw" not in str(caught.value)


def test_one_number_holds_for_every_req_key_and_an_object_for_those_it_names():
    assert parse({"max_concurrency": 3}).limit_for("any") == 3
    by_key = parse({"max_concurrency": {"k": 2}})
    assert (by_key.limit_for("k"), by_key.limit_for("other")) == (2, None)
    assert parse().limit_for("k") is None


def test_scope_is_account_host_and_region_and_req_key():
    settings = parse({"account": "acme", "region": "ap-singapore-1"}, host="https://cv.byteplusapi.com:8443")
    assert settings.scope("k") == Scope("acme", "cv.byteplusapi.com:8443/ap-singapore-1", "k")


# --- URI form ---


@pytest.mark.parametrize(
    ("uri", "origin", "expected"),
    [
        ("volcengine://AKID:the-secret-key@", "https://visual.volcengineapi.com", {}),
        ("volcengine://AKID:the-secret-key@cv.byteplusapi.com", "https://cv.byteplusapi.com", {}),
        ("volcengine://AKID:the-secret-key@127.0.0.1:9000/http", "http://127.0.0.1:9000", {}),
        ("volcengine://AKID:the-secret-key@http%3A%2F%2F127.0.0.1%3A9000", "http://127.0.0.1:9000", {}),
        ("volcengine://http://AKID:the-secret-key@127.0.0.1:9000", "http://127.0.0.1:9000", {}),
        (
            "volcengine://AKID:the-secret-key@h.test:8443/https?verify=false&max_concurrency=2&submit_qps=0.5",
            "https://h.test:8443",
            {"verify": False, "max_concurrency": 2, "submit_qps": 0.5},
        ),
        (
            "volcengine://AKID:the-secret-key@/?max_concurrency=%7B%22k%22%3A%203%7D&account=acme",
            "https://visual.volcengineapi.com",
            {"max_concurrency": {"k": 3}, "account": "acme"},
        ),
        (
            "volcengine://AKID:the-secret-key@/?__extra__=%7B%22max_concurrency%22%3A%20%7B%22k%22%3A%203%7D%7D",
            "https://visual.volcengineapi.com",
            {"max_concurrency": {"k": 3}},
        ),
        (
            "volcengine://AKID:the-secret-key@h.test/?allow_http=1&allowed_networks=10.0.0.0%2F8%2C192.168.0.0%2F16",
            "https://h.test",
            {"allowed_networks": (ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16"))},
        ),
    ],
)
def test_uri_form(uri: str, origin: str, expected: dict[str, Any]):
    settings = parse_uri(uri)
    assert settings.endpoint.origin == origin
    assert settings.credentials.access_key == "AKID"
    assert settings.credentials.secret_key == SECRET
    for name, value in expected.items():
        assert getattr(settings, name) == value


def test_uri_form_decodes_a_secret_with_reserved_characters():
    assert parse_uri("volcengine://AKID:a%2Fb%2Bc%3D%3D@").credentials.secret_key == "a/b+c=="
