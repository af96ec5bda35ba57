# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Private inputs, presigned with credentials from Airflow connections."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook
from airflow_provider_jimeng.api.tos import TosStore, presign_get
from airflow_provider_jimeng.client.coerce import as_integer
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengInputError,
    JimengInputStoreError,
)
from airflow_provider_jimeng.hooks.compat import (
    AirflowNotFoundException,
    doubt_of_absence,
    mask_secret,
    read_connection,
)
from airflow_provider_jimeng.hooks.ledger import option
from airflow_provider_jimeng.hooks.storage import filesystem_of, is_final
from airflow_provider_jimeng.media.presign import (
    DEFAULT_SECONDS,
    LEAST_SECONDS,
    MOST_SECONDS,
    cannot,
    cannot_now,
    is_private,
    presented,
    sign_object,
    split_object,
    warn_if_temporary,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fetchable", "fetchable_body", "presign_seconds"]

DEFAULT_TOS_CONNECTION = "tos_default"


def presign_seconds() -> int:
    """
    Return how long presigned inputs live, in seconds (``[jimeng] presign_seconds``).

    :raises JimengConfigurationError: it is no number from twelve hours to a week.
    """
    text = option("presign_seconds")
    seconds = DEFAULT_SECONDS if text is None else as_integer(text)
    if seconds is None or not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise JimengConfigurationError(
            f"[jimeng] presign_seconds must be a whole number from {LEAST_SECONDS} (a task may wait and run "
            f"for twelve hours) to {MOST_SECONDS} (a week), not {text!r}. Nothing was sent or paid; correct "
            "Airflow's configuration."
        )
    return seconds


def fetchable(url: str, field: str = "input") -> str:
    """
    Return a URL that can be fetched without credentials: the same one, or a presigned one of an object.

    What is returned for an object is a password for it; it belongs in no log and in no store.

    :param field: whose URL it is, for the message.
    :raises JimengInputError: it can't be presigned; nothing was paid.
    :raises JimengInputStoreError: it can't be presigned now; nothing was paid.
    """
    if not is_private(url):
        return url
    seconds = presign_seconds()
    scheme, conn_id, bucket, key = split_object(url)
    try:
        if scheme == "tos":
            made = presign_get(
                _tos_store(conn_id), bucket, key, seconds=seconds, date=dt.datetime.now(dt.UTC)
            )
            warn_if_temporary(made)
        else:
            fs, path = filesystem_of(url)
            made = sign_object(fs, path, scheme=scheme, seconds=seconds)
    except JimengInputError as error:
        raise cannot(field, url, error.message) from None
    except JimengInputStoreError as error:
        raise cannot_now(field, url, error.message) from None
    except NotImplementedError:
        raise cannot(field, url, f"the filesystem of {scheme}:// can't presign") from None
    except Exception as error:
        # Without the chain: a library's error may quote what it was about to sign.
        raise (cannot if is_final(error, url) else cannot_now)(field, url, error) from None
    if not made.startswith(("https://", "http://")):
        raise cannot(field, url, "its filesystem made no http URL of it")
    return made


def fetchable_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body as it is sent: every object's URL in it presigned; see :func:`fetchable`."""
    sent: dict[str, Any] = presented(dict(body), fetchable)
    return sent


def _tos_store(conn_id: str | None) -> TosStore:
    name = conn_id or DEFAULT_TOS_CONNECTION
    try:
        connection = read_connection(BaseHook.get_connection, name)
    except AirflowNotFoundException:
        if (doubt := doubt_of_absence(name)) is not None:
            raise JimengInputStoreError(f"the connection {name!r} can't be read: {doubt}") from None
        raise JimengInputError(
            f"there is no connection {name!r}; it holds the Access Key ID (login), the Secret Access Key "
            '(password) and, as extra, {"region": "cn-beijing"}'
        ) from None
    extra = connection.extra_dejson
    region, endpoint, token = (_text(extra.get(each)) for each in ("region", "endpoint", "session_token"))
    if not connection.login or not connection.password or not region:
        raise JimengInputError(f"connection {name!r} needs a login, a password and the extra `region`")
    for secret in (connection.password, token):
        if secret:
            mask_secret(secret)
    return TosStore(connection.login, connection.password, region, token, _with_scheme(endpoint))


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _with_scheme(endpoint: str | None) -> str | None:
    return endpoint if endpoint is None or "://" in endpoint else f"https://{endpoint}"
