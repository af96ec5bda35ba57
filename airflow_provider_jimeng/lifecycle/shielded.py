# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The stretch between a claim and what came of it, out of reach of what interrupts a task.

Airflow's timeouts, and a person's Ctrl-C, are exceptions that strike the main thread anywhere; its task
processes then end with ``os._exit``, which waits for no thread. An id that was being read or written at that
moment would be gone, although the vendor bills its task.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

log = logging.getLogger(__name__)


def shielded(work: Callable[[], T], *, stay: float, withdraw: Callable[[], None]) -> T:
    """
    Do something in a thread that no interruption strikes, and wait for it.

    Where the caller is interrupted, it stays until the work has come to its end before it passes the
    interruption on; a second one while it stays is not heard. Costs a thread, in the main thread only: others
    aren't interrupted.

    :param stay: seconds for which an interrupted caller stays, at most.
    :param withdraw: called where it is interrupted: what has not begun need not begin any more.
    :raises BaseException: what the work raised, or the interruption.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    ended = threading.Event()
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            # Raised again by the caller.
            raised.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="jimeng-submit")
    try:
        thread.start()
        ended.wait()
    except BaseException as interruption:
        if type(interruption) is RuntimeError and thread.ident is None and not thread.is_alive():
            # This process can't start another thread. The send needs one too, and will say that it is unsent.
            return work()
        withdraw()
        _stay(ended, stay, interruption)
        raise
    if raised:
        raise raised.pop()
    return found[0]


def _stay(ended: threading.Event, seconds: float, interruption: BaseException) -> None:
    until = time.monotonic() + seconds
    told = False
    while not ended.is_set() and (left := until - time.monotonic()) > 0:
        try:
            if not told:
                told = True
                log.warning(
                    "Interrupted (%s) in the middle of a submit: this process stays, %.0f s at most, until "
                    "the ledger knows what came of it.",
                    type(interruption).__name__,
                    seconds,
                )
            ended.wait(left)
        except BaseException as another:
            log.warning("Interrupted again (%s): still staying.", type(another).__name__)
