# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Which database is the ledger, from Airflow's configuration.

A ledger that only one of several machines can see forgets what the others paid for, so a doubt about that is
an error, before anything is sent.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow_provider_jimeng.client.coerce import as_bool, as_integer
from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengLedgerError
from airflow_provider_jimeng.hooks.compat import (
    AirflowNotFoundException,
    conf,
    mask_secret,
    read_connection,
)
from airflow_provider_jimeng.hooks.executors import remote_executors, runs_in_process

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from airflow_provider_jimeng.ledger.store import Ledger

SECTION = "jimeng"
LOCAL_FILE = "jimeng_ledger.db"

#: SQLAlchemy's dialect for what Airflow and people call a database; the ledger itself picks the driver.
_DIALECTS = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mariadb",
    "sqlite": "sqlite",
}
_MYSQL_EXTRAS = frozenset({"charset", "ssl_ca", "ssl_cert", "ssl_key", "unix_socket"})
#: Extras of an Airflow connection that the database's client library understands.
_QUERY_EXTRAS = {
    "postgresql": frozenset(
        {
            "application_name",
            "channel_binding",
            "connect_timeout",
            "gssencmode",
            "keepalives",
            "keepalives_idle",
            "options",
            "sslcert",
            "sslcrl",
            "sslkey",
            "sslmode",
            "sslrootcert",
            "target_session_attrs",
        }
    ),
    "mysql": _MYSQL_EXTRAS,
    "mariadb": _MYSQL_EXTRAS,
    "sqlite": frozenset[str](),
}


def open_ledger() -> Ledger:
    """
    Open the configured ledger; its schema is made and migrated on first use.

    Reads the configuration and maybe an Airflow connection, and blocks: off an event loop only.

    :raises JimengConfigurationError: the configuration names no usable database, or one that other machines
        which run tasks can't see.
    :raises JimengLedgerError: the database can't be reached.
    """
    from airflow_provider_jimeng.ledger.store import Ledger

    return Ledger.open(ledger_url())


def find_ledger() -> Ledger:
    """
    Return the configured ledger, for who only reads: none is made, and none is migrated.

    Blocks like :func:`open_ledger`.

    :raises JimengConfigurationError: as :func:`open_ledger`.
    :raises NoLedger: there is none of this release in the database.
    :raises JimengLedgerError: the database can't be reached.
    """
    from airflow_provider_jimeng.ledger.admin import NoLedger
    from airflow_provider_jimeng.ledger.engine import database_for
    from airflow_provider_jimeng.ledger.store import Ledger

    url = ledger_url()
    database = database_for(url)
    if not database.is_ready():
        raise NoLedger(
            f"There is no ledger of this release at {database.place}. Nothing was submitted or changed. "
            "Where the workers have one, this process is configured for another: [jimeng] ledger_conn_id or "
            "ledger_url, or an AIRFLOW_HOME of its own."
        )
    return Ledger(url)


def ledger_url() -> str:
    """
    Return the SQLAlchemy URL of the ledger, with its password, which is masked in logs from here on.

    :raises JimengConfigurationError: as :func:`open_ledger`.
    """
    conn_id, text = option("ledger_conn_id"), option("ledger_url")
    if conn_id and text:
        raise _wrong("ledger_conn_id", "and ledger_url are both set: keep one of them")
    if conn_id:
        url = _url_of_connection(conn_id)
    elif text:
        url = _url_of_text(text)
    else:
        url = _make_url(drivername="sqlite", database=str(airflow_home() / LOCAL_FILE))
    if url.password:
        mask_secret(str(url.password))
    if url.get_backend_name() == "sqlite":
        _check_local(url, "ledger_conn_id" if conn_id else "ledger_url")
    return url.render_as_string(hide_password=False)


def volatile_query_params() -> frozenset[str]:
    """Return the names of query parameters that don't belong to an input's identity."""
    return frozenset((option("volatile_query_params") or "").replace(",", " ").split())


def daily_submit_limit() -> int | None:
    """Return the configured most new submits per account and UTC day; a connection's own comes first."""
    text = option("daily_submit_limit")
    if text is None:
        return None
    limit = as_integer(text)
    if limit is None or limit < 1:
        raise _wrong("daily_submit_limit", f"must be a whole number of at least 1, not {text!r}")
    return limit


def check_sha256() -> bool:
    """Return whether every landed file is read, and its digest compared, before it is reused."""
    return _switch("check_sha256")


def airflow_home() -> Path:
    """Return Airflow's home folder, as Airflow itself finds it."""
    return Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser().absolute()


def _check_local(url: URL, name: str) -> None:
    if url.database in (None, "", ":memory:"):
        raise _wrong(name, "is an in-memory database, which forgets every payment when the task ends")
    path = str(url.database)
    if not os.path.isabs(path):
        raise _wrong(name, "needs an absolute path: sqlite:////folder/file.db, with four slashes")
    if _switch("allow_local_ledger") or runs_in_process():
        return
    elsewhere = remote_executors(conf.get("core", "executor", fallback="LocalExecutor") or "")
    if elsewhere:
        raise JimengConfigurationError(
            f"The ledger is the SQLite file {path}, but {', '.join(elsewhere)} may run tasks on machines "
            "that don't see it and would pay again for what others paid. Nothing was sent or paid. Set "
            "[jimeng] ledger_conn_id to an Airflow connection to PostgreSQL or MySQL (or [jimeng] "
            "ledger_url); if all tasks and triggerers do see this one file, set [jimeng] allow_local_ledger "
            "= True."
        )


def _switch(name: str) -> bool:
    text = option(name)
    found = False if text is None else as_bool(text)
    if found is None:
        raise _wrong(name, f"must be True or False, not {text!r}")
    return found


def option(name: str) -> str | None:
    value = conf.get(SECTION, name, fallback=None)
    text = "" if value is None else str(value).strip()
    return text or None


def _wrong(name: str, problem: str) -> JimengConfigurationError:
    return JimengConfigurationError(
        f"[{SECTION}] {name} {problem}. Nothing was sent or paid; correct Airflow's configuration."
    )


def _url_of_text(text: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Its own text would quote the URL, password and all.
        raise _wrong(
            "ledger_url", "is not a SQLAlchemy URL (dialect://user:password@host/database)"
        ) from None
    dialect, _, driver = url.drivername.partition("+")
    known = _DIALECTS.get(dialect)
    if known is None:
        raise _wrong("ledger_url", f"is for {dialect!r}; the ledger needs PostgreSQL, MySQL or SQLite")
    return url.set(drivername=f"{known}+{driver}" if driver else known)


def _url_of_connection(conn_id: str) -> URL:
    try:
        connection = read_connection(BaseHook.get_connection, conn_id)
    except AirflowNotFoundException:
        # Airflow says the same of a connection that it could not read for now, so a retry may help.
        raise JimengLedgerError(
            f"[{SECTION}] ledger_conn_id names the connection {conn_id!r}, which doesn't exist or can't be "
            "read. Nothing was sent or paid; create the connection, or correct Airflow's configuration."
        ) from None
    dialect = _DIALECTS.get((connection.conn_type or "").lower())
    if dialect is None:
        raise _wrong(
            "ledger_conn_id",
            f"names the connection {conn_id!r} of type {connection.conn_type!r}; the ledger needs "
            "PostgreSQL, MySQL or SQLite",
        )
    if dialect == "sqlite":
        return _make_url(drivername="sqlite", database=connection.host or connection.schema or "")
    if not connection.schema:
        raise _wrong(
            "ledger_conn_id", f"names the connection {conn_id!r}, whose `schema` (the database) is empty"
        )
    extra = connection.extra_dejson
    return _make_url(
        drivername=dialect,
        username=connection.login or None,
        password=connection.password or None,
        host=connection.host or None,
        port=connection.port or None,
        database=connection.schema,
        query={name: str(value) for name, value in extra.items() if name in _QUERY_EXTRAS[dialect]},
    )


def _make_url(**parts: Any) -> URL:
    from sqlalchemy.engine import URL

    return URL.create(**parts)
