# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on executors: its table is what the provider decides, its commands are what Airflow reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from airflow_provider_jimeng.client.settings import parse_connection
from airflow_provider_jimeng.hooks.executors import remote_executors
from airflow_provider_jimeng.hooks.metadata import CONFIGURATION

from tests.docs.pages import code_blocks, names, page, rows, section

TEXT = page("docs/executors.md")

BACKEND = """
from airflow.secrets import BaseSecretsBackend


class Backend(BaseSecretsBackend):
    def get_config(self, key):
        return {"jimeng-ledger-url": "sqlite:////of/the/backend.db"}.get(key)
"""
READ = "from airflow_provider_jimeng.hooks.ledger import option; print('READ', option('ledger_url'))"


def test_each_executor_is_listed_with_the_ledger_that_it_may_use() -> None:
    for executor, ledger, setting in rows(section(TEXT, "## Which ledger for which executor")):
        remote = remote_executors(names(executor)[0]) if "dags test" not in executor else []
        assert ledger.startswith("PostgreSQL or MySQL") is bool(remote)
        assert names(setting) == (["[jimeng] ledger_conn_id"] if remote else [])


def test_the_pod_has_the_time_to_end_a_submit() -> None:
    [text] = code_blocks(TEXT, "yaml")
    pod = yaml.safe_load(text)

    [container] = pod["spec"]["containers"]
    settings = parse_connection(
        conn_id="c", login="AKLT", password="word", host=None, schema=None, port=None, extra={}
    )
    assert pod["spec"]["terminationGracePeriodSeconds"] > settings.submit_deadline
    # The name that Airflow's Kubernetes executor looks for.
    assert container["name"] == "base"
    assert [each["name"] for each in container["env"]] == [
        "AIRFLOW__JIMENG__LEDGER_CONN_ID",
        "AIRFLOW_CONN_JIMENG_LEDGER",
    ]


def variables() -> dict[str, str]:
    [text] = code_blocks(TEXT, "console")
    pairs = [line.removeprefix("$ export ").split("=", 1) for line in text.splitlines()]
    return {name: value.strip("'") for name, value in pairs}


@pytest.mark.parametrize(
    ("name", "found"), [("CMD", "sqlite:////of/the/command.db"), ("SECRET", "sqlite:////of/the/backend.db")]
)
def test_the_ledgers_url_comes_from_a_command_or_a_secrets_backend(
    name: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_backend.py").write_text(BACKEND)
    (tmp_path / "url").write_text("sqlite:////of/the/command.db\n")
    [(variable, value)] = [each for each in variables().items() if each[0].endswith(name)]
    monkeypatch.setenv(variable, value.replace("/run/secrets/jimeng-ledger-url", str(tmp_path / "url")))
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "a_backend.Backend")

    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys; sys.path.append({str(tmp_path)!r}); {READ}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert f"READ {found}\n" in told.stdout, told.stderr[-2000:]


def test_only_what_holds_a_password_has_these_forms() -> None:
    options = CONFIGURATION["jimeng"]["options"]

    assert [name for name, option in options.items() if option.get("sensitive")] == ["ledger_url"]
