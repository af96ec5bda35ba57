# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Keys of the official SDK's environment variables, for who has no connection at all.

They are another account than a connection's, as far as the ledger knows: its name, its slots and its history
differ, and whatever the connection paid for is not found under them. So they stand in for a connection that
does not exist, and never for one that could not be read.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.client.settings import AccountSettings, parse_connection
from airflow_provider_jimeng.exceptions import JimengConfigurationError
from airflow_provider_jimeng.hooks.compat import doubt_of_absence
from airflow_provider_jimeng.hooks.defaults import DEFAULT_CONNECTION
from airflow_provider_jimeng.hooks.ledger import option

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["objection_to", "settings_from_environment"]

#: The official SDKs' names, newest first: access key, secret key, session token.
_ENVIRONMENT = (
    ("VOLCENGINE_ACCESS_KEY", "VOLCENGINE_SECRET_KEY", "VOLCENGINE_SESSION_TOKEN"),
    ("VOLC_ACCESSKEY", "VOLC_SECRETKEY", None),
)
_ACCOUNT_OPTION = "environment_account"


def settings_from_environment(conn_id: str) -> AccountSettings:
    """
    Return the account of the environment's keys, where no connection of the default id exists.

    Asks Airflow once more, and blocks: off an event loop only.

    :raises JimengConfigurationError: there are no such keys, or it is not certain that there is no
        connection; nothing was sent, and a retry may find the connection.
    """
    keys = _keys() if conn_id == DEFAULT_CONNECTION else None
    if keys is None:
        raise _missing(conn_id)
    access, secret, token = keys
    account = option(_ACCOUNT_OPTION)
    # Who names the account says that the environment is meant.
    doubt = doubt_of_absence(conn_id) if account is None else None
    if doubt is not None:
        raise _passing(
            f"The connection {conn_id!r} can't be read now, and it is not certain that it doesn't exist "
            f"({doubt}). Nothing was sent or paid. The keys in the environment are not used in its place: "
            "what the connection paid for would be paid again. A retry reads the connection again; if there "
            f"is none, and the environment is meant, name its account: [jimeng] {_ACCOUNT_OPTION}."
        )
    if token and account is None:
        raise _passing(
            "The keys in the environment are temporary (VOLCENGINE_SESSION_TOKEN), and the ledger would take "
            "each new one for another account and forget what was paid. Nothing was sent or paid. Name their "
            f"account with [jimeng] {_ACCOUNT_OPTION}, or make a connection {conn_id!r} with the extras "
            "`session_token` and `account`."
        )
    extra = {name: value for name, value in (("session_token", token), ("account", account)) if value}
    settings = parse_connection(
        conn_id=conn_id, login=access, password=secret, host=None, schema=None, port=None, extra=extra
    )
    return replace(settings, from_environment=True)


def objection_to(settings: AccountSettings, accounts: Collection[str]) -> JimengConfigurationError | None:
    """
    Return what speaks against a submit with these settings: environment keys beside somebody's history.

    Airflow's own server says *not found*, too, where its database did not answer. A ledger that has paid
    through other accounts, and never with these keys, is the witness that there was a connection.

    :param accounts: those that have ever claimed in the ledger.
    """
    if not settings.from_environment or not accounts or settings.account in accounts:
        return None
    if option(_ACCOUNT_OPTION) is not None:
        return None
    return _passing(
        f"There is no connection {settings.conn_id!r}, and the keys in the environment have never paid "
        f"through this ledger, which others have ({', '.join(sorted(accounts))}). Nothing was sent or paid: "
        "what those paid for would be paid again. Make the connection, or let Airflow reach it; if the "
        f"environment's keys are meant, name their account with [jimeng] {_ACCOUNT_OPTION}: one of those, to "
        "go on with its history and slots, or a new one."
    )


def _keys() -> tuple[str, str, str | None] | None:
    for access, secret, token in _ENVIRONMENT:
        if os.environ.get(access) and os.environ.get(secret):
            return os.environ[access], os.environ[secret], (os.environ.get(token) or None) if token else None
    return None


def _missing(conn_id: str) -> JimengConfigurationError:
    names = " or ".join(f"{access} and {secret}" for access, secret, _ in _ENVIRONMENT)
    hint = f", or set {names} in the environment" if conn_id == DEFAULT_CONNECTION else ""
    return _passing(
        f"There is no connection {conn_id!r}. Nothing was sent or paid; create it with type `volcengine`, "
        f"the Access Key ID as login and the Secret Access Key as password{hint}."
    )


def _passing(words: str) -> JimengConfigurationError:
    error = JimengConfigurationError(words)
    # Airflow says that there is none of a connection that it could not read for now (its API was away), too.
    error.retry_helps = True
    return error
