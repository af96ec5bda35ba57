# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Run a program that is told to end when its starter dies: ``python leash.py PROGRAM [ARG...]``.

A demo that is killed outright can't clean up, and nobody wants a stray scheduler. On Linux the kernel sends
SIGTERM then; elsewhere the program is simply run. Only the standard library, since it runs before each start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> None:
    starter = os.getppid()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != starter:
            raise SystemExit("leash: the starter is already gone")
    os.execv(command[0], command)  # noqa: S606 - the command is this repository's own


if __name__ == "__main__":
    main(sys.argv[1:])
