# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Keeps the HTTP library's own debug lines, which quote whole URLs, from writing down presigned ones."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The loggers that write URLs with their query strings, at level DEBUG.
_TALKATIVE = ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.poolmanager")

_here = threading.local()


class _Discretion(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(_here, "depth", 0) == 0


_FILTER = _Discretion()
for _name in _TALKATIVE:
    logging.getLogger(_name).addFilter(_FILTER)


@contextlib.contextmanager
def discreet() -> Iterator[None]:
    """
    Silence the HTTP library in this thread, for as long as it handles a URL that may be a secret.

    A presigned URL's query string is a password for twelve hours, and somebody who sets the log level to
    DEBUG did not ask for passwords. Other threads, and other users of the library, keep their lines.
    """
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
