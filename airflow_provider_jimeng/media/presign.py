# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Private inputs: from an object in a store to a URL that the vendor can fetch.

The vendor fetches inputs while a task is queued or runs, so the URL must live as long as a task can: it is
made for each submit, and lives twelve hours at least. It is a password for one object and is kept nowhere.
"""

from __future__ import annotations

import logging
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_jimeng.api.parsing import clean_text
from airflow_provider_jimeng.exceptions import JimengInputError, JimengInputStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "DEFAULT_SECONDS",
    "LEAST_SECONDS",
    "MOST_SECONDS",
    "cannot",
    "cannot_now",
    "is_private",
    "presented",
    "sign_object",
    "split_object",
    "warn_if_temporary",
]

log = logging.getLogger(__name__)

#: A task may wait and run for twelve hours; the hour beyond is for the wait between presigning and submit.
DEFAULT_SECONDS = 13 * 3600
LEAST_SECONDS = 12 * 3600
#: What S3, Google's V4 and TOS allow: a week.
MOST_SECONDS = 7 * 24 * 3600
_OBJECT = re.compile(r"(s3|gs|tos|abfs)://(?:([^@/]+)@)?([^/?#@]+)/([^?#]+)", re.IGNORECASE)
#: Parameters that give away temporary credentials, which end before the URL does.
_TEMPORARY = frozenset({"x-amz-security-token", "x-tos-security-token", "skoid"})
_told: set[str] = set()


def is_private(url: object) -> bool:
    """Return whether a value names an object in a store, which the vendor can't fetch as it is."""
    return isinstance(url, str) and _OBJECT.fullmatch(url) is not None


def split_object(url: str) -> tuple[str, str | None, str, str]:
    """
    Return scheme, connection id, bucket and key of an object's URL.

    :raises ValueError: it names none.
    """
    found = _OBJECT.fullmatch(url)
    if found is None:
        raise ValueError("no URL of an object in a store")
    return found[1].lower(), found[2], found[3], found[4]


def presented(value: Any, present: Callable[[str], str]) -> Any:
    """Return a body with every object's URL in it, at any depth, replaced by what ``present`` makes of it."""
    if isinstance(value, str):
        return present(value) if is_private(value) else value
    if isinstance(value, dict):
        return {name: presented(each, present) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [presented(each, present) for each in value]
    return value


def sign_object(fs: Any, path: str, *, scheme: str, seconds: int) -> str:
    """
    Presign a GET through a filesystem's own ``sign``.

    :param fs: an fsspec filesystem with credentials.
    :param path: of the object within it.
    :param seconds: how long the URL lives.
    :raises NotImplementedError: the filesystem can't presign.
    """
    more = {"version": "v4"} if scheme == "gs" else {}
    with _silent():
        url = str(_signing(fs).sign(path, expiration=seconds, **more))
    warn_if_temporary(url)
    return url


def _signing(fs: Any) -> Any:
    """Return a filesystem that signs S3 as every region takes it: version 4, not the library's default."""
    protocol = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    if "s3" not in protocol:
        return fs
    options = dict(fs.storage_options)
    config = {"signature_version": "s3v4", **(options.get("config_kwargs") or {})}
    return type(fs)(*fs.storage_args, **{**options, "config_kwargs": config})


def warn_if_temporary(url: str) -> None:
    """Tell once per process and store that a presigned URL dies with the temporary keys that made it."""
    parts = urlsplit(url)
    names = {name.lower() for name, _ in parse_qsl(parts.query)}
    host = parts.hostname or ""
    if names & _TEMPORARY and host not in _told:
        _told.add(host)
        log.warning(
            "Inputs on %s are presigned with temporary keys: the URL ends with them, which may be before the "
            "vendor has fetched the input. A task that fails for it isn't billed. Lasting keys, or ones good "
            "for twelve hours, avoid that.",
            host,
        )


class _Quiet(logging.Filter):
    """Drops a library's debug lines while somebody presigns: they hold the signature."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = 0
        self.lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        return self.busy == 0 or record.levelno > logging.DEBUG


_QUIET = _Quiet()
# A logger's filter does not see its children's lines, so each of them is named. The work is done in fsspec's
# own thread, so a filter by thread would not do.
_TALKATIVE = (
    "botocore.auth",
    "botocore.hooks",
    "botocore.endpoint",
    "botocore.client",
    "botocore.signers",
    "botocore.regions",
    "botocore.loaders",
    "aiobotocore.regions",
    "aiobotocore.signers",
    "s3fs",
    "google.auth.transport.requests",
    "google.auth._default",
    "urllib3.connectionpool",
    "azure.core.pipeline.policies.http_logging_policy",
    "fsspec",
)
for _name in _TALKATIVE:
    logging.getLogger(_name).addFilter(_QUIET)


@contextmanager
def _silent() -> Iterator[None]:
    with _QUIET.lock:
        _QUIET.busy += 1
    try:
        yield
    finally:
        with _QUIET.lock:
            _QUIET.busy -= 1


def cannot(field: str, url: str, error: BaseException | str) -> JimengInputError:
    """Return the error of an input that can't be presigned; nothing was paid, and no slot was taken."""
    return JimengInputError(
        f"{field}: the object in {_place(url)} can't be presigned for the vendor ({_why(error)}). "
        "Nothing was sent, nothing was paid"
    )


def cannot_now(field: str, url: str, error: BaseException | str) -> JimengInputStoreError:
    """Return the error of an input that can't be presigned now; nothing was paid, and no slot was taken."""
    return JimengInputStoreError(
        f"{field}: the object in {_place(url)} can't be presigned for the vendor now ({_why(error)}). "
        "Nothing was sent, nothing was paid; a retry presigns it anew"
    )


def _place(url: str) -> str:
    scheme, _, bucket, _ = split_object(url)
    return f"{scheme}://{bucket}"


def _why(error: BaseException | str) -> str:
    return error if isinstance(error, str) else f"{type(error).__name__}: {clean_text(str(error), 200)}"
