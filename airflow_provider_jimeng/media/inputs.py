# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What is behind an input URL: enough to notice that it is no longer what was paid for."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.media.guard import FetchError, NetworkGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

_CONTENT_RANGE = re.compile(r"bytes\s+(?:[0-9]+-[0-9]+|\*)/([0-9]{1,18})")
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Validators:
    """
    What a server says of a file without sending it.

    :param etag: the entity tag, quotes included; opaque.
    :param last_modified: the server's text, as it came; only compared, never read as a date.
    :param size: bytes.
    """

    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None

    def to_dict(self) -> dict[str, str | int]:
        """Return what is known, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Validators:
        """Read what :meth:`to_dict` wrote; what has another type counts as not known."""
        size = values.get("size")
        return cls(
            etag=_text(values.get("etag")),
            last_modified=_text(values.get("last_modified")),
            size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        )

    def differs_from(self, earlier: Validators) -> bool:
        """
        Tell whether other bytes are there now, as far as both sides know.

        A date alone counts only where neither size nor tag can speak: a copy of the same bytes gets a new
        date.
        """
        if self.size is not None and earlier.size is not None and self.size != earlier.size:
            return True
        if self.etag and earlier.etag:
            return self.etag.removeprefix("W/") != earlier.etag.removeprefix("W/")
        if self.last_modified and earlier.last_modified:
            return self.last_modified != earlier.last_modified
        return False


def read_validators(url: str, guard: NetworkGuard, timeout: float = 10.0) -> Validators | None:
    """
    Ask for the first byte of a URL, and read what the answer's headers say of the rest.

    A GET and not a HEAD, since a presigned URL is signed for its method.

    :param timeout: seconds for the whole question.
    :returns: ``None`` where nothing could be read or nothing is said: that is no difference and no error, the
        vendor may well reach what this machine can't.
    :raises RefusedAddressError: the URL leads to an address that the connection doesn't allow.
    """
    try:
        with guard.open(
            url, headers={"Range": "bytes=0-0"}, timeout=(timeout, timeout), total=timeout
        ) as response:
            found = _read_headers(response.status_code, response.headers)
    except FetchError as error:
        log.debug("%s", error)
        return None
    return found if found != Validators() else None


def _read_headers(status: int, headers: Mapping[str, str]) -> Validators:
    if status not in (200, 206, 416):
        return Validators()
    size: int | None = None
    if status == 200:
        length = headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) <= 18 else None
    else:
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        size = int(found.group(1)) if found else None
    return Validators(_text(headers.get("ETag")), _text(headers.get("Last-Modified")), size)


def _text(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text if text and len(text) <= _LONGEST else None
