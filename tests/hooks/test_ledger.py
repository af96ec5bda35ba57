# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Which database is the ledger, and where a local one would forget payments."""

from __future__ import annotations

import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengLedgerError
from airflow_provider_jimeng.get_provider_info import get_provider_info
from airflow_provider_jimeng.hooks import executors, ledger
from airflow_provider_jimeng.hooks.executors import remote_executors, runs_in_process
from airflow_provider_jimeng.hooks.ledger import (
    check_sha256,
    daily_submit_limit,
    ledger_url,
    open_ledger,
    volatile_query_params,
)

PASSWORD = "the-database-password"


@pytest.fixture
def option(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_option(name: str, value: str, section: str = "jimeng") -> None:
        monkeypatch.setenv(f"AIRFLOW__{section.upper()}__{name.upper()}", value)

    return set_option


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


def connect(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER_DB", json.dumps(values))


def test_default_is_a_file_in_airflows_home(home: Path):
    assert ledger_url() == f"sqlite:///{home}/jimeng_ledger.db"
    opened = open_ledger()
    try:
        assert opened.uuid
        assert (home / "jimeng_ledger.db").exists()
        assert open_ledger().uuid == opened.uuid
    finally:
        opened.close()


def test_airflow_home_is_found_as_airflow_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SOME_PLACE", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_HOME", "$SOME_PLACE/airflow")
    assert ledger.airflow_home() == tmp_path / "airflow"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AIRFLOW_HOME")
    assert ledger.airflow_home() == tmp_path / "airflow"


@pytest.mark.parametrize(
    ("configured", "remote"),
    [
        ("LocalExecutor", []),
        ("SequentialExecutor", []),
        ("airflow.executors.local_executor.LocalExecutor", []),
        ("mine:LocalExecutor", []),
        ("mine:airflow.executors.local_executor.LocalExecutor", []),
        ("", []),
        ("CeleryExecutor", ["CeleryExecutor"]),
        ("KubernetesExecutor", ["KubernetesExecutor"]),
        ("EdgeExecutor", ["EdgeExecutor"]),
        ("LocalExecutor,CeleryExecutor", ["CeleryExecutor"]),
        ("CeleryExecutor, KubernetesExecutor", ["CeleryExecutor", "KubernetesExecutor"]),
        ("LocalExecutor, big:KubernetesExecutor", ["KubernetesExecutor"]),
        ("LocalExecutor;team_a=CeleryExecutor", ["CeleryExecutor"]),
        (
            "LocalExecutor;team_a=LocalExecutor,b:KubernetesExecutor;t2=CeleryExecutor",
            ["KubernetesExecutor", "CeleryExecutor"],
        ),
        ("=LocalExecutor;team_a=LocalExecutor", []),
        (
            "airflow.providers.celery.executors.celery_executor.CeleryExecutor",
            ["airflow.providers.celery.executors.celery_executor.CeleryExecutor"],
        ),
        ("no.such.module.Executor", ["no.such.module.Executor"]),
        ("json.NoSuchExecutor", ["json.NoSuchExecutor"]),
        ("json.JSONDecoder", ["json.JSONDecoder"]),
        ("UnheardOfExecutor", ["UnheardOfExecutor"]),
    ],
)
def test_executors_that_may_run_tasks_elsewhere(configured: str, remote: list[str]):
    assert remote_executors(configured) == remote


def test_executor_of_ones_own_says_itself_whether_it_is_local(monkeypatch: pytest.MonkeyPatch):
    module: Any = types.ModuleType("own_executors")
    module.Here = type("Here", (), {"is_local": True})
    module.There = type("There", (), {"is_local": False})
    monkeypatch.setitem(sys.modules, "own_executors", module)
    assert remote_executors("own_executors.Here,own_executors.There") == ["own_executors.There"]


@pytest.mark.parametrize(
    "executor",
    [
        "CeleryExecutor",
        "KubernetesExecutor",
        "LocalExecutor,KubernetesExecutor",
        "LocalExecutor;team_a=CeleryExecutor",
        "own:no.such.module.Executor",
    ],
)
def test_local_ledger_is_refused_where_tasks_run_elsewhere(home: Path, option: Any, executor: str):
    option("executor", executor, "core")
    with pytest.raises(JimengConfigurationError) as caught:
        open_ledger()
    message = str(caught.value)
    for part in ("ledger_conn_id", "PostgreSQL", "allow_local_ledger = True", "Nothing was sent or paid"):
        assert part in message
    assert executor.rpartition(",")[2].rpartition("=")[2].rpartition(":")[2] in message
    assert not caught.value.retry_helps
    assert not (home / "jimeng_ledger.db").exists()


def test_local_ledger_given_by_url_is_refused_too(option: Any, tmp_path: Path):
    option("executor", "CeleryExecutor", "core")
    option("ledger_url", f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(JimengConfigurationError, match="CeleryExecutor"):
        ledger_url()


@pytest.mark.parametrize("allow", ["True", "true", "1", "yes"])
def test_local_ledger_is_used_anywhere_where_the_user_says_so(home: Path, option: Any, allow: str):
    option("executor", "CeleryExecutor", "core")
    option("allow_local_ledger", allow)
    assert ledger_url() == f"sqlite:///{home}/jimeng_ledger.db"


def test_allow_local_ledger_that_can_not_be_read_is_an_error(home: Path, option: Any):
    option("allow_local_ledger", "perhaps")
    with pytest.raises(JimengConfigurationError, match="allow_local_ledger"):
        ledger_url()


def test_database_that_all_can_reach_is_fine_under_any_executor(option: Any):
    option("executor", "KubernetesExecutor", "core")
    option("ledger_url", "postgresql://u@h/db")
    assert ledger_url() == "postgresql://u@h/db"


def test_dag_test_runs_its_tasks_here_whatever_is_configured(
    home: Path, option: Any, monkeypatch: pytest.MonkeyPatch
):
    from airflow.sdk.execution_time import supervisor, task_runner

    option("executor", "CeleryExecutor", "core")
    assert not runs_in_process()
    comms = supervisor.InProcessSupervisorComms(supervisor=None)  # type: ignore[arg-type]
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    assert runs_in_process()
    assert ledger_url() == f"sqlite:///{home}/jimeng_ledger.db"


def test_worker_is_not_taken_for_dag_test(monkeypatch: pytest.MonkeyPatch):
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    assert not runs_in_process()
    monkeypatch.delitem(sys.modules, "airflow.sdk.execution_time.supervisor")
    assert not executors.runs_in_process()


# --- by URL ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"postgresql+psycopg2://u:{PASSWORD}@h:5432/db", f"postgresql+psycopg2://u:{PASSWORD}@h:5432/db"),
        (f"postgres://u:{PASSWORD}@h/db?sslmode=require", f"postgresql://u:{PASSWORD}@h/db?sslmode=require"),
        ("postgres+psycopg://u@h/db", "postgresql+psycopg://u@h/db"),
        ("mysql://u:p%40ss@h/db", "mysql://u:p%40ss@h/db"),
        ("mysql+pymysql://u@h/db", "mysql+pymysql://u@h/db"),
        ("sqlite:////srv/ledger.db", "sqlite:////srv/ledger.db"),
    ],
)
def test_url_is_taken_as_it_is_meant(option: Any, text: str, expected: str):
    option("ledger_url", f" {text} ")
    assert ledger_url() == expected


@pytest.mark.parametrize(
    "text",
    [
        "not a url",
        f"oracle://u:{PASSWORD}@h/db",
        f"postgresql://u:{PASSWORD}@h:port/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite:///relative.db",
    ],
)
def test_url_that_can_not_be_a_ledger_is_refused_without_its_password(option: Any, text: str):
    option("ledger_url", text)
    with pytest.raises(JimengConfigurationError, match=r"\[jimeng\] ledger_url") as caught:
        ledger_url()
    assert PASSWORD not in str(caught.value)


def test_two_ways_at_once_are_an_error(option: Any):
    option("ledger_url", "postgresql://u@h/db")
    option("ledger_conn_id", "ledger_db")
    with pytest.raises(JimengConfigurationError, match="keep one"):
        ledger_url()


# --- by connection ---


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {
                "conn_type": "postgres",
                "host": "h",
                "login": "u",
                "password": PASSWORD,
                "schema": "db",
                "port": 5433,
            },
            f"postgresql://u:{PASSWORD}@h:5433/db",
        ),
        (
            {
                "conn_type": "postgres",
                "host": "h",
                "login": "u",
                "password": "p@ss/w:rd",
                "schema": "db",
                "extra": {"sslmode": "require", "cursor": "dictcursor", "connect_timeout": 5},
            },
            "postgresql://u:p%40ss%2Fw%3Ard@h/db?connect_timeout=5&sslmode=require",
        ),
        ({"conn_type": "mysql", "host": "h", "login": "u", "schema": "db"}, "mysql://u@h/db"),
        ({"conn_type": "sqlite", "host": "/srv/l.db"}, "sqlite:////srv/l.db"),
        ({"conn_type": "sqlite", "schema": "/srv/l.db"}, "sqlite:////srv/l.db"),
    ],
)
def test_connection_becomes_a_url(
    monkeypatch: pytest.MonkeyPatch, option: Any, values: dict[str, Any], expected: str
):
    connect(monkeypatch, **values)
    option("ledger_conn_id", "ledger_db")
    found = ledger_url()
    assert make_url(found) == make_url(expected)
    assert make_url(found).password == values.get("password")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"postgres://u:{PASSWORD}@h:5432/db", f"postgresql://u:{PASSWORD}@h:5432/db"),
        ("sqlite:////srv/l.db", "sqlite:////srv/l.db"),
    ],
)
def test_uri_connection_becomes_a_url(monkeypatch: pytest.MonkeyPatch, option: Any, uri: str, expected: str):
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER_DB", uri)
    option("ledger_conn_id", "ledger_db")
    assert ledger_url() == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"conn_type": "http", "host": "h", "password": PASSWORD}, "type 'http'"),
        ({"conn_type": "postgres", "host": "h", "password": PASSWORD}, "`schema`"),
        ({"conn_type": "sqlite"}, "in-memory"),
        ({"conn_type": "sqlite", "host": "relative.db"}, "absolute"),
    ],
)
def test_connection_that_can_not_be_a_ledger_is_refused(
    monkeypatch: pytest.MonkeyPatch, option: Any, values: dict[str, Any], words: str
):
    connect(monkeypatch, **values)
    option("ledger_conn_id", "ledger_db")
    with pytest.raises(JimengConfigurationError, match=words) as caught:
        ledger_url()
    assert "ledger_conn_id" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_connection_that_is_missing_stops_submits(option: Any):
    option("ledger_conn_id", "nowhere")
    with pytest.raises(JimengLedgerError, match="'nowhere'"):
        open_ledger()


def test_password_is_masked_and_never_logged(
    monkeypatch: pytest.MonkeyPatch, option: Any, caplog: pytest.LogCaptureFixture
):
    masked: list[Any] = []
    monkeypatch.setattr(ledger, "mask_secret", lambda secret, name=None: masked.append(secret))
    option("ledger_url", f"postgresql://u:{PASSWORD}@127.0.0.1:1/db")
    with caplog.at_level(logging.DEBUG), pytest.raises(JimengLedgerError) as caught:
        open_ledger()
    assert masked == [PASSWORD]
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in caplog.text


def test_postgresql_ledger_opens(option: Any, postgres_database: str):
    option("executor", "CeleryExecutor", "core")
    option("ledger_url", postgres_database.replace("postgresql+psycopg2", "postgres"))
    opened = open_ledger()
    try:
        assert opened.uuid
    finally:
        opened.close()


# --- other options ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, set()), ("", set()), ("a,b", {"a", "b"}), (" a , b\nc ", {"a", "b", "c"}), (",,", set())],
)
def test_volatile_query_params(option: Any, text: str | None, expected: set[str]):
    if text is not None:
        option("volatile_query_params", text)
    assert volatile_query_params() == expected


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("", None), ("500", 500), (" 7 ", 7)])
def test_daily_submit_limit(option: Any, text: str | None, expected: int | None):
    if text is not None:
        option("daily_submit_limit", text)
    assert daily_submit_limit() == expected


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "NaN"])
def test_daily_submit_limit_that_can_not_be_read_is_an_error(option: Any, text: str):
    option("daily_submit_limit", text)
    with pytest.raises(JimengConfigurationError, match="daily_submit_limit"):
        daily_submit_limit()


@pytest.mark.parametrize(
    ("text", "expected"), [(None, False), ("", False), ("False", False), ("true", True), ("1", True)]
)
def test_check_sha256(option: Any, text: str | None, expected: bool):
    if text is not None:
        option("check_sha256", text)
    assert check_sha256() is expected


def test_a_check_sha256_that_can_not_be_read_is_an_error(option: Any):
    option("check_sha256", "often")
    with pytest.raises(JimengConfigurationError, match="check_sha256 must be True or False, not 'often'"):
        check_sha256()


def test_every_option_is_declared_with_what_airflow_shows_of_it():
    options = get_provider_info()["config"]["jimeng"]["options"]
    assert set(options) == {
        "ledger_conn_id",
        "ledger_url",
        "allow_local_ledger",
        "volatile_query_params",
        "check_sha256",
        "presign_seconds",
        "probe",
        "daily_submit_limit",
        "environment_account",
        "ui",
    }
    for option_name, declared in options.items():
        assert {"description", "version_added", "type", "example", "default"} <= set(declared), option_name
    assert options["ledger_url"]["sensitive"]
