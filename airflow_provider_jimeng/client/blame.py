# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Say why a request got no answer, without what must not be said.

The texts of requests and urllib3 hold URLs with their query strings and proxies with their passwords, so only
the kind of error and the operating system's or the TLS library's words for it are used.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING

from urllib3.exceptions import IncompleteRead, LocationValueError, ProxyError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})")


def describe_failure(error: BaseException) -> str:
    """Return one line about the innermost cause of an error."""
    chain = list(_chain(error))
    through = "at the proxy: " if any(isinstance(each, ProxyError) for each in chain) else ""
    for each in reversed(chain):
        words = _words(each)
        if words:
            return through + words
    return through + type(chain[-1]).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [getattr(each, "reason", None), each.__cause__, *each.args[:2]]


def _words(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", None) or "no reason given"
        return f"the TLS certificate is not trusted ({reason})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({getattr(error, 'reason', None) or type(error).__name__})"
    if isinstance(error, socket.gaierror):
        return f"the host name has no address ({error.strerror})"
    if isinstance(error, IncompleteRead):
        return "the answer broke off"
    if isinstance(error, LocationValueError):
        return "the URL can't be used"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError):
        refused = _TUNNEL.search(str(error))
        if refused:
            return f"the proxy refuses the way to the host (HTTP {refused.group(1)})"
        return error.strerror if error.errno is not None else None
    return None
