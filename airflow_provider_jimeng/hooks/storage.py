# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Places for results, with credentials from Airflow connections."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow.sdk.io import has_fs
from airflow_provider_jimeng.api.parsing import clean_text
from airflow_provider_jimeng.api.validation import check_output
from airflow_provider_jimeng.exceptions import JimengInputError, JimengLandingError
from airflow_provider_jimeng.hooks.compat import (
    AirflowNotFoundException,
    connection_of,
    doubt_of_absence,
    one_at_a_time,
)
from airflow_provider_jimeng.media.target import Target


def resolve_target(output: Any, field: str = "output") -> Target:
    """
    Return the place that an ``output`` argument names.

    :param output: an absolute path, or any fsspec URL; ``s3://my_conn@bucket/key`` takes its credentials from
        the Airflow connection ``my_conn``.
    :raises JimengInputError: the form is wrong, or what is installed and configured can't serve it.
    :raises JimengLandingError: the store, or what gives the keys to it, can't be reached now.
    """
    uri = check_output(output, field, folder=False)
    parts = urlsplit(uri)
    if parts.scheme in ("", "file", "local"):
        return _local(parts.path if parts.scheme else uri)
    try:
        return _on_airflow(uri) or _on_fsspec(uri)
    except Exception as error:
        why = f"{type(error).__name__}: {clean_text(str(error), 200)}"
        if not is_final(error, uri):
            raise JimengLandingError(
                f"{field}: {uri} can't be reached now ({why}). Nothing was paid now; what was paid for "
                "before is known, and is stored there by a retry"
            ) from error
        raise JimengInputError(
            f"{field}: {uri} can't be used ({why}). The filesystem's package (s3fs, gcsfs, ...) must be "
            "installed; a connection id before the @ needs the Airflow provider of that store, and must "
            "exist. Nothing was paid now; what was paid for before is known"
        ) from error


def is_final(error: Exception, uri: str) -> bool:
    """
    Return whether the trouble with an object's URL is certain to stay until a person acts.

    Everything else passes, or may: a timeout of whatever gives out temporary keys, a store that is busy, a
    connection that Airflow could not read.
    """
    conn_id, _, _ = urlsplit(uri).netloc.rpartition("@")
    if isinstance(error, AirflowNotFoundException):
        return not conn_id or doubt_of_absence(conn_id) is None
    if isinstance(error, ValueError) and not _is_served(urlsplit(uri).scheme, named=bool(conn_id)):
        return True
    return isinstance(error, (ImportError, NotImplementedError, PermissionError))


def _is_served(scheme: str, *, named: bool) -> bool:
    from fsspec import available_protocols

    return has_fs(scheme) or (not named and scheme in available_protocols())


def filesystem_of(uri: str) -> tuple[Any, str]:
    """
    Return the filesystem of an object's URL, with credentials, and the object's path within it.

    :raises Exception: whatever Airflow's or fsspec's filesystems raise where they can't be had.
    """
    place = _on_airflow(uri) or _on_fsspec(uri)
    return place.fs, place.path


def _on_airflow(uri: str) -> Target | None:
    """Return the place as Airflow's filesystems serve it, ``None`` where none of them knows its scheme."""
    path = ObjectStoragePath(uri)
    try:
        with one_at_a_time():
            return Target(path.fs, path.path, uri)
    except ValueError:
        if connection_of(path) is not None:
            raise
        return None


def _on_fsspec(uri: str) -> Target:
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(uri)
    return Target(fs, path, uri)


def _local(path: str) -> Target:
    from fsspec.implementations.local import LocalFileSystem

    normal = os.path.normpath(path)
    return Target(LocalFileSystem(auto_mkdir=True), normal, normal)
