# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The hook: where its credentials come from, what it signs and sends, and what its connection test tells."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import json
import logging
import subprocess
import sys
import types
import warnings
from typing import Any

import pytest

from airflow.sdk import Connection
from airflow_provider_jimeng.api.models import API_VERSION, RESULT_ACTION, SUBMIT_ACTION, Answer
from airflow_provider_jimeng.client.settings import account_digest
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengInputError,
    JimengNotSentError,
    JimengProtocolError,
)
from airflow_provider_jimeng.get_provider_info import get_provider_info
from airflow_provider_jimeng.hooks import volcengine
from airflow_provider_jimeng.hooks.compat import AirflowNotFoundException
from airflow_provider_jimeng.hooks.volcengine import VolcengineHook

from tests.airflow_versions import AIRFLOW, moved, providers_of_tasks, since_airflow
from tests.client.servers import Connection as ServerConnection, answering, closed_port, serving

SECRET = "the-secret-access-key"


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str = "volcengine_default", **values: Any) -> None:
    """Define an Airflow connection as its environment variable does."""
    fields = {"conn_type": "volcengine", "login": "AKID", "password": SECRET} | values
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def test_connection_is_read_and_kept(monkeypatch: pytest.MonkeyPatch):
    connect(
        monkeypatch, host="cv.byteplusapi.com", extra={"region": "ap-singapore-1", "max_concurrency": "2"}
    )
    hook = VolcengineHook()
    settings = hook.settings
    assert settings.endpoint.origin == "https://cv.byteplusapi.com"
    assert settings.endpoint.region == "ap-singapore-1"
    assert settings.limit_for("k") == 2
    assert settings.account == account_digest("AKID")
    monkeypatch.delenv("AIRFLOW_CONN_VOLCENGINE_DEFAULT")
    assert hook.settings is settings


def test_uri_connection_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_OTHER", f"volcengine://AKID:{SECRET}@127.0.0.1:9000/http?max_concurrency=3"
    )
    settings = VolcengineHook("other").settings
    assert (settings.conn_id, settings.endpoint.origin) == ("other", "http://127.0.0.1:9000")
    assert settings.max_concurrency == 3
    assert settings.loopback


def test_settings_are_the_same_from_an_event_loop(monkeypatch: pytest.MonkeyPatch):
    connect(monkeypatch, extra={"account": "acme"})

    async def read() -> tuple[Any, Any]:
        hook = VolcengineHook()
        first = await hook.aget_settings()
        return first, await hook.aget_settings()

    first, second = asyncio.run(read())
    assert first is second
    assert first == VolcengineHook().settings


def test_without_a_supervisor_airflow_3_1_0_is_asked_as_its_own_commands_do(monkeypatch: pytest.MonkeyPatch):
    from airflow.models.connection import Connection as OfCommands

    def no_channel(conn_id: str) -> Any:
        raise ImportError(
            "cannot import name 'SUPERVISOR_COMMS' from 'airflow.sdk.execution_time.task_runner'"
        )

    def stored(conn_id: str) -> Any:
        if conn_id != "stored":
            raise AirflowNotFoundException(conn_id)
        return Connection(conn_id=conn_id, conn_type="volcengine", login="AKID", password=SECRET)

    monkeypatch.setattr(VolcengineHook, "get_connection", staticmethod(no_channel))
    monkeypatch.setattr(OfCommands, "get_connection_from_secrets", staticmethod(stored))
    monkeypatch.setattr(volcengine, "MASKS_ASYNCHRONOUSLY", False)
    assert VolcengineHook("stored").settings.credentials.access_key == "AKID"
    assert asyncio.run(VolcengineHook("stored").aget_settings()) == VolcengineHook("stored").settings
    with pytest.raises(JimengConfigurationError, match="nowhere"):
        _ = VolcengineHook("nowhere").settings
    with pytest.raises(JimengConfigurationError, match="nowhere"):
        asyncio.run(VolcengineHook("nowhere").aget_settings())


def test_another_import_that_fails_is_no_missing_connection(monkeypatch: pytest.MonkeyPatch):
    def broken(conn_id: str) -> Any:
        raise ImportError("no module of a secrets backend")

    monkeypatch.setattr(VolcengineHook, "get_connection", staticmethod(broken))
    with pytest.raises(ImportError, match="secrets backend"):
        _ = VolcengineHook("nowhere").settings


def test_event_loop_falls_back_to_a_thread_as_dag_test_needs(monkeypatch: pytest.MonkeyPatch):
    async def no_asend(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(VolcengineHook, "aget_connection", staticmethod(no_asend))
    connect(monkeypatch, "db_only", extra={"account": "acme"})
    assert asyncio.run(VolcengineHook("db_only").aget_settings()).account == "acme"


def test_event_loop_of_an_older_airflow_reads_in_a_thread(monkeypatch: pytest.MonkeyPatch):
    async def deadlock(conn_id: str) -> Any:
        raise AssertionError("it would deadlock there")

    monkeypatch.setattr(volcengine, "MASKS_ASYNCHRONOUSLY", False)
    monkeypatch.setattr(VolcengineHook, "aget_connection", staticmethod(deadlock))
    connect(monkeypatch, extra={"account": "acme"})
    assert asyncio.run(VolcengineHook().aget_settings()).account == "acme"


def test_named_connection_that_is_missing_is_an_error_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("VOLCENGINE_ACCESS_KEY", "AK")
    monkeypatch.setenv("VOLCENGINE_SECRET_KEY", "SK")
    with pytest.raises(JimengConfigurationError, match="no connection 'team_a'"):
        _ = VolcengineHook("team_a").settings
    with pytest.raises(JimengConfigurationError, match="no connection 'team_a'"):
        asyncio.run(VolcengineHook("team_a").aget_settings())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VOLCENGINE_ACCESS_KEY": "NEW", "VOLCENGINE_SECRET_KEY": "s1"}, ("NEW", "s1")),
        ({"VOLC_ACCESSKEY": "OLD", "VOLC_SECRETKEY": "s2"}, ("OLD", "s2")),
        (
            {
                "VOLCENGINE_ACCESS_KEY": "NEW",
                "VOLCENGINE_SECRET_KEY": "s1",
                "VOLC_ACCESSKEY": "OLD",
                "VOLC_SECRETKEY": "s2",
            },
            ("NEW", "s1"),
        ),
        ({"VOLCENGINE_ACCESS_KEY": "NEW", "VOLC_ACCESSKEY": "OLD", "VOLC_SECRETKEY": "s2"}, ("OLD", "s2")),
        ({"VOLCENGINE_ACCESS_KEY": "", "VOLC_ACCESSKEY": "OLD", "VOLC_SECRETKEY": "s2"}, ("OLD", "s2")),
    ],
)
def test_environment_of_the_official_sdk_stands_in_for_the_default_connection(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[str, str]
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for settings in (VolcengineHook().settings, asyncio.run(VolcengineHook().aget_settings())):
        assert (settings.credentials.access_key, settings.credentials.secret_key) == expected
        assert settings.endpoint.origin == "https://visual.volcengineapi.com"


def test_connection_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch):
    connect(monkeypatch)
    monkeypatch.setenv("VOLCENGINE_ACCESS_KEY", "ENV")
    monkeypatch.setenv("VOLCENGINE_SECRET_KEY", "s")
    assert VolcengineHook().settings.credentials.access_key == "AKID"


def test_session_token_of_the_environment_needs_a_name_for_its_account(monkeypatch: pytest.MonkeyPatch):
    for name in ("ACCESS_KEY", "SECRET_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"VOLCENGINE_{name}", "value")
    with pytest.raises(JimengConfigurationError, match=r"\[jimeng\] environment_account"):
        _ = VolcengineHook().settings
    monkeypatch.setenv("AIRFLOW__JIMENG__ENVIRONMENT_ACCOUNT", "studio")
    for settings in (VolcengineHook().settings, asyncio.run(VolcengineHook().aget_settings())):
        assert (settings.account, settings.credentials.session_token) == ("studio", "value")


def test_a_secrets_backend_that_fails_is_no_missing_connection(monkeypatch: pytest.MonkeyPatch):
    class Vault:
        def get_connection(self, conn_id: str) -> Any:
            raise TimeoutError("the vault is sealed")

    monkeypatch.setenv("VOLC_ACCESSKEY", "AK")
    monkeypatch.setenv("VOLC_SECRETKEY", "SK")
    monkeypatch.setattr(
        "airflow.sdk.execution_time.supervisor.ensure_secrets_backend_loaded", lambda: [Vault()]
    )
    for read in (lambda: VolcengineHook().settings, lambda: asyncio.run(VolcengineHook().aget_settings())):
        with pytest.raises(JimengConfigurationError, match="Vault failed with TimeoutError") as told:
            read()
        assert told.value.retry_helps


def test_neither_connection_nor_environment_names_both_ways():
    with pytest.raises(JimengConfigurationError, match="VOLCENGINE_ACCESS_KEY") as caught:
        _ = VolcengineHook().settings
    assert "VOLC_ACCESSKEY" in str(caught.value)


def test_trouble_with_reading_a_connection_is_not_its_absence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VOLCENGINE_ACCESS_KEY", "AK")
    monkeypatch.setenv("VOLCENGINE_SECRET_KEY", "SK")

    def broken(conn_id: str) -> Any:
        raise ConnectionError("the API server is away")

    monkeypatch.setattr(VolcengineHook, "get_connection", staticmethod(broken))
    with pytest.raises(ConnectionError):
        _ = VolcengineHook().settings


def test_extra_that_is_no_json_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        VolcengineHook,
        "get_connection",
        staticmethod(
            lambda conn_id: Connection(
                conn_id=conn_id,
                conn_type="volcengine",
                login="AKID",
                password=SECRET,
                extra="{max_concurrency: 2",
            )
        ),
    )
    with pytest.raises(JimengConfigurationError, match="`extra`"):
        _ = VolcengineHook().settings


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch):
    masked: list[Any] = []
    monkeypatch.setattr(volcengine, "mask_secret", lambda secret, name=None: masked.append(secret))

    async def amask(secret: Any, name: Any = None) -> None:
        masked.append(secret)

    monkeypatch.setattr(volcengine, "amask_secret", amask)
    extra = {"session_token": "the-token", "account": "a", "proxies": {"https": "http://u:p%2Fw@proxy:1"}}
    connect(monkeypatch, extra=extra)
    expected = [SECRET, "the-token", "p%2Fw", "p/w"]
    _ = VolcengineHook().settings
    assert masked == expected
    masked.clear()
    asyncio.run(VolcengineHook().aget_settings())
    assert masked == expected


def test_sign_gives_all_headers(monkeypatch: pytest.MonkeyPatch):
    connect(monkeypatch, extra={"session_token": "the-token", "account": "a"})
    headers = VolcengineHook().sign(
        url="https://visual.volcengineapi.com/?Action=X&Version=Y",
        body=b"{}",
        headers={"Content-Type": "application/json"},
        date=dt.datetime(2026, 11, 22, 1, 2, 3, tzinfo=dt.UTC),
    )
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["x-date"] == "20261122T010203Z"
    assert lower["x-security-token"] == "the-token"
    assert lower["authorization"].startswith("HMAC-SHA256 Credential=AKID/20261122/cn-north-1/cv/request, ")
    assert SECRET not in str(headers)


# --- request ---


def local(monkeypatch: pytest.MonkeyPatch, url: str, **extra: Any) -> VolcengineHook:
    connect(monkeypatch, host=url, extra={"query_qps": 10_000, **extra})
    return VolcengineHook()


def test_request_returns_the_answer_refusals_included(monkeypatch: pytest.MonkeyPatch):
    refusal = {"ResponseMetadata": {"RequestId": "R9", "Error": {"CodeN": 100013, "Code": "AccessDenied"}}}
    with serving(answering(refusal, "403 Forbidden")) as server:
        answer = local(monkeypatch, server.url).request("CVCancelTask", "2024-06-06", {"task_id": "1"})
    assert isinstance(answer, Answer)
    assert (answer.http_status, answer.code, answer.request_id) == (403, 100013, "R9")
    assert server.requests[0].endswith(b'{"task_id":"1"}')


def test_request_sends_given_bytes_as_they_are(monkeypatch: pytest.MonkeyPatch):
    with serving(answering({"code": 10000})) as server:
        local(monkeypatch, server.url).request(RESULT_ACTION, API_VERSION, b'{"a":  1}')
    assert server.requests[0].endswith(b'{"a":  1}')


def test_request_refuses_to_submit(monkeypatch: pytest.MonkeyPatch):
    with serving(answering({"code": 10000})) as server:
        with pytest.raises(JimengInputError, match="submit_task"):
            local(monkeypatch, server.url).request(SUBMIT_ACTION, API_VERSION, {})
        assert server.connections == 0


def test_request_that_is_not_sent_says_so(monkeypatch: pytest.MonkeyPatch):
    hook = local(monkeypatch, f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(JimengNotSentError, match="was not sent"):
        hook.request(RESULT_ACTION, API_VERSION, {})


def test_request_without_an_answer_says_that_its_effect_is_unknown(monkeypatch: pytest.MonkeyPatch):
    def reset(connection: ServerConnection) -> None:
        connection.read_request()
        connection.reset()

    with serving(reset) as server:
        with pytest.raises(JimengProtocolError, match="unknown"):
            local(monkeypatch, server.url).request(RESULT_ACTION, API_VERSION, {})
        assert len(server.requests) == 1


# --- test_connection ---


def gateway(code: int, name: str) -> dict[str, Any]:
    error = {"CodeN": code, "Code": name, "Message": name}
    return {"ResponseMetadata": {"RequestId": "R1", "Error": error}}


def outcome_of(monkeypatch: pytest.MonkeyPatch, body: Any, status: str, **headers: str) -> tuple[bool, str]:
    with serving(answering(body, status, **headers)) as server:
        works, message = local(monkeypatch, server.url).test_connection()
    assert len(server.requests) == 1
    assert b"Action=CVSync2AsyncGetResult" in server.requests[0]
    assert b'"task_id":"0"' in server.requests[0]
    assert SECRET not in message
    return works, message


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (gateway(100009, "InvalidAccessKey"), "401 Unauthorized", "Wrong key"),
        (gateway(100010, "SignatureDoesNotMatch"), "401 Unauthorized", "Wrong signature"),
        (gateway(100013, "AccessDenied"), "403 Forbidden", "Missing permission"),
        ({"code": 50400, "message": "Access Denied"}, "400 Bad Request", "Product not activated"),
        (b"<html>", "502 Bad Gateway", "HTTP 502"),
    ],
)
def test_connection_test_tells_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, body: Any, status: str, words: str
):
    works, message = outcome_of(monkeypatch, body, status)
    assert not works
    assert words in message


def test_connection_test_tells_by_how_much_the_clock_is_off(monkeypatch: pytest.MonkeyPatch):
    date = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), usegmt=True)
    works, message = outcome_of(monkeypatch, gateway(100006, "InvalidTimestamp"), "403 Forbidden", Date=date)
    assert not works
    assert "Bad clock" in message
    assert any(f"{seconds} s behind" in message for seconds in (3598, 3599, 3600))


def test_connection_test_succeeds_where_the_task_is_not_found(monkeypatch: pytest.MonkeyPatch):
    body = {"code": 10000, "data": {"status": "not_found"}, "message": "Success"}
    works, message = outcome_of(monkeypatch, body, "200 OK")
    assert works
    assert "nothing was submitted" in message


def test_connection_test_tells_an_unreachable_host(monkeypatch: pytest.MonkeyPatch):
    works, message = local(monkeypatch, f"http://127.0.0.1:{closed_port()}").test_connection()
    assert not works
    assert "unreachable" in message


def test_connection_test_tells_a_field_that_can_not_be_read(monkeypatch: pytest.MonkeyPatch):
    connect(monkeypatch, extra={"read_timeout": "soon"})
    works, message = VolcengineHook().test_connection()
    assert not works
    assert "`read_timeout`" in message


def test_connection_test_of_a_connection_that_is_missing():
    works, message = VolcengineHook("nowhere").test_connection()
    assert not works
    assert "nowhere" in message


def test_airflow_itself_can_test_the_connection(monkeypatch: pytest.MonkeyPatch):
    body = {"code": 10000, "data": {"status": "not_found"}, "message": "Success"}
    with serving(answering(body)) as server:
        # Before Airflow 3.3 only its database's connections can test themselves; 3.2 warns of its own way.
        kind = Connection if AIRFLOW >= (3, 3) else moved("Connection", "airflow.models.connection")
        connection = kind(
            conn_id="in_memory", conn_type="volcengine", login="AKID", password=SECRET, host=server.url
        )
        # The API server tells a connection that nobody has saved by the environment.
        monkeypatch.setenv("AIRFLOW_CONN_IN_MEMORY", connection.get_uri())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="ProvidersManager.hooks is deprecated")
            works, message = connection.test_connection()
    assert works, message


# --- metadata ---


def provider_connection() -> dict[str, Any]:
    [found] = get_provider_info()["connection-types"]
    assert isinstance(found, dict)
    return found


def test_airflow_finds_the_hook_for_the_connection_type():
    found = providers_of_tasks().hooks["volcengine"]
    assert found is not None
    assert found.hook_class_name == "airflow_provider_jimeng.hooks.volcengine.VolcengineHook"
    assert found.connection_id_attribute_name == "volcengine_conn_id"
    assert found.connection_testable


@since_airflow("3.2", "3.1 passes over the metadata and asks the hook for its widgets")
def test_airflow_reads_the_form_from_the_metadata():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    widgets = {name for name in manager.connection_form_widgets if name.startswith("extra__volcengine__")}
    assert widgets == {f"extra__volcengine__{name}" for name in provider_connection()["conn-fields"]}
    assert manager.connection_form_widgets["extra__volcengine__session_token"].is_sensitive
    assert manager.field_behaviours["volcengine"]["relabeling"]["login"] == "Access Key ID"


#: In a process of its own: Airflow 3.1 reads the widgets once, be there anything to make them with or not.
FORM = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "volcengine"]
print(form.model_dump_json())
"""


@since_airflow("3.1.3", "before, its UI shows no provider's form unless flask-appbuilder is installed")
def test_the_form_of_the_ui_has_every_field():
    done = subprocess.run([sys.executable, "-c", FORM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    form = json.loads(done.stdout.splitlines()[-1])
    assert set(form["extra_fields"]) == set(provider_connection()["conn-fields"])
    assert form["extra_fields"]["session_token"]["schema"]["format"] == "password"
    assert form["standard_fields"]["login"]["title"] == "Access Key ID"


def test_form_has_every_extra_that_is_read():
    from airflow_provider_jimeng.client import settings

    assert set(provider_connection()["conn-fields"]) == settings._KNOWN_EXTRAS


def test_form_for_airflow_3_1_has_the_same_fields(monkeypatch: pytest.MonkeyPatch):
    class Field:
        def __init__(self, label: str, description: str) -> None:
            self.label, self.description = label, description

    kinds = ("BooleanField", "IntegerField", "PasswordField", "StringField")
    forms: Any = types.ModuleType("wtforms")
    for kind in kinds:
        setattr(forms, kind, type(kind, (Field,), {}))
    monkeypatch.setitem(sys.modules, "wtforms", forms)
    widgets = VolcengineHook.get_connection_form_widgets()
    assert list(widgets) == list(provider_connection()["conn-fields"])
    made = {name: type(widget).__name__ for name, widget in widgets.items()}
    assert made["session_token"] == made["proxies"] == "PasswordField"
    assert made["allow_http"] == "BooleanField"
    assert made["daily_submit_limit"] == "IntegerField"
    assert made["region"] == "StringField"
    behaviour = VolcengineHook.get_ui_field_behaviour()
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}


def test_metadata_loads_nothing_heavy():
    code = (
        "import sys; import airflow_provider_jimeng.get_provider_info as m; m.get_provider_info();"
        "print(sorted({'airflow', 'requests', 'aiohttp', 'sqlalchemy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_debug_log_of_a_call_holds_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG), serving(answering({"code": 10000})) as server:
        local(monkeypatch, server.url, session_token="the-token", account="a").test_connection()
    assert SECRET not in caplog.text
    assert "the-token" not in caplog.text
    assert "HMAC-SHA256" not in caplog.text
