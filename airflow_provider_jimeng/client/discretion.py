# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Keeps others from writing down what is a password: presigned URLs and keys.

The HTTP library's debug lines quote whole URLs; error reporters (Sentry, rich tracebacks) write down the
local variables of every frame that an error went through.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import traceback
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_P = ParamSpec("_P")
_R = TypeVar("_R")

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


def forget_locals(error: BaseException) -> None:
    """
    Empty the local variables of every frame that an error, or one that led to it, has left.

    Files, lines and messages stay. What is still running keeps its variables.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        traceback.clear_frames(each.__traceback__)
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def forgetful(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a function's failures keep no local variable, its arguments included."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            forget_locals(error)
            raise

    return call
