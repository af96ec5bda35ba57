# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on the connection has every field, extra and option, with the defaults that the code has."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from typing import Any

import pytest

from airflow.models import Connection
from airflow_provider_jimeng.client.settings import AccountSettings, parse_connection
from airflow_provider_jimeng.hooks.metadata import CONFIGURATION, CONNECTION_FIELDS

from tests.docs.pages import code_blocks, names, page, rows, section

TEXT = page("docs/connection.md")
EXTRAS = {names(name)[0]: default for name, default, _ in rows(section(TEXT, "## Extras"))}


def settings(**extra: Any) -> AccountSettings:
    return parse_connection(
        conn_id="c", login="AKLT", password="secret", host=None, schema=None, port=None, extra=extra
    )


def test_each_extra_is_described_once() -> None:
    assert set(EXTRAS) == set(CONNECTION_FIELDS)


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_a_default_is_the_codes(name: str) -> None:
    told = EXTRAS[name].strip("`")
    found = {field.name: getattr(settings(), field.name) for field in dataclasses.fields(AccountSettings)}
    found |= {"region": found["endpoint"].region, "service": found["endpoint"].service}
    found |= {"session_token": found["credentials"].session_token, "allow_http": False}

    value = found[name]
    if name == "account":
        assert "digest" in told
        assert value.startswith("ak-")
    elif value in (None, (), {}):
        assert told in ("none", "learned from 50430", "the environment's")
    else:
        assert told == (
            f"{value:g}"
            if isinstance(value, float)
            else str(value).lower()
            if value in (True, False)
            else str(value)
        )


def test_each_option_of_the_configuration_is_described_with_its_default() -> None:
    options = {
        names(name)[0]: default.strip("`")
        for name, default, _ in rows(section(TEXT, "## The ledger's configuration"))
    }
    declared = {
        name: option["default"] or "none" for name, option in CONFIGURATION["jimeng"]["options"].items()
    }

    assert options == declared


def commands() -> list[list[str]]:
    text = "".join(code_blocks(TEXT, "console")).replace("\\\n", " ")
    return [shlex.split(line.removeprefix("$ ")) for line in text.splitlines() if line.startswith("$ ")]


def test_connections_in_the_page_are_ones_that_can_be_read() -> None:
    found = [words[1].partition("=")[2] for words in commands() if words[1].startswith("AIRFLOW_CONN")]
    assert len(found) == 2

    for text in found:
        connection = Connection.from_json(text) if text.startswith("{") else Connection(uri=text)
        read = parse_connection(
            conn_id="volcengine_default",
            login=connection.login,
            password=connection.password,
            host=connection.host,
            schema=connection.schema,
            port=connection.port,
            extra=connection.extra,
        )
        assert (connection.conn_type, read.account) == ("volcengine", "studio")


def test_commands_in_the_page_are_airflows() -> None:
    from airflow.cli.cli_parser import get_parser

    added = [words for words in commands() if words[:3] == ["airflow", "connections", "add"]]
    assert len(added) == 2
    for words in added:
        options = get_parser().parse_args(words[1:])
        if options.conn_extra:
            assert settings(**json.loads(options.conn_extra)).daily_submit_limit == 500


def test_the_variables_are_those_that_the_hook_reads() -> None:
    from airflow_provider_jimeng.hooks.environment import _ENVIRONMENT

    known = {name for group in _ENVIRONMENT for name in group if name}
    assert set(re.findall(r"`(VOLC[A-Z_]+)`", TEXT)) == known
