# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Run a program that ends when its starter ends: ``python leash.py SIGNAL UID GID PROGRAM [ARG...]``.

A test run that is killed outright can't clean up, and nobody wants a stray scheduler or database server.
The kernel sends SIGNAL to the program when its starter dies (on Linux; elsewhere the program is simply run).
UID and GID are numbers to run as, or ``-`` to stay as we are: PostgreSQL refuses to run as root.

Only the standard library, and as little of it as possible: this runs before every component of the stack. All
of it is imported at the top, since the other user may not be able to read it.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def tie_to_parent(signal_number: int, parent: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("leash: the starter is already gone")


def main(arguments: list[str]) -> None:
    signal_number, uid, gid, *command = arguments
    parent = os.getppid()
    if gid != "-":
        os.setgroups([])
        os.setgid(int(gid))
    if uid != "-":
        os.setuid(int(uid))
    # After the change of user, which clears the setting.
    tie_to_parent(int(signal_number), parent)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
